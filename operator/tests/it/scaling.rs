use std::collections::BTreeSet;

use flin_crds::{Phase, ScalePhase};
use flin_operator::nodes::Order;
use serde_json::{Value, json};

use crate::world::{BUDGET, DEMO, World, requeued};

fn disruptions_allowed(world: &World) -> Value {
    world.api.get(BUDGET).expect("it is there")["spec"]["maxUnavailable"].clone()
}

fn drain(nodes: &[u64]) -> Order {
    Order::SetDraining(nodes.iter().copied().collect::<BTreeSet<_>>())
}

/// A world that was scaled from three nodes to five and has come to rest.
async fn five() -> World {
    let world = World::running().await;
    world.ask(|spec| spec["replicas"] = json!(5));
    world.passes(1).await;
    world.sync_pods();
    world.nodes_join();
    world.passes(1).await;
    world.moves_finish();
    world.passes(2).await;
    world.api.writes();
    world.api.events();
    world.orders();
    world
}

#[tokio::test]
async fn scaling_up_grows_at_once_and_ends_when_all_is_level() {
    let world = World::running().await;
    world.ask(|spec| spec["replicas"] = json!(5));
    assert_eq!(world.pass().await.expect("nothing fails here"), requeued(1));
    assert_eq!((world.set_replicas(), world.scale_phase()), (5, ScalePhase::Joining));
    assert_eq!(world.status().phase, Some(Phase::Scaling));
    assert_eq!(world.verdict("Progressing"), "True Joining");
    assert_eq!(world.verdict("Degraded"), "False AllNodesHealthy");
    assert_eq!(disruptions_allowed(&world), 0);

    world.sync_pods();
    world.nodes_join();
    world.passes(1).await;
    assert_eq!(world.verdict("Progressing"), "True Rebalancing");
    let scale = world.status().scale.expect("it is recorded");
    assert_eq!((scale.from, scale.to, scale.replicas_left), (Some(3), Some(5), Some(30)));

    world.moves_finish();
    world.passes(1).await;
    assert_eq!(world.verdict("Progressing"), "False Settled");
    assert_eq!(world.status().phase, Some(Phase::Running));
    assert_eq!(world.status().ready.as_deref(), Some("5/5"));
    assert_eq!(world.status().replicas, 5);
    assert_eq!(disruptions_allowed(&world), 1);
    assert_eq!(
        world.api.events(),
        [
            "ScaleUpStarted",
            "NodeJoined demo-3",
            "NodeJoined demo-4",
            "RebalanceStarted",
            "Balanced",
            "ScaleUpFinished",
        ]
    );
    assert_eq!(world.orders(), []);
}

#[tokio::test]
async fn node_that_starts_for_the_first_time_is_awaited_and_not_missing() {
    let world = World::running().await;
    world.api.notes();
    world.ask(|spec| spec["replicas"] = json!(5));
    world.passes(1).await;
    for ordinal in [3, 4] {
        world.put_pod(ordinal, json!({"ready": false}));
    }
    world.passes(1).await;
    // They are members before their pods are ready; and for a moment nobody answers.
    world.nodes_join();
    world.passes(1).await;
    let report = world.nodes.report.lock().expect("not poisoned").take();
    world.passes(1).await;
    assert_eq!(world.verdict("Degraded"), "Unknown NodesUnreachable");
    *world.nodes.report.lock().expect("not poisoned") = report;
    world.passes(1).await;
    assert_eq!(world.verdict("Degraded"), "False AllNodesHealthy");
    let words = world.condition("Degraded").message;
    assert!(words.ends_with("starting for the first time: demo-3, demo-4"), "{words}");
    world.moves_finish();
    world.passes(1).await;
    assert_eq!(world.scale_phase(), ScalePhase::Rebalancing);
    let words = world.condition("Progressing").message;
    assert!(words.contains("waiting for demo-3, demo-4 to be ready"), "{words}");
    let notes = world.api.notes();
    let is_missed = |note: &String| note.contains("NodesMissing");
    assert!(!notes.iter().any(is_missed), "{notes:?}");

    // Once well, they are missed like any other node, also before the change has ended.
    world.nodes_say(|report| report.rebalance.replicas_left = 1);
    for ordinal in [3, 4] {
        world.put_pod(ordinal, json!({}));
    }
    world.passes(1).await;
    assert_eq!(world.status().scale.expect("it is recorded").joining, Vec::<String>::new());
    world.put_pod(4, json!({"ready": false}));
    world.passes(1).await;
    assert_eq!(world.verdict("Degraded"), "True NodesMissing");
    assert!(world.api.notes().iter().any(is_missed));
}

