//! What a replica asks of its caller.

use flin_state::ids::{LogIndex, ReplicaId, Term};
use flin_state::log::{Entry, LogEdit};

use crate::message::{Message, SnapshotHead};
use crate::status::Role;

/// Work for the caller, in the order of the fields. See the crate's first page for the round.
#[derive(Debug)]
pub struct Ready {
    /// To be given back to [`crate::Replica::advance`].
    pub number: u64,
    /// The role or the leader changed. Reads asked for earlier may never be answered, and proposals that
    /// are not committed may be lost or not: nobody knows yet.
    pub role_changed: Option<RoleChange>,
    /// To be sent now, without waiting for the log.
    pub messages: Vec<Message>,
    /// The state that replaces everything here; its data was staged before the message was stepped. Install
    /// it in the engine, then write `edits`, then advance.
    pub snapshot: Option<SnapshotHead>,
    /// To be written to the log as one record, in order. Empty unless `must_sync`.
    pub edits: Vec<LogEdit>,
    /// Whether the log must be synced before `messages_after_sync` and [`crate::Replica::advance`].
    pub must_sync: bool,
    /// To be sent once `edits` are durable.
    pub messages_after_sync: Vec<Message>,
    /// Entries to be applied, in order; durable here and at a majority. Never with a snapshot.
    pub committed: Vec<Entry>,
    /// Answers to [`crate::Replica::read_index`]. A doubled message answers twice: ignore contexts that no
    /// longer wait.
    pub reads: Vec<ReadState>,
}

/// What became ready by the sync.
#[derive(Debug, Default)]
pub struct Advanced {
    /// To be sent now.
    pub messages: Vec<Message>,
    /// Entries to be applied after those of the [`Ready`].
    pub committed: Vec<Entry>,
}

/// The answer to [`crate::Replica::read_index`]: once `index` is applied here, the state is no older than
/// the moment of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadState {
    /// The context of the request.
    pub context: u64,
    /// What must be applied before reading.
    pub index: LogIndex,
}

/// A replica's part in the group since the last [`Ready`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// The part.
    pub role: Role,
    /// The term.
    pub term: Term,
    /// Whom this replica takes for the leader.
    pub leader: Option<ReplicaId>,
}
