//! The demo cluster as `kubectl` shows it, and a minute in which nothing is written.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use crate::harness::{
    DEMO, DEMO_NAMESPACE, FlinCluster, Kubernetes, OPERATOR_NAMESPACE, Seen, Space,
    await_condition, condition,
};

/// Kubernetes follows a new pod with writes of its own (EndpointSlices lag behind readiness): rest begins
/// once nothing was written for this long.
const SETTLED: Duration = Duration::from_secs(6);
/// How long that may take to come about.
const SETTLING: Duration = Duration::from_secs(90);
/// How long nothing may be written.
const REST: Duration = Duration::from_secs(60);
/// The columns that `kubectl get flin` must have.
const COLUMNS: [&str; 6] = ["Ready", "Replicas", "Partitions", "Phase", "Version", "Age"];
/// The collections in which nothing may change, by their path after the namespace.
const COLLECTIONS: [&str; 11] = [
    "apis/flin.io/v1alpha1/{ns}/flinclusters",
    "apis/apps/v1/{ns}/statefulsets",
    "apis/apps/v1/{ns}/deployments",
    "apis/policy/v1/{ns}/poddisruptionbudgets",
    "apis/discovery.k8s.io/v1/{ns}/endpointslices",
    "api/v1/{ns}/pods",
    "api/v1/{ns}/services",
    "api/v1/{ns}/configmaps",
    "api/v1/{ns}/secrets",
    "api/v1/{ns}/serviceaccounts",
    "api/v1/{ns}/persistentvolumeclaims",
];

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    let space = Space { kubernetes: kubernetes.clone(), name: DEMO_NAMESPACE.to_owned() };
    let demo = FlinCluster::named(&space, DEMO);
    let status = demo.await_available().await?;
    let before = Versions::settled(kubernetes).await?;
    let rest_begins = Instant::now();
    let lease = lease(kubernetes).await?;
    conditions(&status)?;
    table(kubernetes).await.context("kubectl get flin")?;
    scale_subresource(&demo, kubernetes).await.context("the scale subresource")?;
    objects(&demo).await?;
    pods(&demo).await?;
    sleep_until(rest_begins + REST).await;
    let after = Versions::read(kubernetes).await?;
    let changed = before.differences(&after);
    ensure!(changed.is_empty(), "written in {} s of rest: {}", REST.as_secs(), changed.join(", "));
    let renewed = self::lease(kubernetes).await?;
    ensure!(lease != renewed, "the operator's lease was not renewed: nobody leads");
    Ok(format!("{} objects unchanged for {} s", before.0.len(), REST.as_secs()))
}

fn conditions(object: &Value) -> Result<()> {
    for (kind, status) in [("Available", "True"), ("Progressing", "False"), ("Degraded", "False")] {
        let condition = condition(object, kind);
        ensure!(condition["status"] == status, "{kind} is {condition}, not {status}");
        for field in ["reason", "message", "lastTransitionTime"] {
            let text = condition[field].as_str().unwrap_or_default();
            ensure!(!text.is_empty(), "{kind} has no {field}: {condition}");
        }
        let (seen, current) =
            (&condition["observedGeneration"], &object["status"]["observedGeneration"]);
        ensure!(
            seen.is_null() || seen == current,
            "{kind} speaks of generation {seen}, not {current}"
        );
    }
    let partitions = &object["status"]["partitions"];
    ensure!(partitions["total"] == object["spec"]["partitions"], "partitions: {partitions}");
    ensure!(partitions["underReplicated"] == 0, "partitions: {partitions}");
    ensure!(partitions["leaderless"] == 0, "partitions: {partitions}");
    let members = object["status"]["members"].as_array().context("status.members")?;
    let leaders: Vec<i64> = members.iter().filter_map(|m| m["leaders"].as_i64()).collect();
    ensure!(leaders.len() == 3, "members: {members:?}");
    let spread = leaders.iter().max().zip(leaders.iter().min()).map(|(most, least)| most - least);
    ensure!(spread <= Some(1), "leaders are not balanced: {leaders:?}");
    Ok(())
}

