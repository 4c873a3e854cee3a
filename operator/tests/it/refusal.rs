use flin_crds::Phase;
use serde_json::json;

use crate::world::{DEMO, SERVICE, STATEFULSET, World};

async fn changed(change: impl FnOnce(&mut serde_json::Value)) -> World {
    let world = World::running().await;
    world.api.change(DEMO, |demo| {
        change(&mut demo["spec"]);
        demo["metadata"]["generation"] = json!(2);
    });
    world
}

#[tokio::test]
async fn larger_volumes_are_refused_and_nothing_is_half_done() {
    let world = changed(|spec| spec["storage"]["size"] = json!("4Gi")).await;
    let before = world.api.get(STATEFULSET);
    world.passes(3).await;
    assert_eq!(world.api.writes(), ["PUT flinclusters/demo/status"]);
    assert_eq!(world.api.get(STATEFULSET), before);
    assert_eq!(world.verdict("Progressing"), "False StorageResizeNotSupported");
    let words = world.condition("Progressing").message;
    assert!(words.contains("spec.storage.size is 4Gi and the volumes have 2Gi"), "{words}");
    assert_eq!(world.verdict("Available"), "True AllPartitionsLed");
    assert_eq!(world.status().observed_generation, Some(2));
    assert_eq!(world.status().phase, Some(Phase::Running));
}

#[tokio::test]
async fn size_that_is_only_spelled_otherwise_is_no_change() {
    let world = changed(|spec| spec["storage"]["size"] = json!("2048Mi")).await;
    world.passes(2).await;
    assert_eq!(world.verdict("Progressing"), "False Settled");
}

#[tokio::test]
async fn change_taken_back_is_forgotten() {
    let world = changed(|spec| spec["storage"]["size"] = json!("4Gi")).await;
    world.passes(1).await;
    world.api.change(DEMO, |demo| demo["spec"]["storage"]["size"] = json!("2Gi"));
    world.passes(1).await;
    assert_eq!(world.verdict("Progressing"), "False Settled");
}

#[tokio::test]
async fn newer_operator_leaves_pods_of_a_cluster_without_image_as_they_are() {
    let mut world = World::running().await;
    world.node_image = "flin-node:0.2.0".to_owned();
    world.restart_operator();
    world.passes(3).await;
    assert_eq!(world.api.writes(), Vec::<String>::new());
    let set = world.api.get(STATEFULSET).expect("it is there");
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "flin-node:0.1.0");
    assert_eq!(world.verdict("Progressing"), "False Settled");
}

#[tokio::test]
async fn service_and_retention_may_be_changed() {
    let world = changed(|spec| {
        spec["service"] = json!({"type": "NodePort", "nodePorts": {"resp": 30380}});
        spec["storage"]["retain"] = json!("Delete");
        spec["storage"]["onScaleDown"] = json!("Delete");
    })
    .await;
    world.passes(2).await;
    let service = world.api.get(SERVICE).expect("it is there");
    assert_eq!(service["spec"]["type"], "NodePort");
    assert_eq!(service["spec"]["ports"][0]["nodePort"], 30380);
    let set = world.api.get(STATEFULSET).expect("it is there");
    let policy = &set["spec"]["persistentVolumeClaimRetentionPolicy"];
    assert_eq!(policy["whenDeleted"], "Delete");
    assert_eq!(policy["whenScaled"], "Delete");
    assert_eq!(world.verdict("Progressing"), "False Settled");
}

#[tokio::test]
async fn spec_that_breaks_a_rule_the_server_did_not_hold_is_refused() {
    let world = changed(|spec| spec["replicationFactor"] = json!(4)).await;
    world.passes(2).await;
    assert_eq!(world.api.writes(), ["PUT flinclusters/demo/status"]);
    assert_eq!(world.verdict("Progressing"), "False InvalidSpec");
    assert_eq!(world.verdict("Available"), "True AllPartitionsLed");
}

#[tokio::test]
async fn object_of_somebody_else_is_not_taken() {
    let world = World::new();
    world.api.put(SERVICE, json!({"spec": {"ports": []}}));
    let before = world.api.get(SERVICE);
    world.passes(2).await;
    assert_eq!(world.api.get(SERVICE), before);
    assert_eq!(world.verdict("Available"), "False ObjectNotOurs");
    assert!(world.condition("Available").message.starts_with("Service demo exists"));
    assert!(world.status().bootstrap.is_none());
}

#[tokio::test]
async fn running_cluster_one_of_whose_objects_was_taken_over_says_so_and_runs_on() {
    let world = World::running().await;
    world.api.change(SERVICE, |service| service["metadata"]["ownerReferences"] = json!([]));
    world.passes(2).await;
    assert_eq!(world.verdict("Progressing"), "False ObjectNotOurs");
    assert_eq!(world.verdict("Available"), "True AllPartitionsLed");
    assert_eq!(world.status().phase, Some(Phase::Running));
}
