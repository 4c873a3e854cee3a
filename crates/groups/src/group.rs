//! One raft group on this node, as the worker keeps it.

use std::collections::BTreeMap;

use flin_proto::peer::{JobReport, Seat};
use flin_replica::{Replica, Status};
use flin_state::cluster::Change;
use flin_state::ids::{LogIndex, NodeId, ReplicaId};
use flin_state::membership::Configuration;
use flin_state::operation::{Read, Write};
use tokio::sync::oneshot;

use super::mailbox::Answer;
use super::pending::Pending;
use crate::requests::RequestError;

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
    /// What the group, while led here, has made of its job.
    pub(crate) job: Option<JobReport>,
    /// The end of the job, while raft is asked whether this replica still leads.
    pub(crate) proof: Option<Proof>,
}

/// The end of a job as this replica sees it, to be reported once raft has confirmed that no other leader may
/// have seen more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proof {
    /// The context of the question, and the worker's tick at which it was asked.
    pub(crate) context: u64,
    pub(crate) since: u64,
    pub(crate) report: JobReport,
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
            job: None,
            proof: None,
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

    /// Whether the group has gone on without this replica. One that waits for its first snapshot knows no
    /// configuration yet.
    pub(crate) fn is_removed(&self) -> bool {
        !self.is_blank() && !self.configuration.nodes.contains_key(&self.id)
    }

    /// Whether this replica waits for its first snapshot.
    pub(crate) fn is_blank(&self) -> bool {
        self.configuration.nodes.is_empty()
    }

    /// Who is in the group, if that is settled.
    pub(crate) fn seats(&self, status: &Status) -> Vec<Seat> {
        if self.configuration.is_joint() || !status.configuration_settled {
            return Vec::new();
        }
        let seat = |(replica, node): (&ReplicaId, &NodeId)| Seat {
            replica: replica.0,
            node: node.0,
            votes: self.configuration.voters.contains(replica),
        };
        self.configuration.nodes.iter().map(seat).collect()
    }

    /// Ends everything that waits: what was not proposed is surely not done, of the rest nobody knows.
    pub(crate) fn abandon(mut self, not_done: &RequestError) {
        for (_, answer) in self.writes.drain(..) {
            let _ = answer.send(Err(not_done.clone()));
        }
        for (_, answer) in self.changes.drain(..) {
            let _ = answer.send(Err(not_done.clone()));
        }
        let asked = std::mem::take(&mut self.asked).into_values().flat_map(|asked| asked.runs);
        for run in self.reads.drain(..).chain(asked) {
            let _ = run.answer.send(Err(not_done.clone()));
        }
        for waiter in self.pending.skip(LogIndex(u64::MAX - 1)) {
            waiter.fail(RequestError::Unknown(
                "this node's replica was removed before it knew the outcome".into(),
            ));
        }
    }

    /// The error for a request that this replica cannot take because it does not lead.
    pub(crate) fn not_here(&self) -> RequestError {
        let leader = self.replica.leader().filter(|leader| *leader != self.id);
        let leader = leader.and_then(|replica| self.configuration.nodes.get(&replica).copied());
        RequestError::NotHere { leader }
    }
}
