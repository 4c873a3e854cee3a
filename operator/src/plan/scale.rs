//! A change of the number of nodes or replicas, one pass at a time.
//!
//! ```text
//! up    the StatefulSet grows -> Joining -> Rebalancing -> Idle
//! down  Draining -> Removing -> Shrinking (-> Rebalancing) -> Idle
//! ```
//!
//! Each pass derives everything from what is asked for and what is found, so that several wishes become one
//! and a wish taken back half way needs no path of its own: the nodes to be emptied are always those beyond
//! the number asked for. A change begins only when nothing else is under way and no node that stays is
//! missing, and one that has begun goes on. The StatefulSet is never smaller than the membership.
//!
//! Borrowed: checking before evicting and waiting for the tombstone from tidb-operator's `tikv_scaler.go`, the
//! recorded steps from Strimzi's `KafkaAutoRebalancingReconciler`.

mod newcomers;

use std::collections::BTreeSet;

use flin_crds::{ScalePhase, ScaleStatus, names};

use super::capacity;
use super::refusal::Refusal;
use super::zones::{self, SharedZones};
use crate::nodes::{MemberState, Order, Report, ReportedMember};
use crate::observe::Pod;
use crate::units;
use newcomers::Newcomers;

/// How many nodes are named in a message.
const NODES_NAMED_MAX: usize = 5;

/// What a change of scale is planned from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The cluster's name, with which pods' names begin.
    pub cluster: &'a str,
    /// How many nodes are asked for.
    pub want: u32,
    /// How many replicas of each partition are asked for.
    pub replication_factor: u32,
    /// How many nodes there should be, as of the last pass.
    pub recorded: u32,
    /// How many nodes the StatefulSet has; `None` when it does not exist.
    pub set: Option<u32>,
    /// The pods.
    pub pods: &'a [Pod],
    /// What the nodes say; `None` when none answered, or when the cluster is still being made.
    pub report: Option<&'a Report>,
    /// Why no change may begin because of a rollout, in words.
    pub rollout: Option<&'a str>,
    /// What was recorded of a change under way.
    pub prior: &'a ScaleStatus,
}

/// What to do about the scale in this pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scale {
    /// How many nodes the StatefulSet should have.
    pub replicas: u32,
    /// What the nodes are to be told, in this order.
    pub orders: Vec<Order>,
    /// What to record.
    pub status: ScaleStatus,
    /// Nodes that should be there and well: neither starting for the first time nor to go.
    pub staying: Vec<String>,
    /// What is asked for and cannot be.
    pub refusal: Option<Refusal>,
    /// Why replicas share zones on the nodes that stay, when they do.
    pub shared_zones: Option<SharedZones>,
}

impl Scale {
    /// Whether a change is under way.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.status.phase != ScalePhase::Idle
    }

    /// Why a change that is asked for does not begin yet.
    #[must_use]
    pub fn waits_for(&self) -> Option<&str> {
        self.status.message.as_deref().filter(|_| !self.is_under_way() && self.refusal.is_none())
    }
}

/// Why a change does not begin.
enum Obstacle {
    /// It will, when this has passed.
    Wait(String),
    /// It will not, unless the spec changes.
    Refuse(Refusal),
}

/// Plans the change of scale.
#[must_use]
pub fn plan(facts: &Facts<'_>) -> Scale {
    match facts.report {
        Some(report) => Planner { facts, report }.plan(),
        None => without_report(facts),
    }
}

/// Nobody says who is a member: what there is stays, and what was deleted by hand comes back.
fn without_report(facts: &Facts<'_>) -> Scale {
    let Facts { want, recorded, prior, .. } = *facts;
    let set = facts.set.unwrap_or(recorded);
    // On the way down the StatefulSet may be smaller than what was recorded.
    let replicas = if goes_down(prior) { set.max(want) } else { set.max(recorded) };
    let message = if is_under_way(prior) {
        Some("waiting for a node that answers the operator".to_owned())
    } else if replicas != want {
        Some(format!(
            "spec.replicas is {want} and there are {replicas} nodes: waiting for a node that answers \
             the operator"
        ))
    } else {
        None
    };
    let status = ScaleStatus { message, ..prior.clone() };
    let is_awaited = |name: &String| !prior.joining.contains(name);
    let staying = pods(facts.cluster, replicas.min(want)).filter(is_awaited).collect();
    Scale { replicas, status, staying, ..Scale::default() }
}

