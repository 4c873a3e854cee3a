//! What a replica can be asked, and how it sees its peers.

use flin_state::ids::{GroupId, LogIndex, ReplicaId, Term};
use flin_state::membership::Configuration;
use raft::StateRole;

use super::Replica;
use crate::admission::{Sender, View};
use crate::options::CAUGHT_UP_LAG_MAX;
use crate::status::{PeerProgress, Role, Status};

impl Replica {
    /// The group.
    pub fn group(&self) -> GroupId {
        self.options.group
    }

    /// This replica's id.
    pub fn replica(&self) -> ReplicaId {
        self.options.replica
    }

    /// Whom this replica takes for the leader.
    pub fn leader(&self) -> Option<ReplicaId> {
        replica_id(self.raft.raft.leader_id)
    }

    /// The term that this replica is in.
    pub fn term(&self) -> Term {
        Term(self.raft.raft.term)
    }

    /// Whether this replica leads, as far as it knows.
    pub fn leading(&self) -> bool {
        self.raft.raft.state == StateRole::Leader
    }

    /// The group's configuration as of what was applied here.
    pub fn configuration(&self) -> &Configuration {
        &self.raft.store().configuration
    }

    /// Everything there is to know at this moment.
    pub fn status(&self) -> Status {
        let raft = &self.raft.raft;
        Status {
            role: Role::from(raft.state),
            term: self.term(),
            leader: self.leader(),
            commit: LogIndex(raft.raft_log.committed),
            last: LogIndex(raft.raft_log.last_index()),
            applied_to: LogIndex(raft.raft_log.applied),
            committed_in_term: raft.commit_to_current_term(),
            configuration_settled: self.configuration_settled(),
            transferring_to: raft.lead_transferee.map(ReplicaId),
            peers: if self.leading() { self.peers() } else { Vec::new() },
        }
    }
}

impl Replica {
    fn peers(&self) -> Vec<PeerProgress> {
        let raft = &self.raft.raft;
        let horizon = u64::from(self.options.election_ticks);
        let mut peers: Vec<PeerProgress> = raft
            .prs()
            .iter()
            .filter(|(id, _)| **id != self.options.replica.0)
            .map(|(id, progress)| {
                let replica = ReplicaId(*id);
                let heard = self.heard.get(&replica);
                let in_snapshot = progress.state == raft::ProgressState::Snapshot;
                let near = progress.matched + CAUGHT_UP_LAG_MAX >= raft.raft_log.committed;
                // A peer that was unreachable for a moment is probed until the next append, and an idle
                // group may append nothing for hours: with the whole log it is not late.
                let caught_up = match progress.state {
                    raft::ProgressState::Replicate => near,
                    raft::ProgressState::Probe => progress.matched == raft.raft_log.last_index(),
                    raft::ProgressState::Snapshot => false,
                };
                PeerProgress {
                    replica,
                    voter: raft.prs().conf().voters().contains(*id),
                    matched: LogIndex(progress.matched),
                    active: heard.is_some_and(|then| self.now - then <= horizon),
                    caught_up,
                    in_snapshot,
                }
            })
            .collect();
        peers.sort_by_key(|peer| peer.replica);
        peers
    }

    pub(super) fn view(&self, from: ReplicaId) -> View {
        let raft = &self.raft.raft;
        let members = raft.prs();
        let sender = if members.get(from.0).is_some() {
            Sender::Member
        } else if from > self.newest {
            Sender::Newer
        } else {
            Sender::Stranger
        };
        View {
            group: self.options.group,
            replica: self.options.replica,
            term: raft.term,
            leading: self.leading(),
            last: raft.raft_log.last_index(),
            committed_in_term: raft.commit_to_current_term(),
            reads_pending: raft.pending_read_count(),
            sender,
        }
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("group", &self.options.group)
            .field("replica", &self.options.replica)
            .field("status", &self.status())
            .finish()
    }
}

pub(super) fn replica_id(id: u64) -> Option<ReplicaId> {
    (id != raft::INVALID_ID).then_some(ReplicaId(id))
}
