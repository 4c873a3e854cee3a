use flin_crds::{FlinCluster, ServiceType};
use serde_json::{Value, json};

/// A FlinCluster as the API server would store it, from a spec as a person writes it.
fn cluster_named(name: &str, spec: Value) -> FlinCluster {
    let json = json!({
        "apiVersion": "flin.io/v1alpha1", "kind": "FlinCluster",
        "metadata": {"name": name, "namespace": "flin"}, "spec": spec,
    });
    serde_json::from_value(json).expect("the spec fits the types")
}

fn cluster(spec: Value) -> FlinCluster {
    cluster_named("demo", spec)
}

fn smallest() -> FlinCluster {
    cluster(json!({"storage": {"size": "2Gi"}}))
}

/// The refusal of a new cluster, or of a change when there is an old one.
fn refusal(new: &FlinCluster, old: Option<&FlinCluster>) -> Option<String> {
    match old {
        None => new.validate_cel(),
        Some(old) => new.validate_cel_update(old),
    }
    .err()
    .map(|errors| errors.to_string())
}

fn changed(change: impl FnOnce(&mut FlinCluster)) -> Option<String> {
    let (old, mut new) = (smallest(), smallest());
    change(&mut new);
    refusal(&new, Some(&old))
}

#[test]
fn smallest_spec_is_taken_with_its_defaults() {
    let cluster = smallest();
    assert_eq!(refusal(&cluster, None), None);
    let spec = &cluster.spec;
    assert_eq!((spec.replicas, spec.replication_factor, spec.partitions), (3, 3, 64));
    assert_eq!(spec.service.type_, ServiceType::ClusterIP);
    assert!(!spec.adopt);
}

#[test]
fn wish_for_no_limits_at_all_is_kept_when_the_spec_is_written_again() {
    let wished = cluster(json!({
        "storage": {"size": "2Gi"}, "resources": {"requests": {}, "limits": {}},
    }));
    assert!(wished.spec.resources.requests.is_empty() && wished.spec.resources.limits.is_empty());
    let written = serde_json::to_value(&wished).expect("a FlinCluster is JSON");
    let again: FlinCluster = serde_json::from_value(written).expect("it was just written");
    assert_eq!(again.spec, wished.spec);
}

#[test]
fn fewer_nodes_than_replicas_of_a_partition_are_refused() {
    let words = refusal(&cluster(json!({"replicas": 2, "storage": {"size": "2Gi"}})), None);
    assert!(words.expect("refused").contains("replicas must be at least replicationFactor"));
}

#[test]
fn name_that_derived_names_have_no_room_for_is_refused() {
    let spec = json!({"storage": {"size": "2Gi"}});
    assert_eq!(refusal(&cluster_named(&"a".repeat(40), spec.clone()), None), None);
    let words = refusal(&cluster_named(&"a".repeat(41), spec), None);
    assert!(words.expect("refused").contains("at most 40 characters"));
}

#[test]
fn name_that_no_service_can_have_is_refused() {
    for name in ["1demo", "de.mo", "demo-"] {
        let words = refusal(&cluster_named(name, json!({"storage": {"size": "2Gi"}})), None);
        assert!(words.expect("refused").contains("must begin with a letter"), "{name}");
    }
}

#[test]
fn partitions_are_fixed_and_their_replicas_are_not() {
    let words = changed(|new| new.spec.partitions = 128).expect("refused");
    assert!(words.contains("partitions is fixed"), "{words}");
    assert_eq!(changed(|new| new.spec.replication_factor = 1), None);
    let words = changed(|new| new.spec.replication_factor = 5).expect("refused");
    assert!(words.contains("replicas must be at least replicationFactor"), "{words}");
}

#[test]
fn storage_class_can_neither_change_nor_come_nor_go() {
    let class = |name: Option<&str>| {
        let mut cluster = smallest();
        cluster.spec.storage.storage_class_name = name.map(str::to_owned);
        cluster
    };
    let steps = [(Some("fast"), Some("slow")), (None, Some("fast")), (Some("fast"), None)];
    for (old, new) in steps {
        let words = refusal(&class(new), Some(&class(old))).expect("refused");
        assert!(words.contains("storageClassName is fixed"), "{words}");
    }
    assert_eq!(refusal(&class(Some("fast")), Some(&class(Some("fast")))), None);
}

#[test]
fn storage_never_shrinks_whatever_the_unit() {
    let words = changed(|new| new.spec.storage.size = "2000Mi".into()).expect("refused");
    assert!(words.contains("never shrinks"), "{words}");
    assert_eq!(changed(|new| new.spec.storage.size = "2048Mi".into()), None);
    assert_eq!(changed(|new| new.spec.storage.size = "3Gi".into()), None);
}

#[test]
fn storage_below_a_gibibyte_is_refused() {
    let words = refusal(&cluster(json!({"storage": {"size": "500Mi"}})), None);
    assert!(words.expect("refused").contains("at least 1Gi"));
}

#[test]
fn node_ports_need_a_service_that_has_them() {
    let with = |kind: &str| {
        let service = json!({"type": kind, "nodePorts": {"resp": 30380}});
        refusal(&cluster(json!({"storage": {"size": "2Gi"}, "service": service})), None)
    };
    assert!(with("ClusterIP").expect("refused").contains("service.nodePorts needs"));
    assert_eq!(with("NodePort"), None);
    assert_eq!(with("LoadBalancer"), None);
}

#[test]
fn source_of_passwords_is_fixed() {
    let with = |auth: Value| cluster(json!({"storage": {"size": "2Gi"}, "auth": auth}));
    let (own, other) = (with(json!({"secretName": "a"})), with(json!({"secretName": "b"})));
    let words = refusal(&other, Some(&own)).expect("refused");
    assert!(words.contains("auth.secretName is fixed"), "{words}");
    let words = refusal(&own, Some(&smallest())).expect("refused");
    assert!(words.contains("auth cannot be added or removed"), "{words}");
}

#[test]
fn replicas_and_what_pods_are_made_from_may_change() {
    assert_eq!(changed(|new| new.spec.replicas = 5), None);
    assert_eq!(changed(|new| new.spec.image = Some("flin-node:2".to_owned())), None);
    assert_eq!(changed(|new| new.spec.config.max_connections = Some(7)), None);
    let words = changed(|new| new.spec.replicas = 2).expect("refused");
    assert!(words.contains("replicas must be at least replicationFactor"), "{words}");
}

#[test]
fn pace_of_moves_is_bounded_below() {
    let with = |pace: &str| {
        let rebalance = json!({"bytesPerSecond": pace});
        refusal(&cluster(json!({"storage": {"size": "2Gi"}, "rebalance": rebalance})), None)
    };
    assert!(with("63Ki").expect("refused").contains("at least 64Ki"));
    assert_eq!(with("65536"), None);
    assert_eq!(with("1.5Mi"), None);
}

#[test]
fn spec_without_a_word_on_moves_gets_the_defaults() {
    let rebalance = smallest().spec.rebalance;
    assert!(!rebalance.paused);
    assert_eq!((rebalance.max_moves, rebalance.replace_after_seconds), (4, 600));
    assert_eq!(rebalance.bytes_per_second, None);
}
