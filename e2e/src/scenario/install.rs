//! The demo cluster as `kubectl` shows it, and a time of rest in which nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::Value;

use crate::harness::{
    DEMO, DEMO_NAMESPACE, FlinCluster, Kubernetes, OPERATOR_NAMESPACE, Rest, Space, condition,
};

/// The label of a pod that says which zone its machine is in; Kubernetes sets it since 1.35.
const ZONE: &str = "topology.kubernetes.io/zone";
/// How long a cluster that was just made may take until its leaders are dealt out.
const BALANCED: Duration = Duration::from_secs(30);
/// The columns that `kubectl get flin` must have.
const COLUMNS: [&str; 6] = ["Ready", "Replicas", "Partitions", "Phase", "Version", "Age"];

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    let space = Space { kubernetes: kubernetes.clone(), name: DEMO_NAMESPACE.to_owned() };
    let demo = FlinCluster::named(&space, DEMO);
    demo.await_available().await?;
    let status = demo.await_status("it is in balance", BALANCED, |object| {
        condition(object, "Rebalancing")["status"] == "False"
    });
    let status = status.await?;
    let rest = Rest::begin(kubernetes, &[DEMO_NAMESPACE, OPERATOR_NAMESPACE]).await?;
    conditions(&status)?;
    table(kubernetes).await.context("kubectl get flin")?;
    scale_subresource(&demo, kubernetes).await.context("the scale subresource")?;
    objects(&demo).await?;
    pods(&demo).await?;
    from_inside(&demo).await?;
    zones(&demo).await.context("zones")?;
    rest.end().await
}

fn conditions(object: &Value) -> Result<()> {
    for (kind, status) in [
        ("Available", "True"),
        ("Progressing", "False"),
        ("Degraded", "False"),
        ("Rebalancing", "False"),
    ] {
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

/// `kubectl exec -n flin demo-0 -- flin cluster status`: address and password need not be said.
async fn from_inside(demo: &FlinCluster) -> Result<()> {
    let said = demo.flin(&["cluster", "status"]).await?;
    let healthy = said.lines().any(|line| line.split_whitespace().eq(["Health", "healthy"]));
    ensure!(healthy, "seen from inside it is not healthy:\n{said}");
    Ok(())
}

/// Every node knows the zone that its pod is in, and every partition has its replicas in three zones.
async fn zones(demo: &FlinCluster) -> Result<()> {
    let members = demo.flin_json(&["cluster", "members"]).await?;
    let members = members.as_array().context("a list of members")?;
    let mut zone_of = BTreeMap::new();
    for pod in demo.pods().await? {
        let name = pod.metadata.name.unwrap_or_default();
        let Some(zone) = pod.metadata.labels.unwrap_or_default().remove(ZONE) else {
            println!("    {name} has no label {ZONE}: zones are not looked at");
            return Ok(());
        };
        let member = members.iter().find(|member| member["name"] == *name);
        let member = member.with_context(|| format!("{name} is no member"))?;
        ensure!(member["zone"] == *zone, "{name} runs in zone {zone} and says {}", member["zone"]);
        zone_of.insert(member["nodeId"].as_u64().context("a member has an id")?, zone);
    }
    let partitions = demo.flin_json(&["cluster", "partitions"]).await?;
    let partitions = partitions.as_array().context("a list of partitions")?;
    ensure!(partitions.len() == 64, "there are {} partitions", partitions.len());
    for partition in partitions {
        let nodes = partition["nodes"].as_array().context("a partition is on nodes")?;
        let ids = nodes.iter().filter_map(Value::as_u64);
        let zones: BTreeSet<_> = ids.filter_map(|id| zone_of.get(&id)).collect();
        ensure!(zones.len() == 3, "its replicas are in the zones {zones:?}: {partition}");
    }
    Ok(())
}
