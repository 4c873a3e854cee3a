//! What a raft replica asks of the log that all groups of a node share.
//!
//! `flin-engine` implements [`Log`] over segment files; the disk underneath is a parameter, so that a
//! simulation can lose what was not synced.

use bytes::Bytes;

use crate::ids::{GroupId, LogIndex, ReplicaId, Term};

/// A new group's log begins as if this index (and [`INITIAL_TERM`]) had been compacted away, so that a
/// replica added later, which starts at zero, can only begin from a snapshot.
pub const INITIAL_INDEX: LogIndex = LogIndex(5);

/// The term of [`INITIAL_INDEX`].
pub const INITIAL_TERM: Term = Term(5);

/// What an entry of the replicated log carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A command of the state machine; empty data is the entry that a new leader begins its term with.
    Command,
    /// A change of the group's configuration, in the replica crate's own envelope.
    Configuration,
}

/// An entry of a group's replicated log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub index: LogIndex,
    /// The term of the leader that proposed it.
    pub term: Term,
    /// How to read `data`.
    pub kind: EntryKind,
    /// The command, opaque here.
    pub data: Bytes,
}

/// What a raft replica must remember besides its entries. `commit` is a hint: the truth at start is
/// `max(commit, applied)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The latest term seen.
    pub term: Term,
    /// Whom this replica voted for in `term`; [`ReplicaId`] zero is nobody.
    pub vote: ReplicaId,
    /// The highest index known committed.
    pub commit: LogIndex,
}

/// What the log remembers of each group besides entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// This node hosts the group as this replica.
    Hosted(ReplicaId),
    /// This replica was removed. It never votes again, and its id is never hosted again.
    Removed(ReplicaId),
}

/// One change of the log. A batch of them is one record: after a crash all or none is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEdit {
    /// Begins to host `group` as `replica`; its log is empty after `index` and `term`.
    Create {
        /// The group.
        group: GroupId,
        /// This node's replica of it.
        replica: ReplicaId,
        /// The index before the first entry to come.
        index: LogIndex,
        /// The term of `index`.
        term: Term,
    },
    /// Appends `entries`, contiguous and ascending; entries of the log from the first one's index on
    /// are replaced.
    Append {
        /// The group.
        group: GroupId,
        /// At least one entry.
        entries: Vec<Entry>,
    },
    /// Replaces the hard state.
    HardState {
        /// The group.
        group: GroupId,
        /// Its new hard state.
        state: HardState,
    },
    /// Forgets the entries up to and including `index`, which is in the log. What is durable in the
    /// engine must reach it.
    Compact {
        /// The group.
        group: GroupId,
        /// The last index forgotten.
        index: LogIndex,
    },
    /// Forgets every entry: the log is empty after `index` and `term`, as after a snapshot. The hard
    /// state stays.
    Reset {
        /// The group.
        group: GroupId,
        /// The index before the first entry to come.
        index: LogIndex,
        /// The term of `index`.
        term: Term,
    },
    /// Ends the hosting of `group` by `replica` and leaves a tombstone.
    Remove {
        /// The group.
        group: GroupId,
        /// The replica that is no more.
        replica: ReplicaId,
    },
}

/// Why the log could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The entries asked for were compacted; the reader needs a snapshot.
    #[error("index {index} of group {group} is compacted, the log begins after {first}")]
    Compacted {
        /// The group.
        group: GroupId,
        /// The index asked for.
        index: LogIndex,
        /// The first index still there.
        first: LogIndex,
    },
    /// The entries asked for are beyond the end.
    #[error("index {index} of group {group} is beyond the end of the log, {last}")]
    Unavailable {
        /// The group.
        group: GroupId,
        /// The index asked for.
        index: LogIndex,
        /// The last index there.
        last: LogIndex,
    },
    /// An edit that contradicts the log, a bug of the caller; nothing was written.
    #[error("refused log edit: {0}")]
    Refused(String),
    /// Bytes that were durable cannot be read back. The node must not vote or serve with them.
    #[error("corrupt log at {place}: {what}")]
    Corrupt {
        /// The file and offset.
        place: String,
        /// What was found there.
        what: String,
    },
    /// The disk failed. After a failed write or sync nothing more is accepted: restart the node.
    #[error("{act}")]
    Disk {
        /// What was attempted.
        act: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// The shared log of a node. One thread writes, any thread reads.
pub trait Log: Send + Sync + 'static {
    /// Writes `edits` as one record, applied in order. Readers see them at once; they are durable after
    /// the next [`Log::sync`].
    fn write(&self, edits: &[LogEdit]) -> Result<(), LogError>;

    /// Returns once everything written is on stable storage: one fdatasync, however many groups wrote.
    fn sync(&self) -> Result<(), LogError>;

    /// Every group ever created here, with what became of it.
    fn groups(&self) -> Vec<(GroupId, GroupRecord)>;

    /// The hard state of a hosted group.
    fn hard_state(&self, group: GroupId) -> HardState;

    /// The first index that [`Log::entries`] can return; one past the compacted or reset index.
    fn first_index(&self, group: GroupId) -> LogIndex;

    /// The last index there; `first_index - 1` for an empty log.
    fn last_index(&self, group: GroupId) -> LogIndex;

    /// The term of `index`, which is from `first_index - 1` to `last_index`.
    fn term(&self, group: GroupId, index: LogIndex) -> Result<Term, LogError>;

    /// The entries `from <= index < to`, cut short once they exceed `bytes_max`, but at least one.
    fn entries(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<Entry>, LogError>;

    /// Bytes of segment files on disk.
    fn size_bytes(&self) -> u64;

    /// Deletes the segments that hold nothing live, after rewriting the few live records of the oldest
    /// ones into the newest, until the log is within its budget or nothing more can go. Call it after
    /// compacting. Durable on return.
    fn reclaim(&self) -> Result<(), LogError>;
}
