//! What the leader of a group does next for a move: one change of the configuration at a time.

use std::collections::BTreeSet;

use flin_state::cluster::{Job, Placement};
use flin_state::ids::ReplicaId;
use flin_state::membership::{Configuration, ConfigurationChange};

use crate::status::{Role, Status};

/// What the leader does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing now: it does not lead, there is nothing to do, or something is not finished yet.
    Wait,
    /// Propose this change.
    Propose(ConfigurationChange),
    /// Hand leadership to another voter of [`Configuration::voters`] that is not on its way out.
    HandOver,
    /// The job needs nothing more from the group.
    Finished {
        /// Whether it was taken back, and the group is as before it.
        undone: bool,
    },
}

/// What the leader of a group does next. `configuration` is the applied one, `own` the leader itself, `job`
/// the group's in the meta state.
///
/// A replica is added as a learner, exchanged for the one to go once it is caught up, and the joint
/// configuration is left. A joint configuration is left with or without a job. A job to be taken back is,
/// as long as the new replica does not vote; after that it goes on to its end.
pub fn next_step(
    status: &Status,
    configuration: &Configuration,
    own: ReplicaId,
    job: Option<&Job>,
) -> Step {
    if status.role != Role::Leader || status.transferring_to.is_some() {
        return Step::Wait;
    }
    if configuration.is_joint() && !configuration.voters.contains(&own) {
        return Step::HandOver;
    }
    if !status.configuration_settled {
        return Step::Wait;
    }
    match job {
        _ if configuration.is_joint() => Step::Propose(ConfigurationChange::LeaveJoint),
        Some(job) => Scene { status, configuration, own }.play(job),
        None => Step::Wait,
    }
}

/// A leader's view while nothing is under way.
struct Scene<'a> {
    status: &'a Status,
    configuration: &'a Configuration,
    own: ReplicaId,
}

impl Scene<'_> {
    fn play(&self, job: &Job) -> Step {
        let Configuration { voters, learners, .. } = self.configuration;
        let going: BTreeSet<ReplicaId> =
            job.remove.iter().map(|gone| gone.replica).filter(|id| voters.contains(id)).collect();
        match job.add {
            Some(new) if voters.contains(&new.replica) => self.exchange(BTreeSet::new(), going),
            Some(new) if job.undo && learners.contains(&new.replica) => {
                let replica = new.replica;
                Step::Propose(ConfigurationChange::RemoveLearner { replica })
            }
            Some(_) if job.undo => Step::Finished { undone: true },
            Some(new) => self.add(new, going),
            None if job.undo && !going.is_empty() => Step::Finished { undone: true },
            None => self.exchange(BTreeSet::new(), going),
        }
    }

    fn add(&self, new: Placement, going: BTreeSet<ReplicaId>) -> Step {
        let Placement { replica, node } = new;
        // Ids ascend and a group has one job at a time: an earlier learner belongs to no job any more. It
        // was added by a leader that had not heard yet that its job was taken back.
        let learners = &self.configuration.learners;
        if let Some(left) = learners.iter().copied().find(|learner| *learner < replica) {
            return Step::Propose(ConfigurationChange::RemoveLearner { replica: left });
        }
        if !learners.contains(&replica) {
            return Step::Propose(ConfigurationChange::AddLearner { replica, node });
        }
        if !self.is_here(replica) {
            return Step::Wait;
        }
        self.exchange(BTreeSet::from([replica]), going)
    }

    /// Exchanges voters, or declares the job finished when nothing is left to exchange.
    fn exchange(&self, promote: BTreeSet<ReplicaId>, remove: BTreeSet<ReplicaId>) -> Step {
        if promote.is_empty() && remove.is_empty() {
            return Step::Finished { undone: false };
        }
        let leaves = remove.contains(&self.own);
        let another_stays =
            self.configuration.voters.iter().any(|id| *id != self.own && !remove.contains(id));
        let change = ConfigurationChange::Exchange { promote, remove };
        let Ok(next) = self.configuration.after(&change) else { return Step::Wait };
        // The joint configuration needs a majority of the voters to come, and cannot be taken back.
        let here = next.voters.iter().filter(|id| self.is_here(**id)).count();
        if here * 2 <= next.voters.len() {
            return Step::Wait;
        }
        // A sole voter has nobody to hand over to before its successor votes, and does so while joint.
        if leaves && another_stays { Step::HandOver } else { Step::Propose(change) }
    }

    /// Whether a replica is the leader itself, or answers and follows the log closely.
    fn is_here(&self, replica: ReplicaId) -> bool {
        let mut peers = self.status.peers.iter();
        replica == self.own
            || peers.any(|peer| {
                peer.replica == replica && peer.active && peer.caught_up && !peer.in_snapshot
            })
    }
}

