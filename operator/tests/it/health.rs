use flin_crds::Phase;
use serde_json::{Value, json};

use crate::world::{BUDGET, World, requeued};

fn refusing(words: &str) -> Value {
    json!({"ready": false, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
           "lastState": {"terminated": {"exitCode": 78, "message": words}}})
}

fn disruptions_allowed(world: &World) -> Value {
    world.api.get(BUDGET).expect("it is there")["spec"]["maxUnavailable"].clone()
}

#[tokio::test]
async fn partitions_without_a_leader_make_it_unavailable() {
    let world = World::running().await;
    world.nodes_say(|report| {
        report.leaderless = 3;
        report.under_replicated = 20;
    });
    assert_eq!(world.pass().await.expect("nothing fails here"), requeued(1));
    assert_eq!(world.pass().await.expect("nothing fails here"), requeued(5));
    assert_eq!(world.verdict("Available"), "False PartitionsLeaderless");
    assert_eq!(world.condition("Available").message, "3 of 64 partitions have no leader");
    assert_eq!(world.status().phase, Some(Phase::Unavailable));
    let partitions = world.status().partitions.expect("they are reported");
    let numbers = (partitions.total, partitions.under_replicated, partitions.leaderless);
    assert_eq!(numbers, (64, 20, 3));
}

#[tokio::test]
async fn missing_node_degrades_and_forbids_disruptions() {
    let world = World::running().await;
    assert_eq!(disruptions_allowed(&world), 1);
    world.put_pod(1, json!({"ready": false}));
    world.nodes_say(|report| {
        report.members[1].alive = false;
        report.under_replicated = 64;
    });
    world.passes(1).await;
    assert_eq!(world.verdict("Available"), "True AllPartitionsLed");
    assert_eq!(world.verdict("Degraded"), "True NodesMissing");
    assert_eq!(world.condition("Degraded").message, "demo-1 not ready: 2 of 3 nodes are");
    assert_eq!(world.status().phase, Some(Phase::Degraded));
    assert_eq!(world.status().ready.as_deref(), Some("2/3"));
    assert_eq!(disruptions_allowed(&world), 0);
    world.put_pod(1, json!({}));
    world.nodes_say(|report| {
        report.members[1].alive = true;
        report.under_replicated = 0;
    });
    world.passes(1).await;
    assert_eq!(world.verdict("Degraded"), "False AllNodesHealthy");
    assert_eq!(disruptions_allowed(&world), 1);
}

#[tokio::test]
async fn silent_nodes_that_are_ready_leave_availability_unknown() {
    let world = World::running().await;
    *world.nodes.report.lock().expect("not poisoned") = None;
    world.passes(1).await;
    assert_eq!(world.verdict("Available"), "Unknown NodesUnreachable");
    assert_eq!(world.status().phase, Some(Phase::Unavailable));
    assert!(world.status().partitions.is_some(), "what was known is kept");
}

#[tokio::test]
async fn one_lost_disk_degrades_with_the_nodes_own_words() {
    let world = World::running().await;
    world.put_pod(2, refusing("starting\nthis member's data is gone"));
    world.nodes_say(|report| report.members[2].alive = false);
    world.passes(1).await;
    assert_eq!(world.verdict("Degraded"), "True MemberDataLost");
    let words = world.condition("Degraded").message;
    assert_eq!(words, "demo-2 refuses its disk: this member's data is gone");
    assert_eq!(world.verdict("Available"), "True AllPartitionsLed");
}

#[tokio::test]
async fn all_disks_lost_is_data_lost_and_never_a_new_birth() {
    let world = World::running().await;
    let id = world.cluster_id();
    for ordinal in 0..3 {
        world.put_pod(ordinal, refusing("this member's data is gone"));
    }
    *world.nodes.report.lock().expect("not poisoned") = None;
    world.passes(3).await;
    assert_eq!(world.status().phase, Some(Phase::DataLost));
    for condition in ["Available", "Progressing"] {
        assert_eq!(world.verdict(condition), "False DataLost");
    }
    assert_eq!(world.verdict("Degraded"), "True DataLost");
    assert_eq!((world.cluster_id(), world.announced()), (id, "Formed".to_owned()));
}

#[tokio::test]
async fn condition_keeps_the_time_of_its_last_turn() {
    let world = World::running().await;
    let before = world.condition("Available").last_transition_time;
    world.nodes_say(|report| report.under_replicated = 2);
    world.passes(1).await;
    assert_eq!(world.verdict("Degraded"), "True PartitionsUnderReplicated");
    assert_eq!(world.condition("Available").last_transition_time, before);
}

#[tokio::test]
async fn nodes_that_come_later_in_the_first_minute_are_no_alarm() {
    let world = World::new();
    world.passes(1).await;
    world.start_pods();
    world.put_pod(2, json!({"ready": false}));
    world.answer();
    world.passes(3).await;
    assert_eq!(world.verdict("Available"), "True AllPartitionsLed");
    assert_eq!(world.verdict("Degraded"), "False NodesStarting");
    assert_eq!(world.verdict("Progressing"), "True NodesStarting");
    assert_eq!(world.status().phase, Some(Phase::Forming));
    world.start_pods();
    world.passes(2).await;
    assert_eq!(world.status().phase, Some(Phase::Running));
    assert_eq!(world.api.events(), ["Forming", "Formed", "AllPartitionsLed"]);
}

