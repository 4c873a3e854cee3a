//! A change of what runs in the pods: the StatefulSet's template is the wanted one at once, and pods that were
//! made from another are restarted one at a time, the highest ordinal first, each only when nothing is amiss.
//!
//! ```text
//! HandingOver (recorded) -> leaders moved away, the pod deleted -> Restarting -> all well -> the next
//! ```
//!
//! A pod that does not become ready stops it (Blocked) and the others stay untouched. What is restarted is
//! always the pod that is not at the wanted revision: a spec that is reverted makes the broken pod that one,
//! and leaves the others alone. Such a pod serves nobody, so it need not wait for the others to be well.
//!
//! Borrowed: gates as named predicates from cloud-on-k8s `upgrade_predicates.go`; moving the leaders first and
//! holding while *other* nodes are down from tidb-operator's `tikv_upgrader.go`.

use flin_crds::{RolloutPhase, RolloutStatus, RolloutStep, gate};
use k8s_openapi::jiff::Timestamp;

use super::scale::named;
use crate::nodes::{MemberState, Report};
use crate::observe::Pod;

/// A pod that Kubernetes cannot run for this long blocks the rollout.
const STUCK_SECONDS_MAX: i64 = 20;
/// A pod that runs and is not ready for this long blocks the rollout: as long as its startup probe is patient.
const STARTING_SECONDS_MAX: i64 = 600;
/// A pod at another revision that is not ready for this long is broken and may be restarted.
const BROKEN_SECONDS_MIN: i64 = 60;

/// What a rollout is planned from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The revision that pods should be made from.
    pub wanted: &'a str,
    /// How many pods there should be.
    pub replicas: u32,
    /// The pods.
    pub pods: &'a [Pod],
    /// What the nodes say; `None` when none answered, or when the cluster is still being made.
    pub report: Option<&'a Report>,
    /// Whether a change of scale is under way.
    pub scale_under_way: bool,
    /// What was recorded.
    pub prior: &'a RolloutStatus,
    /// The time.
    pub now: Timestamp,
}

/// What to do about the rollout in this pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// What to record once the act is done.
    pub status: RolloutStatus,
    /// What to do, at most one thing.
    pub act: Option<Act>,
}

impl Rollout {
    /// Whether pods are yet to be restarted.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.status.phase != RolloutPhase::Idle
    }

    /// Whether a node is away because of it, which is no reason to replace that node by replicas elsewhere.
    #[must_use]
    pub fn holds_replacement(&self) -> bool {
        self.status.phase == RolloutPhase::Rolling && self.status.current.is_some()
    }
}

/// Something to do with one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Move its leaders away, and then delete it.
    Restart(Target),
    /// Delete it: it serves nobody.
    Delete(Target),
    /// Let it lead again: it is not restarted after all.
    Release(Target),
}

/// A pod, and no other one that will bear its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub pod: String,
    /// What tells it from others of the name.
    pub uid: String,
    /// Its address.
    pub ip: Option<String>,
}

impl From<&Pod> for Target {
    fn from(pod: &Pod) -> Self {
        Self { pod: pod.name.clone(), uid: pod.uid.clone(), ip: pod.ip.clone() }
    }
}

/// Why no change of scale may begin, in words; `None` when it may.
#[must_use]
pub fn obstacle(facts: &Facts<'_>) -> Option<String> {
    let behind = facts.pods.iter().filter(|pod| facts.is_outdated(pod)).count();
    let total = facts.replicas;
    match &facts.prior.current {
        _ if behind > 0 => Some(format!("{behind} of {total} nodes are yet to be restarted")),
        Some(current) => Some(format!("{current} is being restarted")),
        None => None,
    }
}

/// Plans the rollout.
#[must_use]
pub fn plan(facts: &Facts<'_>) -> Rollout {
    if let Some(broken) = facts.broken() {
        let status = facts.status(broken, RolloutStep::Restarting, facts.trouble_of(broken));
        return Rollout { status, act: Some(Act::Delete(broken.into())) };
    }
    if let Some(stuck) = facts.stuck() {
        return facts.blocked(stuck);
    }
    match facts.prior.current.as_deref() {
        Some(name) => facts.go_on_with(name),
        None => facts.next(None),
    }
}