#[cfg(test)]
mod tests {
    use flin_state::ids::{LogIndex, NodeId, Term};

    use super::*;
    use crate::status::PeerProgress;

    const OWN: ReplicaId = ReplicaId(1);

    fn ids(ids: &[u64]) -> BTreeSet<ReplicaId> {
        ids.iter().copied().map(ReplicaId).collect()
    }

    fn configuration(voters: &[u64], outgoing: &[u64], learners: &[u64]) -> Configuration {
        let named = voters.iter().chain(outgoing).chain(learners);
        Configuration {
            voters: ids(voters),
            voters_outgoing: ids(outgoing),
            learners: ids(learners),
            nodes: named.map(|id| (ReplicaId(*id), NodeId(*id))).collect(),
            ..Configuration::default()
        }
    }

    /// A leader whose peers are all well, but for those in `away`.
    fn leader(configuration: &Configuration, away: &[u64]) -> Status {
        let peers = configuration.nodes.keys().filter(|replica| **replica != OWN);
        let peer = |replica: &ReplicaId| PeerProgress {
            replica: *replica,
            voter: !configuration.learners.contains(replica),
            matched: LogIndex(9),
            active: !away.contains(&replica.0),
            caught_up: true,
            in_snapshot: false,
        };
        Status {
            role: Role::Leader,
            term: Term(6),
            leader: Some(OWN),
            commit: LogIndex(9),
            last: LogIndex(9),
            applied_to: LogIndex(9),
            committed_in_term: true,
            configuration_settled: true,
            transferring_to: None,
            peers: peers.map(peer).collect(),
        }
    }

    fn job(add: u64, remove: u64) -> Job {
        let place =
            |id: u64| (id > 0).then_some(Placement { replica: ReplicaId(id), node: NodeId(id) });
        Job { id: 1, add: place(add), remove: place(remove), undo: false }
    }

    fn undo(job: Job) -> Job {
        Job { undo: true, ..job }
    }

    fn add(id: u64) -> Step {
        let (replica, node) = (ReplicaId(id), NodeId(id));
        Step::Propose(ConfigurationChange::AddLearner { replica, node })
    }

    fn remove(id: u64) -> Step {
        Step::Propose(ConfigurationChange::RemoveLearner { replica: ReplicaId(id) })
    }

    fn exchange(promote: &[u64], remove: &[u64]) -> Step {
        let (promote, remove) = (ids(promote), ids(remove));
        Step::Propose(ConfigurationChange::Exchange { promote, remove })
    }

    const LEAVE: Step = Step::Propose(ConfigurationChange::LeaveJoint);
    const DONE: Step = Step::Finished { undone: false };
    const UNDONE: Step = Step::Finished { undone: true };

