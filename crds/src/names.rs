//! What everything made for a FlinCluster is called. The operator makes by these names and tests look
//! by them.

use std::collections::BTreeMap;

/// The port of the Redis protocol, for any client.
pub const PORT_RESP: i32 = 6380;
/// The gRPC port, for clients and administration.
pub const PORT_GRPC: i32 = 6381;
/// The HTTP port: health and metrics.
pub const PORT_HTTP: i32 = 6382;
/// The port between nodes.
pub const PORT_PEER: i32 = 6383;
/// The port of the Redis protocol for clients that route themselves.
pub const PORT_CLUSTER: i32 = 6384;

/// The label that carries the name of the FlinCluster; part of every selector.
pub const LABEL_CLUSTER: &str = "flin.io/cluster";
/// The label that says who manages an object.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The operator, as managers are named in labels and in server-side apply.
pub const OPERATOR: &str = "flin-operator";

/// The annotation of a volume claim: the identity of the cluster whose data it holds.
pub const ANNOTATION_CLUSTER_ID: &str = "flin.io/cluster-id";
/// The annotation of a volume claim: the number of partitions of that cluster.
pub const ANNOTATION_PARTITIONS: &str = "flin.io/partitions";
/// The annotation of a volume claim: the replication factor that cluster began with.
pub const ANNOTATION_REPLICATION_FACTOR: &str = "flin.io/replication-factor";

/// The annotation of a pod: the revision of what it was made from, a hash of image, resources, settings and
/// scheduling. That of the StatefulSet's template is the wanted one.
pub const ANNOTATION_REVISION: &str = "flin.io/revision";

/// The key of the clients' password in the Secret.
pub const SECRET_CLIENT_PASSWORD: &str = "client-password";
/// The key of the nodes' own secret in the Secret.
pub const SECRET_PEER_SECRET: &str = "peer-secret";

/// The StatefulSet, client Service, PodDisruptionBudget and ServiceAccount of a cluster bear its name.
#[must_use]
pub fn statefulset(cluster: &str) -> String {
    cluster.to_owned()
}

/// The pod of an ordinal.
#[must_use]
pub fn pod(cluster: &str, ordinal: u32) -> String {
    format!("{cluster}-{ordinal}")
}

/// The headless Service that gives each pod a name in DNS.
#[must_use]
pub fn headless_service(cluster: &str) -> String {
    format!("{cluster}-nodes")
}

/// The Secret with the generated passwords.
#[must_use]
pub fn secret(cluster: &str) -> String {
    format!("{cluster}-auth")
}

/// The ConfigMap with the bootstrap record.
#[must_use]
pub fn bootstrap_config_map(cluster: &str) -> String {
    format!("{cluster}-bootstrap")
}

/// The ConfigMap with the nodes' settings.
#[must_use]
pub fn config_map(cluster: &str) -> String {
    format!("{cluster}-config")
}

/// The volume claim of an ordinal.
#[must_use]
pub fn volume_claim(cluster: &str, ordinal: u32) -> String {
    format!("data-{cluster}-{ordinal}")
}

/// The ordinal of a pod of this cluster; `None` for any other name.
#[must_use]
pub fn pod_ordinal(cluster: &str, pod: &str) -> Option<u32> {
    ordinal(pod.strip_prefix(cluster)?)
}

/// The ordinal of a volume claim of this cluster; `None` for any other claim.
#[must_use]
pub fn volume_claim_ordinal(cluster: &str, claim: &str) -> Option<u32> {
    ordinal(claim.strip_prefix("data-")?.strip_prefix(cluster)?)
}

/// The ordinal in `-7`, as Kubernetes writes it.
fn ordinal(suffix: &str) -> Option<u32> {
    let ordinal = suffix.strip_prefix('-')?;
    let canonical = ordinal == "0" || !ordinal.starts_with(['0', '+']);
    ordinal.parse().ok().filter(|_| canonical)
}

/// The name of a pod in DNS, where nodes reach each other.
#[must_use]
pub fn pod_host(cluster: &str, namespace: &str, ordinal: u32, cluster_domain: &str) -> String {
    host(&pod(cluster, ordinal), cluster, namespace, cluster_domain)
}

/// The name in DNS of the pod of this name.
#[must_use]
pub fn host(pod: &str, cluster: &str, namespace: &str, cluster_domain: &str) -> String {
    format!("{pod}.{}.{namespace}.svc.{cluster_domain}", headless_service(cluster))
}

/// The labels that select a cluster's pods; never changed, because selectors cannot be.
#[must_use]
pub fn selector(cluster: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "flin"),
        ("app.kubernetes.io/instance", cluster),
        ("app.kubernetes.io/component", "node"),
        (LABEL_CLUSTER, cluster),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The selector in the form that the scale subresource wants: `key=value,...`.
#[must_use]
pub fn selector_string(cluster: &str) -> String {
    let pairs: Vec<_> = selector(cluster).iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join(",")
}

/// The labels of every object made for a cluster.
#[must_use]
pub fn labels(cluster: &str) -> BTreeMap<String, String> {
    let mut labels = selector(cluster);
    labels.insert(LABEL_MANAGED_BY.to_owned(), OPERATOR.to_owned());
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_of_other_clusters_have_no_ordinal() {
        assert_eq!(volume_claim_ordinal("demo", "data-demo-0"), Some(0));
        assert_eq!(volume_claim_ordinal("demo", "data-demo-12"), Some(12));
        for other in ["data-demo-2-0", "data-dem-0", "data-demo-", "data-demo-01", "data-demo-+1"] {
            assert_eq!(volume_claim_ordinal("demo", other), None, "{other}");
        }
    }

    #[test]
    fn names_of_the_longest_cluster_fit_into_labels() {
        let longest = "a".repeat(40);
        // A StatefulSet labels its pods with its revision: its name, '-' and up to ten characters.
        assert!(statefulset(&longest).len() + 11 <= 63);
        assert!(pod(&longest, 99).len() <= 63);
        assert!(headless_service(&longest).len() <= 63);
    }
}
