//! Deliberate bugs, for tests that have to notice them.
//!
//! A simulation that finds nothing proves nothing, unless it is known to find what is there. So at the places
//! where a bug would lose data the product asks [`is`] whether to have one. Without the feature `deliberate`,
//! and nothing that ships is built with it, the answer is a constant `false` and nothing of this is compiled in.
//! With it a test chooses one bug for its own thread, and `crates/sim/tests/mutants` shows for each how many seeds
//! it takes until it is noticed.

#![forbid(unsafe_code)]

/// A bug to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The log says that it is durable without asking the disk.
    SkipSync,
    /// A sync of the log that failed counts as one that did not.
    IgnoreSyncError,
    /// Acknowledgements and votes leave before the log is synced.
    SendBeforeSync,
    /// Term, vote and commit index are not written.
    ForgetHardState,
    /// A restarted replica has forgotten whom it voted for.
    ForgetVote,
    /// Damage to what was durable is cut off like the torn end of a log.
    CutDamage,
    /// A record of the log is believed without its checksum.
    TrustRecords,
    /// The log is truncated up to what is applied, whether or not the engine has flushed it.
    TruncateUnflushed,
    /// The effects of an entry and the applied index are written one after the other.
    TearBatches,
    /// The applied index is written as it was before the batch.
    LoseAppliedIndex,
    /// A leader answers reads without asking whether it still leads.
    ReadWithoutQuorum,
    /// Whoever waits for an entry takes any that commits at its index for it.
    IgnoreTermOfProposals,
    /// A write whose outcome is not known is said not to be done.
    CallUnknownUndone,
    /// A write is sent again after a connection broke.
    RetryWrites,
    /// A new replica gets the id of an earlier one.
    ReuseReplicaIds,
    /// A node that joins under a known name gets the id of its predecessor.
    ReuseNodeIds,
    /// A removed replica leaves no tombstone.
    LeaveNoTombstone,
    /// A snapshot is installed whatever its checksum says.
    TrustSnapshots,
    /// A batch of several keys loses its last one.
    SplitBatches,
    /// A comparison succeeds whatever is there.
    IgnoreExpected,
}

#[cfg(feature = "deliberate")]
mod chosen {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static CHOSEN: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this thread is to have `bug`.
    pub fn is(bug: Bug) -> bool {
        CHOSEN.get() == Some(bug)
    }

    /// Gives this thread a bug, or none.
    pub fn choose(bug: Option<Bug>) {
        CHOSEN.set(bug);
    }
}

#[cfg(feature = "deliberate")]
pub use chosen::{choose, is};

/// Whether to have `bug`: no.
#[cfg(not(feature = "deliberate"))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}