#[tokio::test]
async fn node_that_never_starts_is_missing_after_a_minute() {
    let world = World::new();
    world.passes(1).await;
    world.start_pods();
    world.put_pod(2, json!({"ready": false}));
    world.answer();
    world.passes(2).await;
    world.api.change(crate::world::DEMO, |demo| {
        demo["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-01-01T00:00:00Z");
    });
    world.passes(1).await;
    assert_eq!(world.verdict("Degraded"), "True NodesMissing");
    assert_eq!(world.status().phase, Some(Phase::Degraded));
}

#[tokio::test]
async fn lost_quorum_names_the_lost_and_the_way_out() {
    let world = World::running().await;
    for ordinal in [1, 2] {
        world.put_pod(ordinal, json!({"ready": false}));
    }
    world.nodes_say(|report| {
        report.members[1].alive = false;
        report.members[2].alive = false;
        report.leaderless = 64;
        report.meta_led = false;
    });
    world.passes(1).await;
    assert_eq!(world.verdict("Available"), "False PartitionsLeaderless");
    let words = world.condition("Available").message;
    assert!(words.contains("while demo-1, demo-2 are missing"), "{words}");
    assert!(words.contains("bring the nodes back"), "{words}");
}

#[tokio::test]
async fn meta_group_without_a_leader_is_told_apart_from_partitions_without_one() {
    let world = World::running().await;
    world.nodes_say(|report| report.meta_led = false);
    world.passes(1).await;
    assert_eq!(world.verdict("Available"), "True AllPartitionsLed");
    assert_eq!(world.verdict("Degraded"), "True MetaLeaderless");
    assert_eq!(disruptions_allowed(&world), 0);
}

#[tokio::test]
async fn moves_without_a_change_of_scale_are_progress_too() {
    let world = World::running().await;
    assert_eq!(world.verdict("Rebalancing"), "False Balanced");
    world.nodes_say(|report| {
        report.rebalance.balanced = false;
        report.rebalance.moving = 2;
        report.rebalance.replicas_left = 7;
    });
    world.passes(1).await;
    assert_eq!(world.pass().await.expect("nothing fails here"), requeued(5));
    assert_eq!(world.verdict("Rebalancing"), "True ReplicasMoving");
    assert_eq!(world.verdict("Progressing"), "True Rebalancing");
    let words = "7 replicas left to move, 2 at this moment";
    assert_eq!(world.condition("Rebalancing").message, words);
    assert_eq!(world.condition("Progressing").message, words);
    assert_eq!(disruptions_allowed(&world), 0);
    world.moves_finish();
    world.passes(2).await;
    assert_eq!(world.verdict("Rebalancing"), "False Balanced");
    assert_eq!(world.verdict("Progressing"), "False Settled");
}

#[tokio::test]
async fn paused_moves_are_no_reason_to_write_while_clients_do() {
    let world = World::running().await;
    world.ask(|spec| spec["rebalance"] = json!({"paused": true}));
    world.nodes_say(|report| {
        report.rebalance.balanced = false;
        report.rebalance.replicas_left = 7;
        report.rebalance.blocked = "moves are paused, 7 replicas wait".to_owned();
    });
    world.passes(3).await;
    assert_eq!(world.verdict("Rebalancing"), "True MovesPaused");
    world.api.writes();
    for bytes in [1_000, 2_000] {
        world.nodes_say(|report| report.rebalance.bytes_left = bytes);
        world.passes(1).await;
    }
    assert_eq!(world.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn nodes_that_share_zones_are_told_once_and_refuse_nothing() {
    let world = World::running().await;
    world.nodes_say(|report| {
        for (member, zone) in report.members.iter_mut().zip(["a", "a", "b"]) {
            member.zone = zone.to_owned();
        }
    });
    world.passes(3).await;
    assert_eq!(world.verdict("Rebalancing"), "False ZonesShared");
    let words = world.condition("Rebalancing").message;
    assert!(words.contains("3 nodes are in 2 zones"), "{words}");
    assert_eq!(world.api.events(), ["ZonesShared"]);
    assert_eq!(world.verdict("Progressing"), "False Settled");
    assert_eq!(world.status().phase, Some(Phase::Running));
    world.ask(|spec| spec["replicas"] = json!(4));
    world.passes(1).await;
    assert_eq!(world.set_replicas(), 4);
}

#[tokio::test]
async fn nobody_knows_what_moves_while_no_node_answers() {
    let world = World::running().await;
    *world.nodes.report.lock().expect("not poisoned") = None;
    world.passes(1).await;
    assert_eq!(world.verdict("Rebalancing"), "Unknown NodesUnreachable");
}
