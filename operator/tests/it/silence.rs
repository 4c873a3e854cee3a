use serde_json::json;

use crate::world::{SERVICE, STATEFULSET, World, requeued};

#[tokio::test]
async fn settled_cluster_hears_nothing_but_radio_silence() {
    let world = World::running().await;
    for _ in 0..10 {
        assert_eq!(world.pass().await.expect("nothing fails here"), requeued(30));
    }
    assert_eq!(world.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn restarted_operator_writes_nothing_to_a_settled_cluster() {
    let mut world = World::running().await;
    world.restart_operator();
    world.passes(3).await;
    assert_eq!(world.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn forming_cluster_that_waits_is_not_written_to() {
    let world = World::new();
    world.passes(2).await;
    world.api.writes();
    world.passes(10).await;
    assert_eq!(world.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn amount_that_the_server_spells_otherwise_is_not_applied_for_ever() {
    let resources = json!({"requests": {"cpu": "1000m"}});
    let spec = json!({"storage": {"size": "2Gi"}, "resources": resources});
    let mut world = World::with_spec(spec).brought_up().await;
    world.passes(3).await;
    assert_eq!(world.api.writes(), Vec::<String>::new());
    world.restart_operator();
    world.passes(5).await;
    assert!(world.api.writes().len() <= 1, "one write to learn the spelling, no more");
}

#[tokio::test]
async fn what_others_changed_or_deleted_is_brought_back() {
    let world = World::running().await;
    world.api.change(SERVICE, |service| service["spec"]["ports"][0]["port"] = json!(1));
    world.api.remove(STATEFULSET);
    world.passes(1).await;
    let port = world.api.get(SERVICE).expect("it is there")["spec"]["ports"][0]["port"].clone();
    assert_eq!(port, 6380);
    assert!(world.api.get(STATEFULSET).is_some());
}

#[tokio::test]
async fn what_others_added_is_left_alone() {
    let world = World::running().await;
    world.api.change(SERVICE, |service| {
        service["metadata"]["labels"]["team"] = json!("storage");
        service["spec"]["clusterIP"] = json!("10.0.0.9");
    });
    world.passes(2).await;
    assert_eq!(world.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn cluster_that_is_being_deleted_is_left_alone() {
    let world = World::running().await;
    world.api.change(crate::world::DEMO, |demo| {
        demo["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    world.api.remove(STATEFULSET);
    world.passes(1).await;
    assert_eq!(world.api.writes(), Vec::<String>::new());
}
