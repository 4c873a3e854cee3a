//! Judges a cluster from what its nodes and Kubernetes say.

use flin_crds::{BootstrapPhase, Phase, reason};

use super::conditions::{Answer, Verdict, Verdicts};
use crate::nodes::Report;
use crate::observe::Observed;
use crate::plan::{Refusal, Settle};

/// How many nodes are named in a message.
const NODES_NAMED_MAX: usize = 5;

/// A cluster's health, with what it is judged from.
pub(super) struct Health<'a> {
    settle: &'a Settle,
    report: Option<&'a Report>,
    /// Whether clients were ever served, as far as the status tells.
    was_served: bool,
    replicas: usize,
    ready: usize,
    /// Members that are not ready or not heard of by the others.
    missing: Vec<&'a str>,
    /// Members that refuse their disk, with what they say.
    refusing: Vec<(&'a str, &'a str)>,
}

impl<'a> Health<'a> {
    pub(super) fn judge(prior: Option<Phase>, settle: &'a Settle, observed: &'a Observed) -> Self {
        let report = observed.report.as_ref();
        let is_well = |name: &str| {
            let is_ready = observed.pods.iter().any(|pod| pod.name == name && pod.ready);
            let is_dead = report.is_some_and(|report| {
                report.members.iter().any(|member| member.name == name && !member.alive)
            });
            is_ready && !is_dead
        };
        let members = settle.bootstrap.members.iter().map(|member| member.name.as_str());
        Self {
            settle,
            report,
            was_served: matches!(
                prior,
                Some(Phase::Running | Phase::Degraded | Phase::Unavailable | Phase::DataLost)
            ),
            replicas: settle.bootstrap.members.len(),
            ready: observed.ready(),
            missing: members.filter(|name| !is_well(name)).collect(),
            refusing: observed
                .pods
                .iter()
                .filter_map(|pod| Some((pod.name.as_str(), pod.refuses_disk.as_deref()?)))
                .collect(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        if self.all_data_is_lost() {
            Phase::DataLost
        } else if !self.settle.has_passwords() && self.is_forming() {
            Phase::Pending
        } else if self.is_forming() {
            Phase::Forming
        } else if self.available().holds != Answer::Yes {
            Phase::Unavailable
        } else if self.degraded().holds == Answer::Yes {
            Phase::Degraded
        } else {
            Phase::Running
        }
    }

    pub(super) fn verdicts(&self) -> Verdicts {
        Verdicts {
            available: self.available(),
            progressing: self.progressing(),
            degraded: self.degraded(),
        }
    }

    /// Whether the cluster is on its way to its first service: its birth is not recorded as done, or the
    /// nodes are yet to be told, or to become ready.
    fn is_forming(&self) -> bool {
        let serves = self.ready > 0 && self.report.is_some_and(|report| report.leaderless == 0);
        self.settle.bootstrap.phase == BootstrapPhase::Forming
            || self.settle.announced == BootstrapPhase::Forming
            || !(self.was_served || serves)
    }

    fn all_data_is_lost(&self) -> bool {
        self.settle.bootstrap.phase == BootstrapPhase::Formed
            && self.refusing.len() == self.replicas
    }

    fn available(&self) -> Verdict {
        let no = |reason, message: String| Verdict::new(Answer::No, reason, message);
        if self.all_data_is_lost() {
            return no(reason::DATA_LOST, self.data_lost());
        }
        if let Some(complaint) = &self.settle.passwords_complaint
            && self.is_forming()
        {
            return no(complaint.reason, complaint.message.clone());
        }
        if self.is_forming() {
            return no(reason::FORMING, self.forming());
        }
        let Some(report) = self.report else {
            return if self.ready == 0 {
                no(reason::NO_NODE_READY, "no node is ready".to_owned())
            } else {
                let words = "nodes are ready, but none of them answered the operator";
                Verdict::new(Answer::Unknown, reason::NODES_UNREACHABLE, words)
            };
        };
        let total = self.settle.bootstrap.partitions;
        if report.leaderless > 0 {
            let words = format!("{} of {total} partitions have no leader", report.leaderless);
            return no(reason::PARTITIONS_LEADERLESS, words);
        }
        if self.ready == 0 {
            let words = "every partition has a leader, but no node is ready to serve clients";
            return no(reason::NO_NODE_READY, words.to_owned());
        }
        let words = format!("all {total} partitions have a leader");
        Verdict::new(Answer::Yes, reason::ALL_PARTITIONS_LED, words)
    }

    fn progressing(&self) -> Verdict {
        if let Some(first) = self.settle.refusals.first() {
            let words: Vec<_> = self.settle.refusals.iter().map(Refusal::message).collect();
            return Verdict::new(Answer::No, first.reason(), words.join(". "));
        }
        if let Some(complaint) = &self.settle.passwords_complaint {
            return Verdict::new(Answer::No, complaint.reason, complaint.message.clone());
        }
        if self.all_data_is_lost() {
            return Verdict::new(Answer::No, reason::DATA_LOST, self.data_lost());
        }
        if self.is_forming() {
            return Verdict::new(Answer::Yes, reason::FORMING, self.forming());
        }
        Verdict::new(Answer::No, reason::SETTLED, "the cluster is made as the spec asks")
    }

    fn degraded(&self) -> Verdict {
        let yes = |reason, message: String| Verdict::new(Answer::Yes, reason, message);
        if self.all_data_is_lost() {
            return yes(reason::DATA_LOST, self.data_lost());
        }
        if let Some((name, words)) = self.refusing.first() {
            let words = format!("{name} refuses its disk: {words}");
            return yes(reason::MEMBER_DATA_LOST, words);
        }
        if let Some(complaint) = &self.settle.passwords_complaint {
            return yes(complaint.reason, complaint.message.clone());
        }
        if self.is_forming() {
            return Verdict::new(Answer::No, reason::FORMING, "the cluster is being made");
        }
        if !self.missing.is_empty() {
            return yes(reason::NODES_MISSING, self.named_missing());
        }
        let Some(report) = self.report else {
            let words = "no node answered the operator";
            return Verdict::new(Answer::Unknown, reason::NODES_UNREACHABLE, words);
        };
        let total = self.settle.bootstrap.partitions;
        if report.leaderless > 0 {
            let words = format!("{} of {total} partitions have no leader", report.leaderless);
            return yes(reason::PARTITIONS_LEADERLESS, words);
        }
        if report.under_replicated > 0 {
            let words = format!("{} of {total} partitions miss a copy", report.under_replicated);
            return yes(reason::PARTITIONS_UNDER_REPLICATED, words);
        }
        let words = format!("all {} nodes are healthy and hold every copy", self.replicas);
        Verdict::new(Answer::No, reason::ALL_NODES_HEALTHY, words)
    }

    fn forming(&self) -> String {
        let Some(report) = self.report else {
            return format!("waiting for the {} nodes to start", self.replicas);
        };
        let alive = report.members.iter().filter(|member| member.alive).count();
        let total = self.settle.bootstrap.partitions;
        let led = u32::try_from(total).unwrap_or_default().saturating_sub(report.leaderless);
        format!("{alive} of {} nodes take part, {led} of {total} partitions are led", self.replicas)
    }

    fn data_lost(&self) -> String {
        let words = self.refusing.first().map_or("", |(_, words)| *words);
        format!(
            "no node has this cluster's data any more ({words}): restore the volumes, or delete the \
             FlinCluster and its volumes to begin anew without the data"
        )
    }

    fn named_missing(&self) -> String {
        let named =
            self.missing.iter().take(NODES_NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
        let others = self.missing.len().saturating_sub(NODES_NAMED_MAX);
        let more = if others > 0 { format!(" and {others} more") } else { String::new() };
        format!("{named}{more} not ready: {} of {} nodes are", self.ready, self.replicas)
    }
}