/// What `kubectl get flin -n flin` prints, from the same request.
async fn table(kubernetes: &Kubernetes) -> Result<()> {
    let path = format!("/apis/flin.io/v1alpha1/namespaces/{DEMO_NAMESPACE}/flinclusters");
    let table = kubernetes.get(&path, "application/json;as=Table;v=v1;g=meta.k8s.io").await?;
    let definitions = table["columnDefinitions"].as_array().context("columnDefinitions")?;
    let names: Vec<_> = definitions.iter().filter_map(|column| column["name"].as_str()).collect();
    let cells = table["rows"][0]["cells"].as_array().context("a row")?;
    let row: BTreeMap<_, _> = names.iter().copied().zip(cells).collect();
    for column in COLUMNS {
        let cell = row.get(column).with_context(|| format!("no column {column} in {names:?}"))?;
        ensure!(!cell.is_null() && *cell != "", "the column {column} is empty");
    }
    for (column, expected) in [("Ready", "3/3"), ("Phase", "Running")] {
        ensure!(row[column] == expected, "{column} shows {}, not {expected}", row[column]);
    }
    let resources = kubernetes.get("/apis/flin.io/v1alpha1", "application/json").await?;
    let resources = resources["resources"].as_array().context("resources")?;
    let short = resources.iter().any(|r| r["shortNames"].to_string().contains("\"flin\""));
    ensure!(short, "no resource has the short name flin: {resources:?}");
    Ok(())
}

async fn scale_subresource(demo: &FlinCluster, kubernetes: &Kubernetes) -> Result<()> {
    let path =
        format!("/apis/flin.io/v1alpha1/namespaces/{DEMO_NAMESPACE}/flinclusters/{DEMO}/scale");
    let scale = kubernetes.get(&path, "application/json").await?;
    ensure!(scale["spec"]["replicas"] == 3 && scale["status"]["replicas"] == 3, "it says {scale}");
    let selector = scale["status"]["selector"].as_str().unwrap_or_default();
    ensure!(!selector.is_empty(), "an autoscaler finds no selector in {scale}");
    let selected = kube::api::ListParams::default().labels(selector);
    let selected = demo.space.api::<k8s_openapi::api::core::v1::Pod>().list(&selected).await?;
    let count = selected.items.len();
    ensure!(count == 3, "the selector {selector} finds {count} pods, not 3");
    Ok(())
}

async fn objects(demo: &FlinCluster) -> Result<()> {
    let set = demo.space.api::<StatefulSet>().get(DEMO).await?;
    let owner = set.metadata.owner_references.as_deref().unwrap_or_default().first();
    let owner = owner.context("the StatefulSet has no owner")?;
    ensure!(owner.kind == "FlinCluster" && owner.name == DEMO, "its owner is {owner:?}");
    let spec = set.spec;
    ensure!(spec.pod_management_policy.as_deref() == Some("Parallel"), "it is not Parallel");
    let headless = demo.space.api::<Service>().get(&format!("{DEMO}-nodes")).await?;
    let headless = headless.spec.context("a Service has a spec")?;
    ensure!(headless.cluster_ip.as_deref() == Some("None"), "{DEMO}-nodes is not headless");
    let early = headless.publish_not_ready_addresses;
    ensure!(early == Some(true), "{DEMO}-nodes hides nodes that are not ready");
    demo.space.api::<PodDisruptionBudget>().get(DEMO).await.context("its PodDisruptionBudget")?;
    for ordinal in 0..3 {
        let name = format!("data-{DEMO}-{ordinal}");
        let claim = demo.space.api::<PersistentVolumeClaim>().get(&name).await?;
        let phase = claim.status.and_then(|status| status.phase).unwrap_or_default();
        ensure!(phase == "Bound", "{name} is {phase}");
    }
    Ok(())
}