    #[test]
    fn a_job_goes_one_step_at_a_time() {
        type Line<'a> = (&'a [u64], &'a [u64], &'a [u64], &'a [u64], Option<Job>, Step);
        let three: &[u64] = &[1, 2, 3];
        let table: &[Line<'_>] = &[
            // voters, outgoing, learners, away, job, step
            (three, &[], &[], &[], None, Step::Wait),
            (three, &[], &[7], &[], None, Step::Wait),
            (&[1, 2, 7], three, &[], &[], None, LEAVE),
            (&[2, 3, 7], three, &[], &[], None, Step::HandOver),
            // An exchange.
            (three, &[], &[], &[], Some(job(7, 3)), add(7)),
            (three, &[], &[], &[2], Some(job(7, 3)), add(7)),
            (three, &[], &[7], &[7], Some(job(7, 3)), Step::Wait),
            (three, &[], &[7], &[], Some(job(7, 3)), exchange(&[7], &[3])),
            (three, &[], &[7], &[3], Some(job(7, 3)), exchange(&[7], &[3])),
            (three, &[], &[7], &[2], Some(job(7, 3)), exchange(&[7], &[3])),
            (&[1, 2, 7], three, &[], &[], Some(job(7, 3)), LEAVE),
            (&[1, 2, 7], &[], &[], &[], Some(job(7, 3)), DONE),
            // The leader itself is to go.
            (three, &[], &[], &[], Some(job(7, 1)), add(7)),
            (three, &[], &[7], &[7], Some(job(7, 1)), Step::Wait),
            (three, &[], &[7], &[], Some(job(7, 1)), Step::HandOver),
            (&[2, 3, 7], three, &[], &[], Some(job(7, 1)), Step::HandOver),
            (three, &[], &[], &[], Some(job(0, 1)), Step::HandOver),
            (&[1], &[], &[7], &[], Some(job(7, 1)), exchange(&[7], &[1])),
            (&[7], &[1], &[], &[], Some(job(7, 1)), Step::HandOver),
            // A learner that an earlier job left behind.
            (three, &[], &[6], &[], Some(job(7, 3)), remove(6)),
            (three, &[], &[6, 7], &[], Some(job(7, 3)), remove(6)),
            // More or fewer replicas.
            (three, &[], &[7], &[], Some(job(7, 0)), exchange(&[7], &[])),
            (&[1, 2, 3, 7], three, &[], &[], Some(job(7, 0)), LEAVE),
            (&[1, 2, 3, 7], &[], &[], &[], Some(job(7, 0)), DONE),
            (three, &[], &[], &[], Some(job(0, 3)), exchange(&[], &[3])),
            (three, &[], &[], &[3], Some(job(0, 3)), exchange(&[], &[3])),
            (&[1, 2], three, &[], &[], Some(job(0, 3)), LEAVE),
            (&[1, 2], &[], &[], &[], Some(job(0, 3)), DONE),
            (&[1], &[], &[], &[], Some(job(0, 1)), Step::Wait),
            // The voters to come would have no majority.
            (three, &[], &[], &[2], Some(job(0, 3)), Step::Wait),
            (three, &[], &[7], &[2, 3], Some(job(7, 0)), Step::Wait),
            // Taken back.
            (three, &[], &[], &[], Some(undo(job(7, 3))), UNDONE),
            (three, &[], &[7], &[7], Some(undo(job(7, 3))), remove(7)),
            (three, &[], &[7], &[], Some(undo(job(7, 1))), remove(7)),
            (&[1, 2, 7], three, &[], &[], Some(undo(job(7, 3))), LEAVE),
            (&[1, 2, 7], &[], &[], &[], Some(undo(job(7, 3))), DONE),
            (three, &[], &[], &[], Some(undo(job(0, 3))), UNDONE),
            (three, &[], &[], &[], Some(undo(job(0, 1))), UNDONE),
            (&[1, 2], three, &[], &[], Some(undo(job(0, 3))), LEAVE),
            (&[1, 2], &[], &[], &[], Some(undo(job(0, 3))), DONE),
            (&[1, 2, 3, 7], &[], &[], &[], Some(undo(job(7, 0))), DONE),
        ];
        for (voters, outgoing, learners, away, job, step) in table {
            let configuration = configuration(voters, outgoing, learners);
            let status = leader(&configuration, away);
            let found = next_step(&status, &configuration, OWN, job.as_ref());
            assert_eq!(found, *step, "{voters:?} {outgoing:?} {learners:?} {away:?} {job:?}");
        }
    }

    #[test]
    fn only_a_leader_acts_and_only_when_the_last_change_is_settled() {
        let joint = configuration(&[1, 2, 7], &[1, 2, 3], &[]);
        let plain = configuration(&[1, 2, 3], &[], &[7]);
        let jobs = [None, Some(job(7, 3)), Some(undo(job(7, 3))), Some(job(0, 3))];
        for configuration in [joint, plain] {
            let well = leader(&configuration, &[]);
            for status in [
                Status { role: Role::Follower, ..well.clone() },
                Status { role: Role::Candidate, ..well.clone() },
                Status { transferring_to: Some(ReplicaId(2)), ..well.clone() },
                Status { configuration_settled: false, ..well.clone() },
            ] {
                for job in jobs {
                    let step = next_step(&status, &configuration, OWN, job.as_ref());
                    assert_eq!(step, Step::Wait, "{status:?} {job:?}");
                }
            }
        }
    }

    #[test]
    fn a_learner_that_lags_or_gets_a_snapshot_is_not_promoted() {
        let configuration = configuration(&[1, 2, 3], &[], &[7]);
        for (caught_up, in_snapshot) in [(false, false), (true, true)] {
            let mut status = leader(&configuration, &[]);
            let learner = status.peers.iter_mut().find(|peer| peer.replica == ReplicaId(7));
            let learner = learner.unwrap();
            (learner.caught_up, learner.in_snapshot) = (caught_up, in_snapshot);
            assert_eq!(next_step(&status, &configuration, OWN, Some(&job(7, 3))), Step::Wait);
        }
    }
}