#[tokio::test]
async fn events_say_how_much_is_to_be_moved_once_it_is_known() {
    let world = five().await;
    world.api.notes();
    world.nodes_say(|report| report.members[4].data_bytes = 734_106);
    world.ask(|spec| spec["replicas"] = json!(3));
    world.passes(2).await;
    assert_eq!(
        world.api.notes(),
        [
            "Normal ScaleDownStarted: from 5 to 3 nodes",
            "Normal DrainStarted: the nodes that go hand their replicas to those that stay: \
             130 replicas (716.9 KiB) to move",
        ]
    );
    world.ask(|spec| spec["replicas"] = json!(5));
    world.passes(1).await;
    assert_eq!(
        world.api.notes(),
        [
            "Normal ScaleReversed: 5 nodes are asked for now, no longer 3",
            "Normal RebalanceStarted: every node gets its share of replicas and leaders",
        ]
    );
}

#[tokio::test]
async fn nodes_are_drained_before_they_are_removed_also_when_nobody_looked() {
    let world = five().await;
    world.ask(|spec| spec["replicas"] = json!(3));
    world.passes(2).await;
    world.api.events();
    world.moves_finish();
    world.nodes_say(|report| report.members.truncate(3));
    world.passes(1).await;
    world.sync_pods();
    world.passes(1).await;
    let story = ["Drained", "NodeRemoved demo-3", "NodeRemoved demo-4", "ScaleDownFinished"];
    assert_eq!(world.api.events(), story);
}

#[tokio::test]
async fn scaling_down_drains_then_removes_then_shrinks() {
    let world = five().await;
    world.ask(|spec| spec["replicas"] = json!(3));
    world.passes(1).await;
    assert_eq!(world.scale_phase(), ScalePhase::Draining);
    assert_eq!(world.orders(), [], "the wish is on record before anybody is told");
    world.passes(1).await;
    assert_eq!(world.orders(), [drain(&[10, 11])]);
    assert_eq!((world.set_replicas(), world.scale_phase()), (5, ScalePhase::Draining));
    assert_eq!(world.verdict("Degraded"), "False AllNodesHealthy");
    assert_eq!(disruptions_allowed(&world), 0);

    world.moves_finish();
    world.passes(1).await;
    assert_eq!((world.set_replicas(), world.scale_phase()), (5, ScalePhase::Removing));
    world.passes(1).await;
    assert_eq!(world.orders(), [Order::RemoveMember(10), Order::RemoveMember(11)]);
    assert_eq!((world.set_replicas(), world.scale_phase()), (3, ScalePhase::Shrinking));

    world.sync_pods();
    world.passes(1).await;
    assert_eq!(world.scale_phase(), ScalePhase::Idle);
    assert_eq!(world.status().ready.as_deref(), Some("3/3"));
    assert_eq!(world.status().members.len(), 3);
    assert_eq!(
        world.api.events(),
        [
            "ScaleDownStarted",
            "DrainStarted",
            "Drained",
            "NodeRemoved demo-3",
            "NodeRemoved demo-4",
            "ScaleDownFinished",
        ]
    );
}

