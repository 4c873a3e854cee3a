//! Judges a cluster from what its nodes and Kubernetes say.

use flin_crds::{BootstrapPhase, Phase, RolloutPhase, RolloutStep, ScalePhase, reason};

use super::Past;
use super::conditions::{Answer, Verdict, Verdicts};
use super::rebalancing;
use crate::nodes::Report;
use crate::observe::Observed;
use crate::plan::scale::named;
use crate::plan::{Refusal, Settle};

/// A cluster's health, with what it is judged from.
pub(super) struct Health<'a> {
    settle: &'a Settle,
    report: Option<&'a Report>,
    past: Past,
    replicas: usize,
    ready: usize,
    /// Nodes that are not ready or not heard of by the others, and should be.
    missing: Vec<&'a str>,
    /// The node that the operator restarts, until it is back and has caught up.
    restarting: Option<&'a str>,
    /// Nodes that refuse their disk, with what they say.
    refusing: Vec<(&'a str, &'a str)>,
}

impl<'a> Health<'a> {
    pub(super) fn judge(past: Past, settle: &'a Settle, observed: &'a Observed) -> Self {
        let report = observed.report.as_ref();
        let (scale, rollout) = (&settle.scale, &settle.rollout.status);
        let restarting = rollout.current.as_deref().filter(|_| {
            rollout.phase == RolloutPhase::Rolling && rollout.step == Some(RolloutStep::Restarting)
        });
        let is_well = |name: &str| {
            let is_ready = observed.pods.iter().any(|pod| pod.name == name && pod.ready);
            let is_dead = report.is_some_and(|report| {
                report.members.iter().any(|member| member.name == name && !member.alive)
            });
            is_ready && !is_dead
        };
        let missing = scale
            .staying
            .iter()
            .map(String::as_str)
            .filter(|name| restarting != Some(*name) && !is_well(name));
        Self {
            settle,
            report,
            past,
            replicas: usize::try_from(scale.replicas).unwrap_or(usize::MAX),
            ready: observed.ready(),
            missing: missing.collect(),
            restarting: restarting.filter(|name| {
                let is_whole = report.is_some_and(|report| report.under_replicated == 0);
                !(is_well(name) && is_whole)
            }),
            refusing: observed
                .pods
                .iter()
                .filter_map(|pod| Some((pod.name.as_str(), pod.refuses_disk.as_deref()?)))
                .collect(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        let is_degraded = self.degraded().holds == Answer::Yes;
        let rollout = &self.settle.rollout;
        if self.all_data_is_lost() {
            Phase::DataLost
        } else if !self.settle.has_passwords() && self.is_forming() {
            Phase::Pending
        } else if self.is_forming() {
            Phase::Forming
        } else if self.available().holds != Answer::Yes {
            Phase::Unavailable
        } else if self.is_starting() {
            Phase::Forming
        } else if self.settle.scale.is_under_way() {
            Phase::Scaling
        } else if rollout.is_under_way() && (rollout.status.current.is_some() || !is_degraded) {
            Phase::RollingOut
        } else if is_degraded {
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
            rebalancing: self.rebalancing(),
        }
    }

    /// Whether the cluster is on its way to its first service: its birth is not recorded as done, or the
    /// nodes are yet to be told, or to become ready.
    fn is_forming(&self) -> bool {
        let serves = self.ready > 0 && self.report.is_some_and(|report| report.leaderless == 0);
        self.settle.bootstrap.phase == BootstrapPhase::Forming
            || self.settle.announced == BootstrapPhase::Forming
            || !(self.past.was_served || serves)
    }

    /// Whether clients are served already, and some nodes are on their very first start.
    fn is_starting(&self) -> bool {
        self.past.is_first_start && !self.is_forming() && !self.missing.is_empty()
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
            return no(reason::PARTITIONS_LEADERLESS, self.leaderless(report));
        }
        if self.ready == 0 {
            let words = "every partition has a leader, but no node is ready to serve clients";
            return no(reason::NO_NODE_READY, words.to_owned());
        }
        let words = format!("all {total} partitions have a leader");
        Verdict::new(Answer::Yes, reason::ALL_PARTITIONS_LED, words)
    }

    fn progressing(&self) -> Verdict {
        let refused: Vec<_> = self.settle.refusals.iter().map(Refusal::message).collect();
        if let Some((reason, mut words)) = self.at_work() {
            for refusal in refused {
                words = format!("{words}. Besides, {refusal}");
            }
            return Verdict::new(Answer::Yes, reason, words);
        }
        if let Some(first) = self.settle.refusals.first() {
            return Verdict::new(Answer::No, first.reason(), refused.join(". "));
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
        if self.is_starting() {
            return Verdict::new(Answer::Yes, reason::NODES_STARTING, self.named_missing());
        }
        let rollout = &self.settle.rollout.status;
        if rollout.phase == RolloutPhase::Blocked {
            let words = rollout.message.clone().unwrap_or_default();
            return Verdict::new(Answer::No, reason::ROLLOUT_BLOCKED, words);
        }
        if let Some(words) = self.settle.scale.waits_for() {
            return Verdict::new(Answer::Yes, reason::SCALE_WAITING, words);
        }
        Verdict::new(Answer::No, reason::SETTLED, "the cluster is made as the spec asks")
    }

    /// What the operator is about, when it is about something.
    fn at_work(&self) -> Option<(&'static str, String)> {
        if self.is_forming() || self.all_data_is_lost() {
            return None;
        }
        let (scale, rollout) = (&self.settle.scale.status, &self.settle.rollout.status);
        let reason = match scale.phase {
            ScalePhase::Joining => reason::JOINING,
            ScalePhase::Rebalancing => reason::REBALANCING,
            ScalePhase::Draining => reason::DRAINING,
            ScalePhase::Removing => reason::REMOVING,
            ScalePhase::Shrinking => reason::SHRINKING,
            ScalePhase::Idle if rollout.phase == RolloutPhase::Rolling => {
                let done = format!("{} of {} nodes are up to date", rollout.updated, rollout.total);
                let now = rollout.message.as_deref().unwrap_or_default();
                let mut words = format!("{done}; {now}");
                if let Some(waits) = self.settle.scale.waits_for() {
                    words = format!("{words}. {waits}");
                }
                return Some((reason::ROLLING_OUT, words));
            }
            ScalePhase::Idle => return self.moves(),
        };
        let (from, to) = (scale.from.unwrap_or_default(), scale.to.unwrap_or_default());
        let words = scale.message.as_deref().unwrap_or_default();
        Some(match from == to {
            true => (reason, words.to_owned()),
            false => (reason, format!("from {from} to {to} nodes: {words}")),
        })
    }

    /// What the nodes move without a change of scale: a node is replaced, or people empty one.
    fn moves(&self) -> Option<(&'static str, String)> {
        let mut words = rebalancing::moves(&self.report?.rebalance)?;
        let rollout = &self.settle.rollout.status;
        let blocked = rollout.message.as_deref().filter(|_| rollout.phase == RolloutPhase::Blocked);
        for other in [blocked, self.settle.scale.waits_for()].into_iter().flatten() {
            words = format!("{words}. {other}");
        }
        Some((reason::REBALANCING, words))
    }

    fn rebalancing(&self) -> Verdict {
        let Some(report) = self.report else {
            let words = "no node answered the operator";
            return Verdict::new(Answer::Unknown, reason::NODES_UNREACHABLE, words);
        };
        if self.is_forming() {
            return Verdict::new(Answer::No, reason::FORMING, "the cluster is being made");
        }
        rebalancing::judge(&report.rebalance, self.settle.scale.shared_zones.as_ref())
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
        if self.is_starting() {
            return Verdict::new(Answer::No, reason::NODES_STARTING, self.named_missing());
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
            return yes(reason::PARTITIONS_LEADERLESS, self.leaderless(report));
        }
        if !report.meta_led {
            let words = "the meta group has no leader: clients are served, but nothing can be moved \
                         and nobody can join";
            return yes(reason::META_LEADERLESS, words.to_owned());
        }
        if let Some(name) = self.restarting {
            return yes(reason::NODE_RESTARTING, format!("{name} is being restarted"));
        }
        if report.under_replicated > 0 {
            let words = format!("{} of {total} partitions miss a replica", report.under_replicated);
            let reason = match self.settle.scale.is_under_way() {
                // Nobody is missing: replicas are yet to be added.
                true => reason::REBALANCING,
                false => reason::PARTITIONS_UNDER_REPLICATED,
            };
            return yes(reason, words);
        }
        let words = self.well();
        Verdict::new(Answer::No, reason::ALL_NODES_HEALTHY, words)
    }

    /// Who is healthy, when nobody is missing: who comes or goes is told apart.
    fn well(&self) -> String {
        let scale = &self.settle.scale;
        let well = scale.staying.len();
        let newcomers: Vec<_> = scale.status.joining.iter().map(String::as_str).collect();
        match newcomers.as_slice() {
            [] if well == self.replicas => {
                format!("all {well} nodes are healthy and hold every replica")
            }
            [] => format!("the {well} nodes that stay are healthy"),
            newcomers => format!(
                "{well} nodes are healthy and hold every replica; starting for the first time: {}",
                named(newcomers)
            ),
        }
    }

    fn leaderless(&self, report: &Report) -> String {
        let total = self.settle.bootstrap.partitions;
        let words = format!("{} of {total} partitions have no leader", report.leaderless);
        if self.missing.is_empty() {
            return words;
        }
        format!(
            "{words} while {} missing: bring the nodes back with their disks; if those are lost for good, \
             `flin cluster recover` goes on with what is left",
            match self.missing.as_slice() {
                [one] => format!("{one} is"),
                several => format!("{} are", named(several)),
            }
        )
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
        let missing = named(&self.missing);
        format!("{missing} not ready: {} of {} nodes are", self.ready, self.replicas)
    }
}
