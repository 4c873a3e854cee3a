//! Driving the moves of the groups led here, one step of their configuration at a time.
//!
//! What to do next is decided by [`flin_replica::next_step`]; here it is done, and what came of the job is
//! kept for this node's reports, from which the balancer learns that it is finished.

use std::collections::BTreeSet;

use flin_proto::peer::JobReport;
use flin_replica::{Step, next_step};
use flin_state::cluster::Job;
use flin_state::ids::GroupId;
use tracing::{debug, info};

use crate::admission::READ_TICKS_MAX;
use crate::balance::successor;
use crate::group::Proof;
use crate::worker::Worker;

impl Worker {
    /// Takes the next step of every group led here that has a job or a joint configuration.
    pub(super) fn drive_moves(&mut self) {
        let Some(cluster) = self.cluster.clone() else { return };
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for group in groups {
            self.drive_move(group, cluster.jobs.get(&group));
        }
    }

    fn drive_move(&mut self, group: GroupId, job: Option<&Job>) {
        let Some(hosted) = self.groups.get_mut(&group) else { return };
        let idle = job.is_none() && !hosted.configuration.is_joint();
        if idle || !hosted.leads() {
            (hosted.job, hosted.proof) = (None, None);
            return;
        }
        let status = hosted.replica.status();
        let step = next_step(&status, &hosted.configuration, hosted.id, job);
        let report = |finished, undone| job.map(|job| JobReport { job: job.id, finished, undone });
        if let Step::Finished { undone } = step {
            if let Some(report) = report(true, undone) {
                self.prove(group, report);
            }
            return;
        }
        (hosted.job, hosted.proof) = (report(false, false), None);
        match step {
            Step::Wait | Step::Finished { .. } => {}
            Step::Propose(change) => match hosted.replica.propose_configuration(&change) {
                Ok(index) => {
                    info!(%group, ?change, %index, "changing the configuration");
                    self.dirty.insert(group);
                }
                // The next tick asks again.
                Err(error) => debug!(%group, ?change, %error, "a configuration waits"),
            },
            Step::HandOver => {
                let mut leaving = self.leaving.clone();
                leaving.extend(job.and_then(|job| job.remove).map(|removed| removed.node));
                let to = successor(&status, &hosted.configuration, hosted.id, &leaving);
                if let Some(to) = to.filter(|_| status.transferring_to.is_none()) {
                    hosted.replica.transfer_leader(to);
                    self.dirty.insert(group);
                }
            }
        }
    }

    /// Asks raft whether this replica still leads before the end of a job is reported: a leader that is none
    /// any more may not have seen all steps of it.
    fn prove(&mut self, group: GroupId, report: JobReport) {
        let (context, tick) = (self.fresh_context(), self.tick);
        let Some(hosted) = self.groups.get_mut(&group) else { return };
        let asked = |proof: &Proof| {
            proof.report == report && tick.saturating_sub(proof.since) < READ_TICKS_MAX
        };
        if hosted.job == Some(report) || hosted.proof.as_ref().is_some_and(asked) {
            return;
        }
        if hosted.replica.read_index(context).is_ok() {
            hosted.proof = Some(Proof { context, since: tick, report });
            self.dirty.insert(group);
        }
    }

    /// Takes raft's answer, if it is one to [`Worker::prove`].
    pub(super) fn note_proof(&mut self, group: GroupId, context: u64) {
        let Some(hosted) = self.groups.get_mut(&group) else { return };
        if let Some(proof) = hosted.proof.take_if(|proof| proof.context == context) {
            hosted.job = Some(proof.report);
            self.report_due = true;
        }
    }

    /// The groups whose preferred leader is about to be removed: nothing is handed to it.
    pub(super) fn leaders_leaving(&self) -> BTreeSet<GroupId> {
        let jobs = self.cluster.iter().flat_map(|cluster| {
            cluster.jobs.iter().map(|(group, job)| (*group, job, cluster.preferred_leader(*group)))
        });
        jobs.filter(|(_, job, preferred)| job.remove.map(|removed| removed.node) == *preferred)
            .map(|(group, _, _)| group)
            .collect()
    }
}