#[tokio::test]
async fn scaling_down_taken_back_half_way_empties_nobody() {
    let world = five().await;
    world.ask(|spec| spec["replicas"] = json!(3));
    world.passes(2).await;
    world.ask(|spec| spec["replicas"] = json!(5));
    world.passes(1).await;
    assert_eq!(world.orders(), [drain(&[10, 11]), drain(&[])]);
    assert_eq!((world.set_replicas(), world.scale_phase()), (5, ScalePhase::Rebalancing));
    world.moves_finish();
    world.passes(1).await;
    assert_eq!(world.scale_phase(), ScalePhase::Idle);
    let events = world.api.events();
    assert!(events.contains(&"ScaleReversed".to_owned()), "{events:?}");
    assert!(!events.iter().any(|event| event.starts_with("NodeRemoved")), "{events:?}");
}

#[tokio::test]
async fn operator_killed_between_the_drain_and_its_record_takes_the_drain_back() {
    let mut world = five().await;
    world.ask(|spec| spec["replicas"] = json!(3));
    world.passes(1).await;
    let view = world.demo();
    world.passes(1).await;
    // The status of that pass got lost with the operator, and the wish changed before the next one.
    world.api.change(DEMO, |demo| {
        demo["status"] = serde_json::to_value(&view.status).expect("it is JSON");
    });
    world.restart_operator();
    world.ask(|spec| spec["replicas"] = json!(5));
    world.passes(1).await;
    assert_eq!(world.orders(), [drain(&[10, 11]), drain(&[])]);
}

#[tokio::test]
async fn node_that_people_drain_is_left_to_them() {
    let world = World::running().await;
    world.nodes_say(|report| report.members[1].state = flin_operator::nodes::MemberState::Draining);
    world.passes(3).await;
    assert_eq!(world.orders(), []);
    assert_eq!(disruptions_allowed(&world), 0);
}

#[tokio::test]
async fn several_wishes_become_one() {
    let world = World::running().await;
    world.ask(|spec| spec["replicas"] = json!(4));
    world.passes(1).await;
    world.sync_pods();
    world.ask(|spec| spec["replicas"] = json!(6));
    world.passes(1).await;
    assert_eq!(world.set_replicas(), 6);
    world.ask(|spec| spec["replicas"] = json!(3));
    world.passes(1).await;
    assert_eq!(world.set_replicas(), 3, "nobody had joined");
    world.sync_pods();
    world.passes(1).await;
    assert_eq!(world.scale_phase(), ScalePhase::Idle);
    assert_eq!(world.orders(), []);
}

