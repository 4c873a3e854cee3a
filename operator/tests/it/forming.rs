use flin_crds::{BootstrapPhase, Phase};
use serde_json::json;

use crate::world::{BOOTSTRAP, BUDGET, SECRET, STATEFULSET, World, requeued};

#[tokio::test]
async fn birth_is_recorded_before_anything_is_made() {
    let world = World::new();
    world.pass().await.expect("nothing fails here");
    let writes = world.api.writes();
    assert_eq!(
        writes,
        [
            "PUT flinclusters/demo/status",
            "POST secrets",
            "PATCH serviceaccounts/demo",
            "PATCH configmaps/demo-bootstrap",
            "PATCH configmaps/demo-config",
            "PATCH services/demo-nodes",
            "PATCH services/demo",
            "PATCH poddisruptionbudgets/demo",
            "PATCH statefulsets/demo",
            "PUT flinclusters/demo/status",
        ]
    );
    let bootstrap = world.status().bootstrap.expect("it is recorded");
    assert_eq!(bootstrap.phase, BootstrapPhase::Forming);
    let names: Vec<_> =
        bootstrap.members.iter().map(|member| (&*member.name, member.node_id)).collect();
    assert_eq!(names, [("demo-0", 1), ("demo-1", 2), ("demo-2", 3)]);
}

#[tokio::test]
async fn forming_cluster_is_looked_at_every_second() {
    let world = World::new();
    assert_eq!(world.pass().await.expect("nothing fails here"), requeued(1));
    assert_eq!(world.pass().await.expect("nothing fails here"), requeued(1));
    assert_eq!(world.status().phase, Some(Phase::Forming));
    assert_eq!(world.verdict("Available"), "False Forming");
    assert_eq!(world.verdict("Progressing"), "True Forming");
}

#[tokio::test]
async fn formed_is_recorded_then_confirmed_then_announced() {
    let world = World::new();
    world.passes(1).await;
    world.start_pods();
    world.answer();
    world.api.writes();
    world.pass().await.expect("nothing fails here");
    assert_eq!(*world.nodes.confirmed.lock().expect("not poisoned"), [world.cluster_id()]);
    assert_eq!(world.announced(), "Formed");
    let writes = world.api.writes();
    assert_eq!(writes[..2], ["PUT flinclusters/demo/status", "PATCH configmaps/demo-bootstrap"]);
    assert_eq!(world.status().phase, Some(Phase::Running));
    assert_eq!(world.status().ready.as_deref(), Some("3/3"));
    assert_eq!(world.status().version.as_deref(), Some("0.1.0"));
    assert_eq!(world.verdict("Available"), "True AllPartitionsLed");
    assert_eq!(world.verdict("Progressing"), "False Settled");
    assert_eq!(world.verdict("Degraded"), "False AllNodesHealthy");
}

#[tokio::test]
async fn cluster_is_not_formed_before_its_last_member_takes_part() {
    let world = World::new();
    world.passes(1).await;
    world.start_pods();
    world.answer();
    world.nodes_say(|report| report.members[2].alive = false);
    world.passes(2).await;
    assert_eq!(world.status().bootstrap.map(|birth| birth.phase), Some(BootstrapPhase::Forming));
    assert_eq!(
        world.condition("Available").message,
        "2 of 3 nodes take part, 64 of 64 partitions are led"
    );
    world.nodes_say(|report| report.members[2].alive = true);
    world.passes(2).await;
    assert_eq!(world.status().bootstrap.map(|birth| birth.phase), Some(BootstrapPhase::Formed));
}

