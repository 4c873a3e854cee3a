use flin_crds::{BootstrapPhase, Phase};
use serde_json::{Value, json};

use crate::world::{DEMO, STATEFULSET, World, requeued};

fn put_claim(world: &World, ordinal: usize, annotations: &Value) {
    let path = format!("/api/v1/namespaces/flin/persistentvolumeclaims/data-demo-{ordinal}");
    world.api.put(&path, json!({"metadata": {"annotations": annotations}}));
}

fn of_cluster(id: &str) -> Value {
    json!({"flin.io/cluster-id": id, "flin.io/partitions": "64",
           "flin.io/replication-factor": "3"})
}

fn with_claims(ids: [&str; 3]) -> World {
    let world = World::new();
    for (ordinal, id) in ids.into_iter().enumerate() {
        put_claim(&world, ordinal, &of_cluster(id));
    }
    world
}

fn adopt(world: &World) {
    world.api.change(DEMO, |demo| demo["spec"]["adopt"] = json!(true));
}

#[tokio::test]
async fn volumes_of_an_earlier_cluster_stop_a_new_one() {
    let world = with_claims(["old", "old", "old"]);
    assert_eq!(world.pass().await.expect("nothing fails here"), requeued(5));
    world.passes(3).await;
    assert_eq!(world.api.writes(), ["PUT flinclusters/demo/status"]);
    assert_eq!(world.status().phase, Some(Phase::FoundExistingData));
    assert_eq!(world.verdict("Available"), "False FoundExistingData");
    let words = world.condition("Available").message;
    for part in ["data-demo-0", "data-demo-1", "data-demo-2", "spec.adopt=true", "delete these"] {
        assert!(words.contains(part), "{words}");
    }
    assert!(world.status().bootstrap.is_none());
}

#[tokio::test]
async fn adopted_cluster_keeps_its_identity_and_is_formed() {
    let world = with_claims(["old", "old", "old"]);
    adopt(&world);
    world.passes(1).await;
    assert_eq!(world.cluster_id(), "old");
    assert_eq!(world.status().bootstrap.map(|birth| birth.phase), Some(BootstrapPhase::Formed));
    assert_eq!(world.announced(), "Formed");
    let set = world.api.get(STATEFULSET).expect("it is made");
    let template = &set["spec"]["volumeClaimTemplates"][0]["metadata"]["annotations"];
    assert_eq!(template["flin.io/cluster-id"], "old");
}

#[tokio::test]
async fn volumes_of_different_clusters_are_not_adopted() {
    let world = with_claims(["old", "older", "old"]);
    adopt(&world);
    world.passes(1).await;
    assert_eq!(world.verdict("Available"), "False AdoptionRefused");
    assert!(world.condition("Available").message.contains("different clusters"));
    assert!(world.status().bootstrap.is_none());
}

#[tokio::test]
async fn part_of_the_volumes_is_not_adopted() {
    let world = World::new();
    put_claim(&world, 0, &of_cluster("old"));
    put_claim(&world, 2, &of_cluster("old"));
    adopt(&world);
    world.passes(1).await;
    assert_eq!(world.verdict("Available"), "False AdoptionRefused");
    assert!(world.condition("Available").message.contains("data-demo-0 to data-demo-2"));
}

#[tokio::test]
async fn volumes_of_a_cluster_with_other_partitions_are_not_adopted() {
    let world = with_claims(["old", "old", "old"]);
    world.api.change(DEMO, |demo| demo["spec"]["partitions"] = json!(8));
    adopt(&world);
    world.passes(1).await;
    assert!(world.condition("Available").message.contains("set spec.partitions=64"));
}

#[tokio::test]
async fn volumes_that_do_not_say_whose_they_are_are_not_adopted() {
    let world = World::new();
    put_claim(&world, 0, &json!({}));
    adopt(&world);
    world.passes(1).await;
    assert!(world.condition("Available").message.contains("flin.io/cluster-id"));
}

#[tokio::test]
async fn cluster_forms_once_the_volumes_in_the_way_are_deleted() {
    let world = with_claims(["old", "old", "old"]);
    world.passes(1).await;
    for ordinal in 0..3 {
        let path = format!("/api/v1/namespaces/flin/persistentvolumeclaims/data-demo-{ordinal}");
        world.api.remove(&path);
    }
    world.passes(1).await;
    assert_eq!(world.status().phase, Some(Phase::Forming));
    assert_ne!(world.cluster_id(), "old");
}

#[tokio::test]
async fn objects_that_a_namesake_left_are_waited_for() {
    let world = World::new();
    let owner = json!({"apiVersion": "flin.io/v1alpha1", "kind": "FlinCluster", "name": "demo",
                       "uid": "of-before", "controller": true});
    world.api.put(
        STATEFULSET,
        json!({"metadata": {"ownerReferences": [owner]},
                                      "spec": {"selector": {}, "template": {}}}),
    );
    world.passes(1).await;
    assert_eq!(world.verdict("Available"), "False WaitingForDeletion");
    world.api.remove(STATEFULSET);
    world.passes(1).await;
    assert_eq!(world.status().phase, Some(Phase::Forming));
}
