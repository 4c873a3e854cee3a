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
async fn scaling_is_refused_in_words_and_nothing_is_half_done() {
    let world = changed(|spec| spec["replicas"] = json!(5)).await;
    let before = world.api.get(STATEFULSET);
    world.passes(3).await;
    assert_eq!(world.api.writes(), ["PUT flinclusters/demo/status"]);
    assert_eq!(world.api.get(STATEFULSET), before);
    assert_eq!(world.verdict("Progressing"), "False ScalingNotSupported");
    let words = world.condition("Progressing").message;
    assert!(words.contains("spec.replicas is 5 and the cluster has 3 nodes"), "{words}");
    assert_eq!(world.verdict("Available"), "True AllPartitionsLed");
    assert_eq!(world.status().observed_generation, Some(2));
    assert_eq!(world.status().replicas, 3);
    assert_eq!(world.status().phase, Some(Phase::Running));
}

#[tokio::test]
async fn change_taken_back_is_forgotten() {
    let world = changed(|spec| spec["replicas"] = json!(5)).await;
    world.passes(1).await;
    world.api.change(DEMO, |demo| demo["spec"]["replicas"] = json!(3));
    world.passes(1).await;
    assert_eq!(world.verdict("Progressing"), "False Settled");
}

#[tokio::test]
async fn other_pods_and_larger_volumes_are_refused_together() {
    let world = changed(|spec| {
        spec["image"] = json!("flin-node:9.9.9");
        spec["config"] = json!({"maxConnections": 7});
        spec["storage"]["size"] = json!("4Gi");
    })
    .await;
    let before = world.api.get(STATEFULSET);
    world.passes(2).await;
    assert_eq!(world.api.get(STATEFULSET), before);
    assert_eq!(world.verdict("Progressing"), "False StorageResizeNotSupported");
    let words = world.condition("Progressing").message;
    for part in ["spec.image differs", "spec.config differs", "spec.storage.size is 4Gi"] {
        assert!(words.contains(part), "{words}");
    }
    let config = world.api.get("/api/v1/namespaces/flin/configmaps/demo-config");
    let toml = config.expect("it is there")["data"]["flin.toml"].clone();
    assert!(!toml.as_str().expect("it is text").contains("max_connections"));
}

#[tokio::test]
async fn newer_operator_leaves_pods_of_a_cluster_without_image_as_they_are() {
    let world = World::running().await;
    world.api.change(STATEFULSET, |set| {
        let annotations = &mut set["metadata"]["annotations"];
        let blueprint = annotations["flin.io/blueprint"].as_str().expect("it is text");
        annotations["flin.io/blueprint"] = json!(blueprint.replace("0.1.0", "0.0.9"));
        set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("flin-node:0.0.9");
    });
    world.passes(2).await;
    let set = world.api.get(STATEFULSET).expect("it is there");
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "flin-node:0.0.9");
    assert_eq!(world.verdict("Progressing"), "False Settled");
}

#[tokio::test]
async fn service_and_retention_may_be_changed() {
    let world = changed(|spec| {
        spec["service"] = json!({"type": "NodePort", "nodePorts": {"resp": 30380}});
        spec["storage"]["retain"] = json!("Delete");
    })
    .await;
    world.passes(2).await;
    let service = world.api.get(SERVICE).expect("it is there");
    assert_eq!(service["spec"]["type"], "NodePort");
    assert_eq!(service["spec"]["ports"][0]["nodePort"], 30380);
    let set = world.api.get(STATEFULSET).expect("it is there");
    let policy = &set["spec"]["persistentVolumeClaimRetentionPolicy"];
    assert_eq!(policy["whenDeleted"], "Delete");
    assert_eq!(policy["whenScaled"], "Retain");
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
