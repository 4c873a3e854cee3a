//! Stories of single clusters.

use super::simulation::Simulation;
use super::*;
use crate::cluster::{Change, Placement};
use crate::ids::NodeId;

#[test]
fn up_and_down_again_moves_what_it_must_and_no_more() {
    let mut simulation = Simulation::new(64, 3, &[""; 3], 7);
    for (scale, needed) in [(5, 76), (3, 76), (4, 48), (3, 48)] {
        (simulation.state.members.len()..scale).for_each(|_| simulation.join(""));
        let surplus: Vec<_> = simulation.state.members.keys().skip(scale).map(|n| n.0).collect();
        simulation.drain(surplus).expect("enough remain");
        assert_eq!(simulation.settle(), needed, "to {scale}");
        simulation.assert_settled();
        simulation.remove_empty();
        assert_eq!(simulation.state.members.len(), scale);
    }
    assert_eq!(simulation.state.moved.replicas, 248);
    assert_eq!(simulation.state.moved.bytes, 2_480);
}

/// A cluster of 1024 partitions on 50 nodes that grows to 100.
fn large(zone: impl Fn(usize) -> &'static str) -> Simulation {
    let zones: Vec<_> = (0..50).map(&zone).collect();
    let mut simulation = Simulation::new(1024, 3, &zones, 7);
    (50..100).for_each(|node| simulation.join(zone(node)));
    simulation
}

#[test]
fn the_largest_clusters_are_planned_for() {
    let simulation = large(|_| "");
    assert_eq!(simulation.additions_planned(), simulation.additions_needed());
    let simulation = large(|node| ["a", "b", "c"][node % 3]);
    let (planned, needed) = (simulation.additions_planned(), simulation.additions_needed());
    assert!(planned * 10 <= needed * 11, "{planned} of {needed}");
    let mut simulation = large(|node| ["a", "b", "c", "d"][node % 4]);
    simulation.drain((60..80).chain([1, 2, 3])).expect("enough remain");
    let (planned, needed) = (simulation.additions_planned(), simulation.additions_needed());
    assert!(planned * 10 <= needed * 11, "{planned} of {needed}");
}

#[test]
fn nodes_that_join_share_little_with_each_other() {
    let mut simulation = Simulation::new(64, 3, &[""; 5], 7);
    (0..3).for_each(|_| simulation.join(""));
    simulation.settle();
    let new = |placed: &&Vec<Placement>| placed.iter().filter(|p| p.node.0 > 5).count() == 3;
    assert!(simulation.state.placement.iter().filter(new).count() < 8);
}

#[test]
fn a_drain_that_is_reversed_takes_running_moves_back() {
    let mut simulation = Simulation::new(64, 3, &[""; 4], 7);
    simulation.drain([4]).expect("three remain");
    simulation.follow();
    assert_eq!(simulation.state.jobs.len(), 4);
    simulation.drain([]).expect("nobody leaves");
    let plan = simulation.plan();
    let jobs: Vec<_> = simulation.state.jobs.iter().map(|(group, job)| (*group, job.id)).collect();
    assert_eq!((plan.undo, plan.moves), (jobs, Vec::new()));
    while !simulation.state.jobs.is_empty() {
        simulation.follow();
        simulation.end_one_job();
    }
    simulation.settle();
    simulation.assert_settled();
    assert!(simulation.added <= 8, "{} replicas were moved in vain", simulation.added);
}

#[test]
fn a_move_to_a_lost_node_is_taken_back_and_what_it_holds_copied() {
    let mut simulation = Simulation::new(16, 3, &[""; 4], 7);
    simulation.join("");
    simulation.follow();
    let added = simulation.state.jobs.values().filter_map(|job| job.add);
    assert!(added.clone().count() > 0 && added.clone().all(|added| added.node == NodeId(5)));
    simulation.change(Change::SetLost { node: NodeId(5), lost: true }).expect("it serves");
    assert_eq!(simulation.plan().undo.len(), simulation.state.jobs.len());
    simulation.change(Change::SetLost { node: NodeId(4), lost: true }).expect("it serves");
    simulation.settle();
    simulation.assert_settled();
    assert_eq!(simulation.state.holds(NodeId(4)) + simulation.state.holds(NodeId(5)), 0);
}

#[test]
fn the_meta_group_moves_first() {
    let mut simulation = Simulation::new(16, 3, &[""; 5], 7);
    simulation.drain([2]).expect("four remain");
    let first = simulation.plan().moves[0];
    assert_eq!((first.group, first.remove), (GroupId::META, Some(ReplicaId(2))));
    assert!(first.add == Some(NodeId(4)) || first.add == Some(NodeId(5)));
}