#[tokio::test]
async fn answer_of_another_cluster_is_not_believed() {
    let world = World::new();
    world.passes(1).await;
    world.start_pods();
    world.answer();
    world.nodes_say(|report| report.cluster_id = "another".to_owned());
    world.passes(2).await;
    assert_eq!(world.status().bootstrap.map(|birth| birth.phase), Some(BootstrapPhase::Forming));
    assert!(world.nodes.confirmed.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn change_of_the_bootstrap_record_does_not_touch_the_pods() {
    let world = World::new();
    world.passes(1).await;
    let before = world.api.get(STATEFULSET);
    let world = world.brought_up().await;
    assert_eq!(world.announced(), "Formed");
    assert_eq!(world.api.get(STATEFULSET), before);
}

#[tokio::test]
async fn passwords_are_generated_once() {
    let world = World::running().await;
    let secret = world.api.get(SECRET).expect("it is there");
    for key in ["client-password", "peer-secret"] {
        assert!(secret["data"][key].as_str().is_some_and(|base64| base64.len() > 60), "{key}");
    }
    assert_ne!(secret["data"]["client-password"], secret["data"]["peer-secret"]);
    world.passes(3).await;
    assert_eq!(world.api.get(SECRET), Some(secret));
}

#[tokio::test]
async fn lost_secret_is_reported_and_never_made_anew() {
    let world = World::running().await;
    world.api.remove(SECRET);
    world.passes(2).await;
    assert_eq!(world.api.get(SECRET), None);
    assert_eq!(world.verdict("Degraded"), "True SecretMissing");
    assert!(world.condition("Degraded").message.contains("demo-auth is gone"));
}

#[tokio::test]
async fn given_secret_is_waited_for_and_then_used() {
    let spec = json!({"storage": {"size": "2Gi"}, "auth": {"secretName": "mine"}});
    let world = World::with_spec(spec);
    world.passes(2).await;
    assert_eq!(world.verdict("Available"), "False SecretMissing");
    assert_eq!(world.status().phase, Some(Phase::Pending));
    assert_eq!(world.api.get(STATEFULSET), None);
    let mine = "/api/v1/namespaces/flin/secrets/mine";
    world.api.put(mine, json!({"data": {"client-password": "YQ=="}}));
    world.passes(1).await;
    assert_eq!(world.verdict("Available"), "False SecretIncomplete");
    world.api.put(mine, json!({"data": {"client-password": "YQ==", "peer-secret": "YQ=="}}));
    world.passes(1).await;
    let set = world.api.get(STATEFULSET).expect("it is made");
    let secrets = &set["spec"]["template"]["spec"]["volumes"][2]["secret"]["secretName"];
    assert_eq!(secrets, "mine");
    assert_eq!(world.api.get(SECRET), None);
}

#[tokio::test]
async fn confirmation_that_got_lost_is_repeated() {
    let world = World::running().await;
    world.nodes_say(|report| report.formed = false);
    world.passes(1).await;
    assert_eq!(world.nodes.confirmed.lock().expect("not poisoned").len(), 2);
}

#[tokio::test]
async fn record_that_was_deleted_announces_formed_again() {
    let world = World::running().await;
    world.api.remove(BOOTSTRAP);
    *world.nodes.report.lock().expect("not poisoned") = None;
    world.passes(1).await;
    assert_eq!(world.announced(), "Formed");
}

#[tokio::test]
async fn nodes_that_refuse_to_be_told_are_told_again_and_nothing_else_waits() {
    let world = World::new();
    world.passes(1).await;
    world.start_pods();
    world.answer();
    *world.nodes.refuse_confirmation.lock().expect("not poisoned") = true;
    world.api.remove(BUDGET);
    assert_eq!(world.pass().await.expect("nothing fails here"), requeued(1));
    assert!(world.api.get(BUDGET).is_some());
    assert_eq!(world.status().bootstrap.map(|birth| birth.phase), Some(BootstrapPhase::Formed));
    assert_eq!(world.status().phase, Some(Phase::Forming));
    assert_eq!(world.announced(), "Forming");
    *world.nodes.refuse_confirmation.lock().expect("not poisoned") = false;
    world.passes(1).await;
    assert_eq!(world.nodes.confirmed.lock().expect("not poisoned").len(), 1);
    assert_eq!(world.announced(), "Formed");
    assert_eq!(world.status().phase, Some(Phase::Running));
}

#[tokio::test]
async fn formed_cluster_whose_nodes_are_not_ready_yet_is_still_forming() {
    let world = World::new();
    world.passes(1).await;
    for ordinal in 0..3 {
        world.put_pod(ordinal, json!({"ready": false}));
    }
    world.answer();
    assert_eq!(world.pass().await.expect("nothing fails here"), requeued(1));
    assert_eq!(world.announced(), "Formed");
    assert_eq!(world.verdict("Available"), "False Forming");
    assert_eq!(world.status().phase, Some(Phase::Forming));
    world.start_pods();
    world.passes(1).await;
    assert_eq!(world.status().phase, Some(Phase::Running));
}
