use serde_json::json;

use crate::world::{BOOTSTRAP, BUDGET, SERVICE, STATEFULSET, World};

/// Everything that is made for the cluster of `examples/flincluster.yaml`, as it is sent.
#[tokio::test]
async fn objects_of_the_example_are_these() {
    let example = include_str!("../../../examples/flincluster.yaml");
    let cluster = example.split("\n---\n").last().expect("it has two documents");
    let cluster: serde_json::Value = serde_yaml::from_str(cluster).expect("it is YAML");
    let world = World::with_spec(cluster["spec"].clone());
    world.passes(1).await;
    // The identity of a cluster is random: it is given one for the pictures.
    let id = world.cluster_id();
    let objects = [
        ("statefulset", STATEFULSET),
        ("client-service", SERVICE),
        ("headless-service", "/api/v1/namespaces/flin/services/demo-nodes"),
        ("bootstrap-config", BOOTSTRAP),
        ("config", "/api/v1/namespaces/flin/configmaps/demo-config"),
        ("disruption-budget", BUDGET),
        ("service-account", "/api/v1/namespaces/flin/serviceaccounts/demo"),
    ];
    for (name, path) in objects {
        let mut object = world.api.get(path).expect("it is made");
        object["metadata"]["annotations"]["flin.io/applied"] = json!("(hash)");
        for key in ["uid", "resourceVersion"] {
            object["metadata"].as_object_mut().expect("it is an object").remove(key);
        }
        object["metadata"]["ownerReferences"][0]["uid"] = json!("(uid)");
        let text = serde_yaml::to_string(&object).expect("it is YAML");
        insta::assert_snapshot!(name, text.replace(&id, "(cluster id)"));
    }
}
