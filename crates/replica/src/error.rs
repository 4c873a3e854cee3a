//! What can go wrong, split by what the caller can do about it.

use std::sync::Arc;

use flin_state::ids::{GroupId, LogIndex, ReplicaId};
use flin_state::log::LogError;
use flin_state::membership::ImpossibleChange;

/// The replica cannot start or go on. The node stops hosting it, or stops.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Options that contradict each other.
    #[error("impossible options for group {group}: {what}")]
    Options {
        /// The group.
        group: GroupId,
        /// What is wrong.
        what: String,
    },
    /// A configuration that no raft group can have.
    #[error("impossible configuration of group {group}: {what}")]
    Configuration {
        /// The group.
        group: GroupId,
        /// What is wrong.
        what: String,
    },
    /// The log does not host this replica; a removed one never comes back.
    #[error("the log does not host replica {replica} of group {group}")]
    NotHosted {
        /// The group.
        group: GroupId,
        /// The replica asked for.
        replica: ReplicaId,
    },
    /// Entries between the applied state and the log are missing.
    #[error("group {group}: the log begins at {first}, but the state ends at {applied}")]
    StateBehindLog {
        /// The group.
        group: GroupId,
        /// The last index applied to the durable state.
        applied: LogIndex,
        /// The first index of the log.
        first: LogIndex,
    },
    /// The log ends before what was applied or known committed: it lost entries, and may not vote. After
    /// an interrupted snapshot install, [`crate::reconcile`] says how to mend it.
    #[error("group {group}: the log ends at {last}, but {known} was committed")]
    LogBehindState {
        /// The group.
        group: GroupId,
        /// The greatest index known committed.
        known: LogIndex,
        /// The last index of the log.
        last: LogIndex,
    },
    /// The log could not be read. Nothing that raft decided since may leave the replica.
    #[error("read the log of group {group}")]
    Log {
        /// The group.
        group: GroupId,
        /// The cause.
        #[source]
        source: Arc<LogError>,
    },
}

/// Bytes that are not a message of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Another version of the envelope.
    #[error("message envelope version {found}, this node speaks {known}")]
    Version {
        /// The version found.
        found: u8,
        /// The version that this code writes and reads.
        known: u8,
    },
    /// The envelope or the message in it cannot be decoded.
    #[error("undecodable message: {0}")]
    Undecodable(String),
    /// A message that no correct replica sends.
    #[error("impossible message: {0}")]
    Impossible(&'static str),
    /// An entry that should change the configuration, and cannot be read.
    #[error("malformed change of the configuration: {0}")]
    Change(String),
}

/// Why a message was dropped. Raft copes with lost messages; the reason is for logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// For another group.
    #[error("message for group {found}, this is group {own}")]
    WrongGroup {
        /// The group that the message names.
        found: GroupId,
        /// This replica's group.
        own: GroupId,
    },
    /// For another replica: this node's copy was replaced, or the sender's map is old.
    #[error("message for replica {found}, this is replica {own}")]
    WrongReplica {
        /// The replica that the message names.
        found: ReplicaId,
        /// This replica.
        own: ReplicaId,
    },
    /// From a replica that is not in the configuration and not newer than it, so a removed one; or an
    /// answer from one that was never asked.
    #[error("message from replica {0}, which is not in the configuration")]
    Stranger(ReplicaId),
    /// Not a message that a correct peer of this version sends.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A kind that is never accepted from the wire: proposals and transfers are not forwarded by raft.
    #[error("messages of kind {0} are not accepted from peers")]
    Unwelcome(&'static str),
    /// A read request that this replica cannot answer now; its sender tries again.
    #[error("a read request cannot be answered: {0}")]
    Unready(&'static str),
    /// A leader says that this replica acknowledged entries that its log does not have: the log lost
    /// durable entries. The replica must not go on; the node reports it.
    #[error("the leader committed {commit} here, but the log ends at {last}: entries were lost")]
    LostLog {
        /// What the leader saw acknowledged and committed.
        commit: LogIndex,
        /// The last index of the log.
        last: LogIndex,
    },
    /// The log failed earlier; [`crate::Replica::ready`] tells how.
    #[error("the replica stopped after a failure of its log")]
    Stopped,
}

/// Why nothing was proposed. In every case the data is surely not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Only a leader proposes.
    #[error("not the leader")]
    NotLeader {
        /// Whom this replica follows, if anyone.
        leader: Option<ReplicaId>,
    },
    /// Leadership is being handed over; it ends or fails within `election_ticks`.
    #[error("leadership is being transferred")]
    Transferring,
    /// [`crate::Options::uncommitted_bytes_max`] is reached.
    #[error("too much is waiting to be committed")]
    Busy,
    /// Empty data is reserved for the entry that begins a term.
    #[error("empty data cannot be proposed")]
    Empty,
    /// The last change of the configuration is not settled ([`crate::Status::configuration_settled`]), or
    /// this leader does not know yet.
    #[error("the last change of the configuration is not settled yet")]
    ConfigurationPending,
    /// The change does not fit the configuration.
    #[error(transparent)]
    Impossible(#[from] ImpossibleChange),
}

/// Why no read index was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadIndexError {
    /// No leader is known.
    #[error("no leader is known")]
    NoLeader,
    /// A new leader knows what is committed only after it committed an entry of its own term. Soon.
    #[error("the leader has not committed in its term yet")]
    TryLater,
    /// [`crate::READS_PENDING_MAX`] requests wait already.
    #[error("too many reads are waiting")]
    Busy,
    /// Contexts must ascend, or an answer to an earlier request could pass for one to a later.
    #[error("the context of a read must be greater than those before")]
    ContextReused,
}