/// The names of the first `count` pods.
fn pods(cluster: &str, count: u32) -> impl Iterator<Item = String> {
    (0..count).map(move |ordinal| names::pod(cluster, ordinal))
}

fn is_under_way(prior: &ScaleStatus) -> bool {
    prior.phase != ScalePhase::Idle
}

fn goes_down(prior: &ScaleStatus) -> bool {
    is_under_way(prior) && prior.to < prior.from
}

struct Planner<'a> {
    facts: &'a Facts<'a>,
    report: &'a Report,
}

impl<'a> Planner<'a> {
    fn plan(&self) -> Scale {
        let Facts { want, prior, .. } = *self.facts;
        let current = self.current();
        let mut orders = Vec::new();
        let mut obstacle = None;
        let mut note = |found: Obstacle| {
            obstacle.get_or_insert(found);
        };

        let mut begun = is_under_way(prior);
        if self.report.replication_factor != self.facts.replication_factor {
            match self.may_change_replication_factor() {
                Ok(()) => {
                    // That it is under way is on record first: afterwards no fact would tell.
                    begun = true;
                    let is_recorded = is_under_way(prior);
                    orders.extend(
                        is_recorded
                            .then_some(Order::SetReplicationFactor(self.facts.replication_factor)),
                    );
                }
                Err(found) => note(found),
            }
        }

        let mut replicas = current.min(want).max(self.floor(current));
        if want > current {
            match self.may_begin() {
                Ok(()) => {
                    begun = true;
                    replicas = want;
                }
                Err(found) => note(found),
            }
        }

        let mut leaves = false;
        if self.leavers().next().is_some() {
            let added: BTreeSet<u64> =
                self.to_drain().difference(&self.draining()).copied().collect();
            let allowed = if added.is_empty() { Ok(()) } else { self.may_drain() };
            match allowed {
                Ok(()) => {
                    leaves = true;
                    begun = true;
                }
                Err(found) => note(found),
            }
        }
        orders.extend(self.drain_order(leaves));
        let is_recorded = prior.phase == ScalePhase::Removing;
        if leaves && is_recorded && orders.is_empty() && self.leavers().all(|m| m.holds == 0) {
            orders.extend(self.leavers().map(|member| Order::RemoveMember(member.node_id)));
        }

        let newcomers = Newcomers::find(self.facts, self.report, replicas.min(want));
        let phase = self.phase(begun, leaves, replicas, &newcomers);
        let staying: Vec<_> = pods(self.facts.cluster, replicas.min(want))
            .filter(|name| !newcomers.contains(name))
            .collect();
        let before = match phase {
            // Growing that was not recorded in time has begun with those that are no newcomers.
            ScalePhase::Joining => u32::try_from(staying.len()).unwrap_or(u32::MAX),
            _ => current,
        };
        let joining = newcomers.names().to_vec();
        let mut status = ScaleStatus { phase, joining, ..ScaleStatus::default() };
        self.describe(&mut status, before, &newcomers);
        let shared_zones = self.shared_zones();
        let mut scale = Scale { replicas, orders, status, staying, refusal: None, shared_zones };
        match obstacle {
            Some(Obstacle::Wait(words)) => match &mut scale.status.message {
                Some(message) => *message = format!("{message}; {words}"),
                None => scale.status.message = Some(words),
            },
            Some(Obstacle::Refuse(refusal)) => scale.refusal = Some(refusal),
            None => {}
        }
        scale
    }

    /// How many nodes there are: those recorded, or more when growing was not recorded in time. What
    /// somebody took from the StatefulSet by hand is still there.
    fn current(&self) -> u32 {
        self.facts.set.unwrap_or_default().max(self.facts.recorded)
    }

    /// The least number of nodes that has room for every member; a member whose pod is gone for good is
    /// drained and removed without a pod.
    fn floor(&self, current: u32) -> u32 {
        let highest = self.report.members.iter().filter_map(|member| self.ordinal(member)).max();
        highest.map_or(0, |highest| highest + 1).min(current)
    }

    fn ordinal(&self, member: &ReportedMember) -> Option<u32> {
        names::pod_ordinal(self.facts.cluster, &member.name)
    }