#[test]
fn a_group_gets_more_and_fewer_replicas_with_the_factor() {
    let mut simulation = Simulation::new(16, 1, &[""; 3], 7);
    for (replication_factor, added) in [(3, 34), (1, 0)] {
        simulation
            .change(Change::SetReplicationFactor { replication_factor })
            .expect("three serve");
        let moves = simulation.plan().moves;
        assert!(moves.iter().all(|m| m.add.is_some() != m.remove.is_some()), "{moves:?}");
        assert_eq!(simulation.settle(), added);
        simulation.assert_settled();
    }
}

#[test]
fn paused_moves_wait_and_say_so() {
    let mut simulation = Simulation::new(64, 3, &[""; 3], 7);
    simulation.join("");
    simulation.pause(true).expect("a good setting");
    let plan = simulation.plan();
    assert_eq!((plan.moves.len(), plan.replicas_left, plan.balanced), (0, 48, false));
    assert_eq!(plan.blocked.as_deref(), Some("moves are paused, 48 replicas wait"));
    assert_eq!(simulation.settle(), 0);
}

#[test]
fn without_room_a_lost_node_keeps_its_replicas() {
    let mut simulation = Simulation::new(8, 3, &[""; 3], 7);
    simulation.change(Change::SetLost { node: NodeId(3), lost: true }).expect("it serves");
    let plan = simulation.plan();
    assert_eq!((plan.moves.len(), plan.replicas_left), (0, 9));
    let reason = "replicationFactor 3 needs as many nodes that serve, there are 2";
    assert_eq!(plan.blocked.as_deref(), Some(reason));
    assert!(plan.leaders.values().all(|replica| {
        simulation.state.groups().any(|group| {
            let node = simulation.state.node_of(group, *replica);
            node.is_some_and(|node| simulation.state.serves(node))
        })
    }));
}

#[test]
fn groups_without_a_majority_do_not_keep_others_from_being_repaired() {
    let mut simulation = Simulation::new(40, 3, &[""; 6], 7);
    simulation.drain([6]).expect("five remain");
    simulation.follow();
    for node in [1, 2] {
        simulation.change(Change::SetLost { node: NodeId(node), lost: true }).expect("it serves");
    }
    simulation.settle();
    let plan = simulation.plan();
    assert!(plan.blocked.is_some_and(|reason| reason.contains("lost most of their replicas")));
    let state = &simulation.state;
    let silent = state.groups().filter(|group| !state.can_decide(*group)).count();
    assert!(silent > 1);
    for group in state.groups().filter(|group| state.can_decide(*group)) {
        assert!(state.replicas_of(group).iter().all(|p| state.serves(p.node)), "group {group}");
    }
    for node in [1, 2] {
        simulation.change(Change::SetLost { node: NodeId(node), lost: false }).expect("it is back");
    }
    simulation.settle();
    simulation.assert_settled();
}

#[test]
fn bytes_are_counted_for_what_is_still_to_be_added() {
    let mut simulation = Simulation::new(8, 3, &[""; 3], 7);
    simulation.join("");
    let sight = Sight { bytes: (0..9).map(|group| (GroupId(group), 100)).collect() };
    let plan = plan_moves(&simulation.state, &sight);
    assert_eq!((plan.replicas_left, plan.bytes_left), (6, 600));
    simulation.follow();
    let plan = plan_moves(&simulation.state, &sight);
    assert_eq!((plan.replicas_left, plan.bytes_left), (6, 600));
    simulation.end_one_job();
    let plan = plan_moves(&simulation.state, &sight);
    assert_eq!((plan.replicas_left, plan.bytes_left), (5, 500));
}

#[test]
fn leaders_wait_for_replicas_and_then_change_as_little_as_possible() {
    let mut simulation = Simulation::new(30, 3, &[""; 3], 7);
    simulation.join("");
    assert!(simulation.plan().leaders.is_empty());
    let led_before = |state: &ClusterState| -> Vec<_> {
        state.placement.iter().map(|placed| placed[0].node).collect()
    };
    while !simulation.plan().moves.is_empty() || !simulation.state.jobs.is_empty() {
        simulation.follow();
        simulation.end_one_job();
    }
    let before = led_before(&simulation.state);
    let mut leads = simulation.count(|placed, node| placed[0].node == node);
    leads.sort_unstable_by(|a, b| b.cmp(a));
    let needed: usize =
        leads.iter().zip([8, 8, 7, 7]).map(|(leads, share)| leads.saturating_sub(share)).sum();
    simulation.follow();
    let changed = before.iter().zip(led_before(&simulation.state)).filter(|(a, b)| *a != b).count();
    assert_eq!(changed, needed);
    simulation.assert_settled();
}
