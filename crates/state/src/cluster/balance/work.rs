//! What is left to be done with each group, and which of it to begin now.

use std::collections::{BTreeMap, BTreeSet};

use super::ADDITIONS_PER_NODE_MAX;
use crate::cluster::{ClusterState, Job, MemberState, Move, Placement};
use crate::ids::{GroupId, NodeId};

/// What is left to be done with a group.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) group: GroupId,
    /// The move that runs.
    pub(super) job: Option<Job>,
    /// Whether the move that runs should be taken back.
    pub(super) unwanted: bool,
    /// How many replicas there are once the move that runs has ended.
    replicas: usize,
    /// The nodes that are still to get a replica.
    add: Vec<NodeId>,
    /// The replicas that are still to go, those that are of least use first.
    remove: Vec<Placement>,
    /// How soon it should be done; less is sooner.
    urgency: Urgency,
    /// Whether most of its replicas are on members that are not given up.
    pub(super) can_decide: bool,
}

/// Why a group is moved, what matters most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// Without the meta group nothing moves at all.
    Meta,
    /// It has too few replicas, or some on nodes that are given up.
    Repair,
    /// It has too many replicas, or some on nodes that are being emptied.
    Leave,
    /// Nodes are to hold equally many, and zones to be different.
    Even,
}

impl Work {
    pub(super) fn of(state: &ClusterState, group: GroupId, goal: &BTreeSet<NodeId>) -> Work {
        let job = state.jobs.get(&group).copied();
        let unwanted = job.is_some_and(|job| !job.undo && leads_away(&job, goal));
        let there = after(state.replicas_of(group), job.filter(|job| !job.undo && !unwanted));
        let held: BTreeSet<_> = there.iter().map(|placement| placement.node).collect();
        let add: Vec<_> = goal.difference(&held).copied().collect();
        let out = there.iter().enumerate().filter(|(_, placement)| !goal.contains(&placement.node));
        let mut out: Vec<_> =
            out.map(|(place, p)| (use_of(state, p.node), place == 0, *p)).collect();
        out.sort_by_key(|(use_of, leads, placement)| (*use_of, *leads, placement.node));
        let first = out.first().map(|(use_of, ..)| *use_of);
        let wanted = usize::from(state.replication_factor);
        let urgency = match first {
            _ if group == GroupId::META => Urgency::Meta,
            Some(Use::None) => Urgency::Repair,
            _ if there.len() < wanted => Urgency::Repair,
            Some(Use::ForNow) => Urgency::Leave,
            _ if there.len() > wanted => Urgency::Leave,
            _ => Urgency::Even,
        };
        Work {
            group,
            job,
            unwanted,
            replicas: there.len(),
            add,
            remove: out.into_iter().map(|(_, _, placement)| placement).collect(),
            urgency,
            can_decide: state.can_decide(group),
        }
    }

    /// Replicas to be added or removed by moves that do not run yet; one exchanged for another counts once.
    pub(super) fn replicas_waiting(&self) -> usize {
        self.add.len().max(self.remove.len())
    }

    /// The same, and that of the move that runs.
    pub(super) fn replicas_left(&self) -> usize {
        self.replicas_waiting() + usize::from(self.job.is_some())
    }

    /// Replicas still to be added, the one that is being added included.
    pub(super) fn additions_left(&self) -> usize {
        let adding = self.job.is_some_and(|job| job.add.is_some() && !job.undo && !self.unwanted);
        self.add.len() + usize::from(adding)
    }

    /// The next move, to that node of those to be added which `incoming` says gets least now; none
    /// while a move runs, and if there is nowhere to go.
    fn next(&self, wanted: usize, incoming: &BTreeMap<NodeId, usize>) -> Option<Move> {
        if self.job.is_some() || !self.can_decide {
            return None;
        }
        let getting = |node: &NodeId| incoming.get(node).copied().unwrap_or(0);
        let add = self.add.iter().copied().min_by_key(|node| (getting(node), *node));
        let add = add.filter(|node| getting(node) < ADDITIONS_PER_NODE_MAX);
        let remove = self.remove.first().map(|placement| placement.replica);
        let group = self.group;
        match self.replicas.cmp(&wanted) {
            std::cmp::Ordering::Greater => Some(Move { group, add: None, remove: Some(remove?) }),
            std::cmp::Ordering::Less => Some(Move { group, add: Some(add?), remove: None }),
            std::cmp::Ordering::Equal => {
                Some(Move { group, add: Some(add?), remove: Some(remove?) })
            }
        }
    }
}

/// The moves to begin now: the most urgent first, as many at a time as the settings and each node allow.
///
/// Jobs of groups that decide nothing do not count: they may never end, and must not keep others from being
/// repaired.
pub(super) fn next_moves(state: &ClusterState, work: &[Work]) -> Vec<Move> {
    let running: Vec<_> =
        work.iter().filter(|work| work.can_decide).filter_map(|w| w.job).collect();
    let mut incoming = BTreeMap::new();
    for added in running.iter().filter_map(|job| job.add) {
        *incoming.entry(added.node).or_insert(0) += 1;
    }
    let mut work: Vec<_> = work.iter().collect();
    work.sort_by_key(|work| (work.urgency, work.group));
    let limit = usize::try_from(state.rebalance.max_moves).unwrap_or(usize::MAX);
    let room = limit.saturating_sub(running.len());
    let mut moves = Vec::new();
    for work in work {
        if moves.len() == room {
            break;
        }
        let next = work.next(usize::from(state.replication_factor), &incoming);
        if let Some(added) = next.and_then(|next| next.add) {
            *incoming.entry(added).or_insert(0) += 1;
        }
        moves.extend(next);
    }
    moves
}

/// Whether what the job adds is not wanted, or what it only removes is.
fn leads_away(job: &Job, goal: &BTreeSet<NodeId>) -> bool {
    match (job.add, job.remove) {
        (Some(added), _) => !goal.contains(&added.node),
        (None, removed) => removed.is_some_and(|removed| goal.contains(&removed.node)),
    }
}

/// The replicas once `job` is done.
fn after(placed: &[Placement], job: Option<Job>) -> Vec<Placement> {
    let removed = job.and_then(|job| job.remove);
    let stay = placed.iter().copied().filter(|placement| Some(*placement) != removed);
    stay.chain(job.and_then(|job| job.add)).collect()
}

/// Of what use a replica is that is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// Its node is given up.
    None,
    /// Its node is being emptied.
    ForNow,
    /// Its node serves.
    Full,
}

fn use_of(state: &ClusterState, node: NodeId) -> Use {
    match state.members.get(&node).map(|member| member.state) {
        None | Some(MemberState::Lost | MemberState::Replaced) => Use::None,
        Some(MemberState::Draining) => Use::ForNow,
        Some(MemberState::Serving) => Use::Full,
    }
}