    fn leavers(&self) -> impl Iterator<Item = &'a ReportedMember> {
        self.report
            .members
            .iter()
            .filter(|member| self.ordinal(member).is_some_and(|ordinal| ordinal >= self.facts.want))
    }

    /// Members that are to hold a share when all is done.
    fn stayers(&self) -> impl Iterator<Item = &'a ReportedMember> {
        self.report.members.iter().filter(|member| {
            member.state != MemberState::Replaced
                && self.ordinal(member).is_none_or(|ordinal| ordinal < self.facts.want)
        })
    }

    fn draining(&self) -> BTreeSet<u64> {
        let members = self.report.members.iter();
        members
            .filter(|member| member.state == MemberState::Draining)
            .map(|member| member.node_id)
            .collect()
    }

    fn to_drain(&self) -> BTreeSet<u64> {
        self.leavers()
            .filter(|member| matches!(member.state, MemberState::Serving | MemberState::Draining))
            .map(|member| member.node_id)
            .collect()
    }

    /// Who else drains and is left alone: people may empty a node that stays. What this operator drains is
    /// known by the record, which is written before.
    fn drained_by_people(&self) -> BTreeSet<u64> {
        let goal = self.facts.prior.to.filter(|_| is_under_way(self.facts.prior));
        let ours_from = goal.map_or(u32::MAX, |to| u32::try_from(to).unwrap_or_default());
        self.stayers()
            .filter(|member| member.state == MemberState::Draining)
            .filter(|member| self.ordinal(member).is_none_or(|ordinal| ordinal < ours_from))
            .map(|member| member.node_id)
            .collect()
    }

    /// The order that makes exactly those drain who should: further ones only when `leaves` and the wish is
    /// on record, while whoever may stay after all is told at once.
    fn drain_order(&self, leaves: bool) -> Option<Order> {
        let now = self.draining();
        let mut goal = self.drained_by_people();
        let on_record = self.facts.prior.to.and_then(|to| u32::try_from(to).ok());
        if leaves && on_record.is_some_and(|to| to <= self.facts.want) {
            goal.extend(self.to_drain());
        } else {
            goal.extend(self.to_drain().intersection(&now));
        }
        (goal != now).then_some(Order::SetDraining(goal))
    }

    fn phase(&self, begun: bool, leaves: bool, replicas: u32, newcomers: &Newcomers) -> ScalePhase {
        let was_joining = self.facts.prior.phase == ScalePhase::Joining;
        let drains = !self.to_drain().is_subset(&self.draining());
        let progress = &self.report.rebalance;
        if leaves && (drains || self.leavers().any(|member| member.holds > 0)) {
            ScalePhase::Draining
        } else if leaves {
            ScalePhase::Removing
        } else if begun && self.facts.pods.iter().any(|pod| pod.ordinal >= replicas) {
            ScalePhase::Shrinking
        } else if newcomers.are_joining()
            || (was_joining && self.stayers().any(|member| !member.alive))
        {
            ScalePhase::Joining
        } else if begun
            && (!progress.balanced
                || progress.replicas_left > 0
                || !newcomers.is_empty()
                || self.report.replication_factor != self.facts.replication_factor)
        {
            ScalePhase::Rebalancing
        } else {
            ScalePhase::Idle
        }
    }

    /// What must hold before anything begins.
    fn may_begin(&self) -> Result<(), Obstacle> {
        let wish = self.wish();
        if let Some(rollout) = self.facts.rollout.filter(|_| !is_under_way(self.facts.prior)) {
            return Err(Obstacle::Wait(format!("{wish}: waiting for the rollout: {rollout}")));
        }
        let is_ready = |name: &str| self.facts.pods.iter().any(|pod| pod.name == name && pod.ready);
        let missing: Vec<&str> = self
            .stayers()
            .filter(|member| !member.alive || !is_ready(&member.name))
            .map(|member| member.name.as_str())
            .collect();
        if !missing.is_empty() {
            let words = format!("{wish}: waiting for {}, which must be ready", named(&missing));
            return Err(Obstacle::Wait(words));
        }
        if !self.report.meta_led {
            let words = format!("{wish}: waiting for the meta group to have a leader");
            return Err(Obstacle::Wait(words));
        }
        Ok(())
    }

    fn may_drain(&self) -> Result<(), Obstacle> {
        self.may_begin()?;
        let Report { leaderless, under_replicated, partitions, .. } = *self.report;
        if leaderless > 0 || under_replicated > 0 {
            return Err(Obstacle::Wait(format!(
                "{}: waiting for every partition to be led and at full strength ({leaderless} of \
                 {partitions} without a leader, {under_replicated} without all replicas)",
                self.wish()
            )));
        }
        self.has_room()
    }

    fn may_change_replication_factor(&self) -> Result<(), Obstacle> {
        self.may_begin()?;
        let (have, replication_factor) =
            (self.report.replication_factor, self.facts.replication_factor);
        let nodes = self.stayers().filter(|member| member.state == MemberState::Serving).count();
        if usize::try_from(replication_factor).unwrap_or(usize::MAX) > nodes {
            return Err(Obstacle::Wait(format!(
                "spec.replicationFactor is {replication_factor} and each partition has {have} replicas: waiting for \
                 {replication_factor} nodes to put them on, there are {nodes}"
            )));
        }
        if replication_factor > have { self.has_room() } else { Ok(()) }
    }

    fn has_room(&self) -> Result<(), Obstacle> {
        let stayers: Vec<_> = self.stayers().collect();
        let have = self.report.replication_factor;
        capacity::check(&self.report.members, &stayers, have, self.facts.replication_factor)
            .map_err(|lack| {
                let (want, replication_factor) = (self.facts.want, self.facts.replication_factor);
                Obstacle::Refuse(Refusal::Capacity { want, replication_factor, lack })
            })
    }

    fn shared_zones(&self) -> Option<SharedZones> {
        let stayers: Vec<_> = self.stayers().collect();
        zones::shared(&stayers, self.report.partitions, self.facts.replication_factor)
    }

    fn wish(&self) -> String {
        let (want, current) = (self.facts.want, self.current());
        if want == current {
            let Facts { replication_factor, .. } = *self.facts;
            let have = self.report.replication_factor;
            format!(
                "spec.replicationFactor is {replication_factor} and each partition has {have} replicas"
            )
        } else {
            format!("spec.replicas is {want} and there are {current} nodes")
        }
    }

    /// Adds the numbers and words that people follow a change by.
    /// `before` is how many nodes there were if it begins now.
    fn describe(&self, status: &mut ScaleStatus, before: u32, newcomers: &Newcomers) {
        let Facts { want, prior, pods, .. } = *self.facts;
        let progress = &self.report.rebalance;
        if status.phase == ScalePhase::Idle {
            return;
        }
        let number = |nodes: u32| i32::try_from(nodes).unwrap_or(i32::MAX);
        status.from = prior.from.filter(|_| is_under_way(prior)).or(Some(number(before)));
        status.to = Some(number(want));
        let (replicas_left, bytes_left) = match status.phase {
            // What the nodes that go hold is known before the balancer has planned where it goes.
            ScalePhase::Draining => (
                self.leavers().map(|member| u64::from(member.holds)).sum(),
                self.leavers().map(|member| member.data_bytes).sum(),
            ),
            _ => (u64::from(progress.replicas_left), progress.bytes_left),
        };
        status.replicas_left = Some(i64::try_from(replicas_left).unwrap_or(i64::MAX));
        status.bytes_left = Some(i64::try_from(bytes_left).unwrap_or(i64::MAX));
        let amount = units::replicas(replicas_left, bytes_left);
        let leaving: Vec<_> = self.leavers().map(|member| member.name.as_str()).collect();
        let mut words = match status.phase {
            ScalePhase::Idle => return,
            ScalePhase::Joining => newcomers.awaited(pods),
            ScalePhase::Rebalancing if replicas_left > 0 => format!("{amount} left to move"),
            ScalePhase::Rebalancing if progress.balanced && !newcomers.is_empty() => {
                newcomers.awaited(pods)
            }
            ScalePhase::Rebalancing => {
                "every node gets its share of replicas and leaders".to_owned()
            }
            ScalePhase::Draining => format!("{} to be emptied, {amount} left", named(&leaving)),
            ScalePhase::Removing => format!("{} are taken out of the membership", named(&leaving)),
            ScalePhase::Shrinking => format!("waiting for the pods beyond {want} to end"),
        };
        let moves = matches!(status.phase, ScalePhase::Rebalancing | ScalePhase::Draining);
        if moves && progress.settings.paused {
            words += "; moves are paused by spec.rebalance.paused";
        } else if moves && !progress.blocked.is_empty() {
            words = format!("{words}; {}", progress.blocked);
        }
        status.message = Some(words);
    }
}

/// Names for a message, the first few of them.
pub(crate) fn named(names: &[&str]) -> String {
    let first = names.iter().take(NODES_NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NODES_NAMED_MAX) {
        0 => first,
        others => format!("{first} and {others} more"),
    }
}
