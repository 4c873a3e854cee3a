//! One raft group on this node, as the worker keeps it.

use std::collections::BTreeMap;

use flin_replica::Replica;
use flin_state::cluster::Change;
use flin_state::ids::{LogIndex, ReplicaId};
use flin_state::membership::Configuration;
use flin_state::operation::{Read, Write};
use tokio::sync::oneshot;

use super::mailbox::Answer;
use super::pending::Pending;
use crate::front::requests::RequestError;

/// A replica with everything that waits for it.
pub(crate) struct Group {
    pub(crate) id: ReplicaId,
    pub(crate) replica: Replica,
    pub(crate) configuration: Configuration,
    /// The replica that the placement wants to lead.
    pub(crate) preferred: Option<ReplicaId>,
    /// What the applier has reached.
    pub(crate) applied: LogIndex,
    /// Runs of writes not proposed yet.
    pub(crate) writes: Vec<(Vec<Write>, Answer)>,
    /// Changes of the meta state not proposed yet.
    pub(crate) changes: Vec<(Change, oneshot::Sender<Result<(), RequestError>>)>,
    /// Runs of reads for which no index was asked yet.
    pub(crate) reads: Vec<ReadRun>,
    /// Batches of reads for which an index was asked, by the context of the question.
    pub(crate) asked: BTreeMap<u64, AskedReads>,
    /// Proposals whose fate is open.
    pub(crate) pending: Pending<Waiter>,
    pub(crate) confirmation: Confirmation,
}

/// A run of reads.
pub(crate) struct ReadRun {
    pub(crate) reads: Vec<Read>,
    pub(crate) answer: Answer,
    /// The worker's tick at which it came.
    pub(crate) since: u64,
}

/// Reads that wait for the index at which they may be answered.
pub(crate) struct AskedReads {
    pub(crate) runs: Vec<ReadRun>,
    pub(crate) since: u64,
}

/// Who waits for a proposed entry.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// A run of this many writes.
    Writes { count: usize, answer: Answer },
    /// A change of the meta state.
    Change(oneshot::Sender<Result<(), RequestError>>),
}

impl Waiter {
    /// Ends the wait without a reply.
    pub(crate) fn fail(self, error: RequestError) {
        // Nobody may be waiting any more; a proposal is not cancelled by that.
        match self {
            Waiter::Writes { answer, .. } => drop(answer.send(Err(error))),
            Waiter::Change(answer) => drop(answer.send(Err(error))),
        }
    }
}

/// Whether this replica has, since the node started, applied an index that its leader confirmed. Until it
/// has, the node is not ready: what it holds may be arbitrarily old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// To be asked for.
    Wanted,
    /// Asked with this context at this tick.
    Asked { context: u64, since: u64 },
    /// The index to reach.
    Index(LogIndex),
    /// Reached.
    Done,
}

impl Group {
    pub(crate) fn new(
        id: ReplicaId,
        replica: Replica,
        configuration: Configuration,
        applied: LogIndex,
    ) -> Self {
        Group {
            id,
            replica,
            configuration,
            preferred: None,
            applied,
            writes: Vec::new(),
            changes: Vec::new(),
            reads: Vec::new(),
            asked: BTreeMap::new(),
            pending: Pending::default(),
            confirmation: Confirmation::Wanted,
        }
    }

    pub(crate) fn leads(&self) -> bool {
        self.replica.leading()
    }

    /// Remembers how far the state machine is, by entries or by a snapshot.
    pub(crate) fn note_applied(&mut self, index: LogIndex) {
        self.applied = index;
        if matches!(self.confirmation, Confirmation::Index(wanted) if index >= wanted) {
            self.confirmation = Confirmation::Done;
        }
    }

    /// The error for a request that this replica cannot take because it does not lead.
    pub(crate) fn not_here(&self) -> RequestError {
        let leader = self.replica.leader().filter(|leader| *leader != self.id);
        let leader = leader.and_then(|replica| self.configuration.nodes.get(&replica).copied());
        RequestError::NotHere { leader }
    }
}