#[tokio::test]
async fn scaling_down_without_room_is_refused_with_numbers() {
    let world = five().await;
    world.nodes_say(|report| {
        for member in &mut report.members {
            member.data_bytes = 3 << 30;
            member.disk_total_bytes = 10 << 30;
            member.disk_free_bytes = 2 << 30;
        }
    });
    world.ask(|spec| spec["replicas"] = json!(3));
    world.passes(3).await;
    assert_eq!(world.verdict("Progressing"), "False InsufficientCapacity");
    let words = world.condition("Progressing").message;
    assert!(words.contains("would have to take in 2.0 GiB and has room for 1.0 GiB"), "{words}");
    assert_eq!((world.set_replicas(), world.orders()), (5, vec![]));
    assert_eq!(world.status().phase, Some(Phase::Running));
    assert_eq!(world.api.events(), ["InsufficientCapacity"]);
    world.api.writes();
    world.passes(3).await;
    assert_eq!(world.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn what_the_nodes_refuse_is_repeated_in_their_words() {
    let world = five().await;
    world.ask(|spec| spec["replicas"] = json!(3));
    world.passes(1).await;
    *world.nodes.refuse_orders.lock().expect("not poisoned") = Some("too few nodes: 2".to_owned());
    world.passes(2).await;
    let words = world.condition("Progressing").message;
    assert!(words.contains("the nodes refused: too few nodes: 2"), "{words}");
    *world.nodes.refuse_orders.lock().expect("not poisoned") = None;
    world.passes(1).await;
    assert_eq!(world.orders(), [drain(&[10, 11])]);
}

#[tokio::test]
async fn replicas_and_pace_are_changed_as_the_spec_asks() {
    let world = World::running().await;
    world.ask(|spec| {
        spec["replicationFactor"] = json!(1);
        spec["rebalance"] =
            json!({"maxMoves": 2, "bytesPerSecond": "1Mi", "replaceAfterSeconds": 0});
    });
    world.passes(2).await;
    let orders = world.orders();
    assert!(matches!(orders[..], [Order::SetRebalance(_), Order::SetReplicationFactor(1)]));
    let Order::SetRebalance(pace) = &orders[0] else { unreachable!() };
    assert_eq!(
        (pace.max_moves, pace.bytes_per_second, pace.replace_after_seconds),
        (2, 1 << 20, 0)
    );
    assert_eq!(world.scale_phase(), ScalePhase::Rebalancing);
    world.moves_finish();
    world.passes(1).await;
    assert_eq!(world.scale_phase(), ScalePhase::Idle);
    world.ask(|spec| spec["replicationFactor"] = json!(3));
    world.passes(2).await;
    assert_eq!(world.orders(), [Order::SetReplicationFactor(3)]);
}

#[tokio::test]
async fn statefulset_deleted_or_scaled_by_hand_comes_back_as_large_as_it_was() {
    let world = five().await;
    world.api.change(crate::world::STATEFULSET, |set| set["spec"]["replicas"] = json!(1));
    world.passes(1).await;
    assert_eq!(world.set_replicas(), 5);
    world.api.remove(crate::world::STATEFULSET);
    *world.nodes.report.lock().expect("not poisoned") = None;
    world.passes(1).await;
    assert_eq!(world.set_replicas(), 5);
}

#[tokio::test]
async fn scaled_cluster_hears_nothing_but_radio_silence() {
    let mut world = five().await;
    for _ in 0..5 {
        assert_eq!(world.pass().await.expect("nothing fails here"), requeued(30));
    }
    world.restart_operator();
    world.passes(2).await;
    assert_eq!(world.api.writes(), Vec::<String>::new());
    assert_eq!((world.api.events(), world.orders()), (vec![], vec![]));
}

#[tokio::test]
async fn scale_that_waits_for_a_missing_node_says_so_once() {
    let world = World::running().await;
    world.put_pod(1, json!({"ready": false}));
    world.nodes_say(|report| report.members[1].alive = false);
    world.passes(2).await;
    world.ask(|spec| spec["replicas"] = json!(5));
    world.passes(2).await;
    assert_eq!(world.set_replicas(), 3);
    assert_eq!(world.verdict("Progressing"), "True ScaleWaiting");
    let words = world.condition("Progressing").message;
    assert!(words.contains("waiting for demo-1, which must be ready"), "{words}");
    world.api.writes();
    world.passes(3).await;
    assert_eq!(world.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn node_with_an_empty_disk_takes_the_place_of_the_old_one() {
    let world = World::running().await;
    world.nodes_say(|report| {
        report.members[1].state = flin_operator::nodes::MemberState::Replaced;
        report.members[1].alive = false;
        report.under_replicated = 64;
        report.rebalance.balanced = false;
        report.rebalance.replicas_left = 64;
        let fresh = flin_operator::nodes::ReportedMember {
            name: "demo-1".to_owned(),
            node_id: 4,
            alive: true,
            ..Default::default()
        };
        report.members.push(fresh);
    });
    world.passes(2).await;
    let members = world.status().members;
    assert_eq!(members.len(), 3);
    assert_eq!((members[1].node_id, members[1].alive), (Some(4), true));
    let events = world.api.events();
    assert!(events.contains(&"NodeReplaced demo-1".to_owned()), "{events:?}");
    assert_eq!(world.orders(), []);
}