async fn pods(demo: &FlinCluster) -> Result<()> {
    let mut machines = Vec::new();
    for pod in demo.pods().await? {
        let name = pod.metadata.name.unwrap_or_default();
        let spec = pod.spec.context("a pod has a spec")?;
        machines.extend(spec.node_name);
        let context = spec.security_context.unwrap_or_default();
        ensure!(context.run_as_non_root == Some(true), "{name} may run as root");
        for container in spec.containers {
            let context = container.security_context.unwrap_or_default();
            let closed = context.read_only_root_filesystem == Some(true)
                && context.allow_privilege_escalation == Some(false);
            ensure!(closed, "{name} is not restricted: {context:?}");
        }
    }
    machines.sort();
    machines.dedup();
    ensure!(machines.len() == 3, "three nodes share the machines {machines:?}");
    Ok(())
}

/// The operator's lease: its holder and when it was last renewed.
async fn lease(kubernetes: &Kubernetes) -> Result<Value> {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/leases");
    let leases = kubernetes.get(&path, "application/json").await?;
    let lease = &leases["items"][0]["spec"];
    let holder = lease["holderIdentity"].as_str().unwrap_or_default();
    ensure!(!holder.is_empty(), "no operator holds the lease: {leases}");
    Ok(lease.clone())
}

/// The version of every object and who wrote it last, by kind and name.
struct Versions(BTreeMap<String, (String, String)>);

impl Versions {
    /// The versions after [`SETTLED`] without a write.
    async fn settled(kubernetes: &Kubernetes) -> Result<Self> {
        await_condition("nothing is written any more", SETTLING, async || {
            let before = Self::read(kubernetes).await?;
            sleep(SETTLED).await;
            let after = Self::read(kubernetes).await?;
            let changed = before.differences(&after);
            Ok(if changed.is_empty() {
                Seen::Yes(after)
            } else {
                Seen::NotYet(format!("written: {}", changed.join(", ")))
            })
        })
        .await
    }

    async fn read(kubernetes: &Kubernetes) -> Result<Self> {
        let mut versions = BTreeMap::new();
        for namespace in [DEMO_NAMESPACE, OPERATOR_NAMESPACE] {
            for collection in COLLECTIONS {
                let path = collection.replace("{ns}", &format!("namespaces/{namespace}"));
                let list = kubernetes.get(&format!("/{path}"), "application/json").await?;
                for item in list["items"].as_array().into_iter().flatten() {
                    let metadata = &item["metadata"];
                    let kind = collection.rsplit('/').next().unwrap_or(collection);
                    let name = metadata["name"].as_str().unwrap_or_default();
                    let version = metadata["resourceVersion"].as_str().unwrap_or_default();
                    let seen = (version.to_owned(), last_writer(metadata));
                    versions.insert(format!("{namespace}/{kind}/{name}"), seen);
                }
            }
        }
        Ok(Self(versions))
    }

    /// What `later` has in another version, or anew, or no longer, and who wrote it.
    fn differences(&self, later: &Self) -> Vec<String> {
        let written = later.0.iter().filter(|(name, seen)| self.0.get(*name) != Some(seen));
        let written = written.map(|(name, (_, writer))| format!("{name} by {writer}"));
        let gone = self.0.keys().filter(|name| !later.0.contains_key(*name));
        written.chain(gone.map(|name| format!("{name} is gone"))).collect()
    }
}

/// The field manager whose write is the newest.
fn last_writer(metadata: &Value) -> String {
    let writers = metadata["managedFields"].as_array().into_iter().flatten();
    let last = writers.max_by_key(|entry| entry["time"].as_str().unwrap_or_default().to_owned());
    let manager = last.and_then(|entry| entry["manager"].as_str());
    manager.unwrap_or("an unknown manager").to_owned()
}
