//! From the state of the cluster to the nodes that each group should end on.

use std::collections::{BTreeMap, BTreeSet};

use super::goal::{Holding, Presence, choose};
use crate::cluster::ClusterState;
use crate::cluster::placement::zone_numbers;
use crate::ids::{GroupId, NodeId, PartitionId};

/// The nodes that each group should end on: as many as it has replicas, or all that serve if those are fewer.
///
/// The partitions share the nodes among them; the meta group goes, if it has to, where they leave most room.
pub(super) fn goals(state: &ClusterState) -> BTreeMap<GroupId, BTreeSet<NodeId>> {
    let mut nodes: Vec<_> = state.members.keys().copied().filter(|n| state.serves(*n)).collect();
    let partitions: Vec<_> = (0..state.partitions).map(|p| PartitionId(p).group()).collect();
    let mut goals = choose_among(state, &nodes, &partitions);
    let held = |node: &NodeId| goals.values().filter(|nodes| nodes.contains(node)).count();
    nodes.sort_by_cached_key(|node| (held(node), *node));
    goals.append(&mut choose_among(state, &nodes, &[GroupId::META]));
    goals
}

/// The order of `nodes` decides between equals.
fn choose_among(
    state: &ClusterState,
    nodes: &[NodeId],
    groups: &[GroupId],
) -> BTreeMap<GroupId, BTreeSet<NodeId>> {
    let zone = |node| state.members.get(node).map_or("", |member| member.zone.as_str());
    let zones = zone_numbers(&nodes.iter().map(zone).collect::<Vec<_>>());
    let numbers = nodes.iter().enumerate().map(|(number, node)| (*node, number)).collect();
    let holdings: Vec<_> = groups.iter().map(|group| holding(state, *group, &numbers)).collect();
    let replicas = usize::from(state.replication_factor).min(nodes.len());
    let named = |set: Vec<usize>| set.into_iter().map(|number| nodes[number]).collect();
    let sets = choose(&zones, &holdings, replicas).into_iter().map(named);
    groups.iter().copied().zip(sets).collect()
}

/// Where the group is, and where the move that runs will have it. One that is being taken back leaves
/// everything as it was.
fn holding(state: &ClusterState, group: GroupId, numbers: &BTreeMap<NodeId, usize>) -> Holding {
    let job = state.jobs.get(&group).filter(|job| !job.undo);
    let leaving = job.and_then(|job| job.remove);
    let placed = state.replicas_of(group).iter().map(|placement| {
        let leaves = Some(*placement) == leaving;
        (placement.node, if leaves { Presence::Leaving } else { Presence::Settled })
    });
    let arriving = job.and_then(|job| job.add).map(|added| (added.node, Presence::Arriving));
    let numbered = |(node, presence)| Some((*numbers.get(&node)?, presence));
    Holding { present: placed.chain(arriving).filter_map(numbered).collect() }
}
