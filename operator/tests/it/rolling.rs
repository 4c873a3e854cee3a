use flin_crds::{Phase, RolloutPhase, RolloutStatus, RolloutStep};
use flin_operator::nodes::Order;
use serde_json::{Value, json};

use crate::world::{BUDGET, STATEFULSET, World, pod_path, requeued, usual_pace};

fn rollout(world: &World) -> RolloutStatus {
    world.status().rollout.expect("it is recorded")
}

fn image_of_the_template(world: &World) -> Value {
    let set = world.api.get(STATEFULSET).expect("it is there");
    set["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

fn is_there(world: &World, ordinal: usize) -> bool {
    world.api.get(&pod_path(ordinal)).is_some()
}

fn pulling() -> Value {
    json!({"ready": false, "state": {"waiting": {"reason": "ImagePullBackOff"}}})
}

async fn asked_for(change: impl FnOnce(&mut Value)) -> World {
    let world = World::running().await;
    world.ask(change);
    world
}

async fn asked_for_image() -> World {
    asked_for(|spec| spec["image"] = json!("flin-node:2")).await
}

/// The rollout restarts the node of this ordinal, which must be the next.
async fn restarts(world: &World, ordinal: usize) {
    for _ in 0..3 {
        if !is_there(world, ordinal) {
            break;
        }
        world.passes(1).await;
    }
    assert!(!is_there(world, ordinal), "demo-{ordinal} was not restarted");
    let others = (0..3).filter(|other| *other != ordinal);
    assert!(others.into_iter().all(|other| is_there(world, other)), "one at a time");
    assert_eq!(rollout(world).current, Some(format!("demo-{ordinal}")));
}

#[tokio::test]
async fn changed_image_restarts_one_node_at_a_time_from_the_highest() {
    let world = asked_for_image().await;
    assert_eq!(world.pass().await.expect("nothing fails here"), requeued(1));
    assert_eq!(
        image_of_the_template(&world),
        "flin-node:2",
        "the template is the wanted one at once"
    );
    assert_eq!(world.status().phase, Some(Phase::RollingOut));
    assert!(is_there(&world, 2), "that it is its turn is on record first");
    assert_eq!(rollout(&world).step, Some(RolloutStep::HandingOver));
    assert_eq!(world.api.get(BUDGET).expect("it is there")["spec"]["maxUnavailable"], 0);
    for ordinal in [2, 1, 0] {
        restarts(&world, ordinal).await;
        world.nodes_say(|report| {
            report.members[ordinal].alive = false;
            report.under_replicated = 64;
        });
        world.passes(2).await;
        assert_eq!(world.verdict("Degraded"), "True NodeRestarting");
        assert_eq!(world.status().phase, Some(Phase::RollingOut));
        world.sync_pods();
        world.nodes_say(|report| report.members[ordinal].alive = true);
        world.passes(2).await;
        let words = world.condition("Progressing").message;
        assert!(words.contains("FullStrength: 64 of 64 partitions miss a replica"), "{words}");
        world.nodes_say(|report| report.under_replicated = 0);
    }
    world.passes(2).await;
    assert_eq!(rollout(&world).phase, RolloutPhase::Idle);
    assert_eq!((rollout(&world).updated, rollout(&world).total), (3, 3));
    assert_eq!(world.verdict("Progressing"), "False Settled");
    let told = world.nodes.stepped_down.lock().expect("not poisoned").clone();
    let hosts = ["10.0.0.3:6381", "10.0.0.2:6381", "10.0.0.1:6381"];
    assert_eq!(told, hosts.map(|host| (host.to_owned(), false)));
    assert_eq!(
        world.api.events(),
        [
            "RolloutStarted",
            "NodeRestarted demo-2",
            "NodeRestarted demo-1",
            "NodeRestarted demo-0",
            "RolloutFinished",
        ]
    );
}

#[tokio::test]
async fn node_that_restarts_is_not_replaced_meanwhile() {
    let world = asked_for_image().await;
    world.passes(2).await;
    let held = usual_pace();
    let held = flin_operator::nodes::RebalanceSettings { replace_after_seconds: 0, ..held };
    assert_eq!(world.orders(), [Order::SetRebalance(held)]);
    world.ask(|spec| {
        spec.as_object_mut().expect("it is an object").remove("image");
    });
    world.passes(1).await;
    world.sync_pods();
    world.passes(3).await;
    assert_eq!(world.orders().last(), Some(&Order::SetRebalance(usual_pace())));
}

#[tokio::test]
async fn settings_and_resources_reach_the_pods() {
    let world = asked_for(|spec| spec["config"] = json!({"maxConnections": 7})).await;
    world.passes(1).await;
    let config = world.api.get("/api/v1/namespaces/flin/configmaps/demo-config");
    let toml = config.expect("it is there")["data"]["flin.toml"].clone();
    assert!(toml.as_str().expect("it is text").contains("max_connections = 7"));
    restarts(&world, 2).await;
    let world = asked_for(|spec| spec["resources"] = json!({"requests": {"cpu": "2"}})).await;
    restarts(&world, 2).await;
}

#[tokio::test]
async fn broken_image_stops_at_the_first_node_and_a_revert_brings_it_back() {
    let world = asked_for_image().await;
    restarts(&world, 2).await;
    world.put_pod(2, pulling());
    world.nodes_say(|report| {
        report.members[2].alive = false;
        report.under_replicated = 64;
    });
    world.passes(5).await;
    assert_eq!(rollout(&world).phase, RolloutPhase::Blocked);
    assert_eq!(world.verdict("Progressing"), "False RolloutBlocked");
    let words = world.condition("Progressing").message;
    assert!(words.contains("demo-2 does not become ready: ImagePullBackOff"), "{words}");
    assert!(is_there(&world, 0) && is_there(&world, 1));
    assert_eq!(world.pass().await.expect("nothing fails here"), requeued(5));
    world.api.writes();
    world.passes(3).await;
    assert_eq!(world.api.writes(), Vec::<String>::new());

    let untouched = [0, 1].map(|ordinal| world.api.get(&pod_path(ordinal)));
    world.ask(|spec| {
        spec.as_object_mut().expect("it is an object").remove("image");
    });
    world.passes(1).await;
    assert_eq!(image_of_the_template(&world), "flin-node:0.1.0");
    assert!(!is_there(&world, 2), "the broken pod is the one that is not as it should be");
    world.sync_pods();
    world.nodes_say(|report| {
        report.members[2].alive = true;
        report.under_replicated = 0;
    });
    world.passes(2).await;
    assert_eq!(rollout(&world).phase, RolloutPhase::Idle);
    assert_eq!(world.verdict("Progressing"), "False Settled");
    assert_eq!([0, 1].map(|ordinal| world.api.get(&pod_path(ordinal))), untouched);
    let events = world.api.events();
    let story = [
        "RolloutStarted",
        "RolloutBlocked demo-2",
        "NodesMissing",
        "RolloutResumed",
        "NodeRestarted demo-2",
        "RolloutFinished",
    ];
    assert_eq!(events, story);
}

#[tokio::test]
async fn spec_reverted_before_the_restart_lets_the_node_lead_again() {
    let world = asked_for_image().await;
    world.passes(1).await;
    world.ask(|spec| {
        spec.as_object_mut().expect("it is an object").remove("image");
    });
    world.passes(2).await;
    assert!(is_there(&world, 2));
    let told = world.nodes.stepped_down.lock().expect("not poisoned").clone();
    assert_eq!(told, [("10.0.0.3:6381".to_owned(), true)]);
    assert_eq!(rollout(&world).phase, RolloutPhase::Idle);
}

#[tokio::test]
async fn no_node_is_restarted_while_another_is_missing() {
    let world = World::running().await;
    world.put_pod(0, json!({"ready": false}));
    world.nodes_say(|report| {
        report.members[0].alive = false;
        report.under_replicated = 64;
    });
    world.passes(2).await;
    world.ask(|spec| spec["image"] = json!("flin-node:2"));
    // The missing node itself serves nobody and may be restarted; the others may not.
    for _ in 0..5 {
        world.passes(1).await;
        assert!(is_there(&world, 1) && is_there(&world, 2));
    }
}

#[tokio::test]
async fn scale_waits_for_the_rollout_and_rollout_for_the_scale() {
    let world = asked_for_image().await;
    world.passes(1).await;
    world.ask(|spec| spec["replicas"] = json!(5));
    world.passes(1).await;
    assert_eq!(world.set_replicas(), 3);
    let words = world.condition("Progressing").message;
    assert!(words.contains("waiting for the rollout"), "{words}");

    let world = World::running().await;
    world.ask(|spec| spec["replicas"] = json!(5));
    world.passes(1).await;
    world.ask(|spec| spec["image"] = json!("flin-node:2"));
    world.sync_pods();
    world.nodes_join();
    world.passes(3).await;
    assert!((0..5).all(|ordinal| is_there(&world, ordinal)));
    let words = rollout(&world).message.expect("it waits");
    assert!(words.starts_with("NoScaleUnderWay"), "{words}");
    world.moves_finish();
    world.passes(4).await;
    assert!(!is_there(&world, 4), "the scale has ended");
}

#[tokio::test]
async fn image_that_cannot_be_pulled_by_new_nodes_is_mended_while_they_join() {
    let world = World::running().await;
    world.ask(|spec| spec["replicas"] = json!(4));
    world.passes(1).await;
    world.put_pod(3, pulling());
    world.ask(|spec| spec["image"] = json!("flin-node:2"));
    world.passes(1).await;
    assert!(!is_there(&world, 3), "it serves nobody, so nothing is waited for");
    assert!((0..3).all(|ordinal| is_there(&world, ordinal)));
}

#[tokio::test]
async fn image_mistyped_at_the_birth_of_a_cluster_can_be_mended() {
    let world = World::with_spec(json!({"storage": {"size": "2Gi"}, "image": "flin-node:typo"}));
    world.passes(1).await;
    for ordinal in 0..3 {
        world.put_pod(ordinal, pulling());
    }
    world.passes(2).await;
    assert_eq!(world.status().phase, Some(Phase::Forming));
    world.ask(|spec| spec["image"] = json!("flin-node:0.1.0"));
    world.passes(5).await;
    world.sync_pods();
    world.answer();
    world.passes(4).await;
    assert_eq!(world.status().phase, Some(Phase::Running));
    assert_eq!(world.verdict("Progressing"), "False Settled");
}