impl Facts<'_> {
    fn is_outdated(&self, pod: &Pod) -> bool {
        pod.ordinal < self.replicas && pod.revision.as_deref() != Some(self.wanted)
    }

    fn outdated(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().rev().filter(|pod| self.is_outdated(pod) && !pod.terminating)
    }

    fn unready_seconds(&self, pod: &Pod) -> i64 {
        let since = pod.unready_since.filter(|_| !pod.ready);
        since.map_or(0, |since| self.now.as_second() - since.as_second())
    }

    /// A pod to be restarted that serves nobody: without it nothing is less well than with it.
    fn broken(&self) -> Option<&Pod> {
        self.outdated().filter(|pod| !pod.ready).find(|pod| {
            if pod.waits_for.is_some() || pod.refuses_disk.is_some() {
                return true;
            }
            let Some(report) = self.report else { return false };
            let is_alive =
                report.members.iter().any(|member| member.name == pod.name && member.alive);
            let others_are_well = report.leaderless == 0
                && self.pods.iter().all(|other| other.ready || other.name == pod.name)
                && report.members.iter().all(|member| member.alive || member.name == pod.name);
            self.unready_seconds(pod) >= BROKEN_SECONDS_MIN && (!is_alive || others_are_well)
        })
    }

    /// A pod that is as it should be, and does not become ready; only a rollout makes such pods.
    fn stuck(&self) -> Option<&Pod> {
        let is_rolling = self.prior.phase != RolloutPhase::Idle || self.outdated().next().is_some();
        let was_stuck = |pod: &Pod| {
            self.prior.phase == RolloutPhase::Blocked
                && self.prior.current.as_deref() == Some(pod.name.as_str())
        };
        self.pods
            .iter()
            .filter(|pod| is_rolling && !pod.ready && !pod.terminating && !self.is_outdated(pod))
            .filter(|pod| pod.ordinal < self.replicas)
            .find(|pod| {
                let seconds = self.unready_seconds(pod);
                let cannot_run = pod.waits_for.is_some() && seconds >= STUCK_SECONDS_MAX;
                was_stuck(pod) || cannot_run || seconds >= STARTING_SECONDS_MAX
            })
    }

    fn trouble_of(&self, pod: &Pod) -> String {
        let name = &pod.name;
        let trouble = pod.refuses_disk.as_deref().or(pod.waits_for.as_deref());
        match trouble {
            Some(reason) => format!("{name} does not become ready: {reason}"),
            None => format!("{name} does not become ready"),
        }
    }

    fn blocked(&self, pod: &Pod) -> Rollout {
        let is_same = self.prior.phase == RolloutPhase::Blocked
            && self.prior.current.as_deref() == Some(pod.name.as_str());
        let has_reason = pod.waits_for.is_some() || pod.refuses_disk.is_some();
        let words = format!(
            "{}; the other nodes are untouched. Change the spec again, or revert it",
            self.trouble_of(pod)
        );
        // Between two tries there is no reason for a moment; what was said stays said.
        let message = self.prior.message.clone().filter(|_| is_same && !has_reason);
        let mut status = self.status(pod, RolloutStep::Restarting, message.unwrap_or(words));
        status.phase = RolloutPhase::Blocked;
        Rollout { status, act: None }
    }

    /// The pod whose turn it is.
    fn go_on_with(&self, name: &str) -> Rollout {
        let Some(pod) = self.pods.iter().find(|pod| pod.name == name) else {
            // Its number may have been scaled away meanwhile.
            let ordinal = name.rsplit('-').next().and_then(|ordinal| ordinal.parse::<u32>().ok());
            return match ordinal {
                Some(ordinal) if ordinal < self.replicas => {
                    self.awaited(name, format!("waiting for the pod {name} to be there again"))
                }
                _ => self.next(None),
            };
        };
        if pod.ordinal >= self.replicas {
            return self.next(None);
        }
        if pod.terminating {
            return self.awaited(name, format!("waiting for {name} to end and come back"));
        }
        if !pod.ready {
            return self.awaited(name, format!("waiting for {name} to be ready again"));
        }
        let was_handing_over = self.prior.step == Some(RolloutStep::HandingOver);
        match (self.is_outdated(pod), was_handing_over, self.unmet()) {
            (true, true, None) => {
                let words = format!("{name} hands its leaderships over and is restarted");
                let status = self.status(pod, RolloutStep::HandingOver, words);
                Rollout { status, act: Some(Act::Restart(pod.into())) }
            }
            // The spec was reverted in time, or something went wrong elsewhere meanwhile.
            (_, true, _) => {
                Rollout { act: Some(Act::Release(pod.into())), ..self.next(Some(name)) }
            }
            (false, false, Some(unmet)) => self.awaited(name, unmet),
            (_, false, _) => self.next(None),
        }
    }

    /// The pod that is restarted next, when all is well. Only recorded: nothing is done to a pod before it is
    /// on record that it is its turn. `but` was just let go and has to wait.
    fn next(&self, but: Option<&str>) -> Rollout {
        let Some(pod) = self.outdated().next() else {
            return Rollout { status: self.at_rest(), act: None };
        };
        let idle = RolloutStatus { phase: RolloutPhase::Rolling, ..self.at_rest() };
        let status = match self.unmet() {
            None if but != Some(pod.name.as_str()) => {
                let words = format!("{} is restarted next", pod.name);
                self.status(pod, RolloutStep::HandingOver, words)
            }
            unmet => RolloutStatus { message: unmet, ..idle },
        };
        Rollout { status, act: None }
    }

    fn awaited(&self, name: &str, message: String) -> Rollout {
        let status = RolloutStatus {
            phase: RolloutPhase::Rolling,
            current: Some(name.to_owned()),
            step: Some(RolloutStep::Restarting),
            message: Some(message),
            ..self.at_rest()
        };
        Rollout { status, act: None }
    }

    fn status(&self, pod: &Pod, step: RolloutStep, message: String) -> RolloutStatus {
        RolloutStatus {
            phase: RolloutPhase::Rolling,
            current: Some(pod.name.clone()),
            step: Some(step),
            message: Some(message),
            ..self.at_rest()
        }
    }

    fn at_rest(&self) -> RolloutStatus {
        let updated = self.pods.iter().filter(|pod| {
            pod.ordinal < self.replicas && !pod.terminating && !self.is_outdated(pod)
        });
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        RolloutStatus {
            phase: RolloutPhase::Idle,
            updated: number(updated.count()),
            total: i32::try_from(self.replicas).unwrap_or(i32::MAX),
            ..RolloutStatus::default()
        }
    }

    /// The first gate that does not hold, by name and in words.
    fn unmet(&self) -> Option<String> {
        let unmet = |gate: &str, words: String| Some(format!("{gate}: {words}"));
        if self.scale_under_way {
            return unmet(gate::NO_SCALE_UNDER_WAY, "waiting for the change of scale".to_owned());
        }
        let there = self.pods.iter().filter(|pod| pod.ordinal < self.replicas);
        let unready: Vec<_> =
            there.clone().filter(|pod| !pod.ready).map(|pod| pod.name.as_str()).collect();
        if !unready.is_empty() {
            return unmet(gate::ALL_PODS_READY, format!("{} not ready", named(&unready)));
        }
        let count = there.count();
        if count != usize::try_from(self.replicas).unwrap_or(usize::MAX) {
            let words = format!("{count} of {} pods are there", self.replicas);
            return unmet(gate::ALL_PODS_READY, words);
        }
        let Some(report) = self.report else {
            return unmet(gate::NODES_ANSWER, "no node answers the operator".to_owned());
        };
        let idle: Vec<_> = report
            .members
            .iter()
            .filter(|member| !member.alive || member.state != MemberState::Serving)
            .map(|member| member.name.as_str())
            .collect();
        if !idle.is_empty() {
            let words = format!("{} not heard of, or being emptied or replaced", named(&idle));
            return unmet(gate::ALL_MEMBERS_SERVE, words);
        }
        if report.members.len() < count {
            let words = format!("{} of {count} nodes are members", report.members.len());
            return unmet(gate::ALL_MEMBERS_SERVE, words);
        }
        let Report { leaderless, under_replicated, partitions, meta_led, .. } = *report;
        if !meta_led {
            return unmet(gate::ALL_PARTITIONS_LED, "the meta group has no leader".to_owned());
        }
        if leaderless > 0 {
            let words = format!("{leaderless} of {partitions} partitions have no leader");
            return unmet(gate::ALL_PARTITIONS_LED, words);
        }
        if under_replicated > 0 {
            let words = format!("{under_replicated} of {partitions} partitions miss a replica");
            return unmet(gate::FULL_STRENGTH, words);
        }
        if report.rebalance.moving > 0 {
            return unmet(gate::NOTHING_MOVES, "replicas are being moved".to_owned());
        }
        None
    }
}
