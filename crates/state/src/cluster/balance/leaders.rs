//! Which preferred leaders to change, so that every node leads its share.

use std::collections::BTreeMap;

use crate::cluster::{ClusterState, Placement, leadership};
use crate::ids::{GroupId, NodeId, ReplicaId};

/// Changes of preferred leaders: to nodes that serve, each leading equally many partitions within one where
/// its replicas allow that, with the fewest changes. Groups that are being moved or decide nothing stay as
/// they are. The meta group only changes when the node that should lead it does not serve.
pub(super) fn changes(state: &ClusterState) -> BTreeMap<GroupId, ReplicaId> {
    let nodes: Vec<_> = state.members.keys().copied().filter(|n| state.serves(*n)).collect();
    let number = |node: NodeId| nodes.binary_search(&node).ok();
    let mut elsewhere = vec![0_usize; nodes.len()];
    let mut groups = Vec::new();
    let mut sets: Vec<Vec<usize>> = Vec::new();
    for group in state.groups().filter(|group| *group != GroupId::META) {
        let serving = state.replicas_of(group).iter().filter_map(|p| number(p.node));
        if stays(state, group) {
            let leader = state.preferred_leader(group).and_then(number);
            leader.into_iter().for_each(|leader| elsewhere[leader] += 1);
        } else if serving.clone().next().is_some() {
            groups.push(group);
            sets.push(serving.collect());
        }
    }
    replace_leaders_that_do_not_serve(&mut sets, &elsewhere, |set| {
        state.preferred_leader(groups[set]).and_then(number).is_some()
    });
    leadership::even(nodes.len(), &elsewhere, &mut sets);
    let chosen = groups.iter().zip(&sets).map(|(group, set)| (*group, nodes[set[0]]));
    chosen
        .chain(meta_leader(state).map(|node| (GroupId::META, node)))
        .filter(|(group, node)| state.preferred_leader(*group) != Some(*node))
        .filter_map(|(group, node)| Some((group, replica_on(state, group, node)?.replica)))
        .collect()
}

fn stays(state: &ClusterState, group: GroupId) -> bool {
    state.jobs.contains_key(&group) || !state.can_decide(group)
}

/// The first node of the meta group that serves.
fn meta_leader(state: &ClusterState) -> Option<NodeId> {
    let nodes = state.meta.iter().map(|placement| placement.node);
    nodes.filter(|_| !stays(state, GroupId::META)).find(|node| state.serves(*node))
}

fn replica_on(state: &ClusterState, group: GroupId, node: NodeId) -> Option<Placement> {
    state.replicas_of(group).iter().copied().find(|placement| placement.node == node)
}

/// Puts to the front of each set without its leader the member that leads least so far.
fn replace_leaders_that_do_not_serve(
    sets: &mut [Vec<usize>],
    elsewhere: &[usize],
    has_leader: impl Fn(usize) -> bool,
) {
    let mut leads = elsewhere.to_vec();
    for (_, set) in sets.iter().enumerate().filter(|(set, _)| has_leader(*set)) {
        leads[set[0]] += 1;
    }
    for (_, set) in sets.iter_mut().enumerate().filter(|(set, _)| !has_leader(*set)) {
        let least = (0..set.len()).min_by_key(|at| leads[set[*at]]).unwrap_or(0);
        set.swap(0, least);
        leads[set[0]] += 1;
    }
}
