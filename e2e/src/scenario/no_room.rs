//! Wishes that disks and machines have no room for. More replicas than the disks hold are refused with the numbers;
//! a node that has no machine is awaited, and said to be. Clients are served all the while, and a wish taken back
//! leaves everything as it was.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::harness::{
    FlinCluster, Kubernetes, Seen, SmallDisks, Space, await_condition, condition, small_spec_with,
    with_namespace,
};

const NODES: u32 = 3;
const PARTITIONS: u32 = 6;
/// What is written: 2 MiB for each node, so that three replicas are 4 MiB more.
const KEYS: &str = "1500";
const VALUE_BYTES: &str = "4096";
/// The least that each node must know to have, when all is written.
const DATA_BYTES_MIN: u64 = 1 << 20;
/// The class of the volumes, and the name of the file systems below them.
const CLASS: &str = "e2e-no-room";
/// A disk holds the log of a node and little else.
const DISK_MIB: u32 = 128;
/// A tenth is kept free, which leaves room for 1 MiB.
const LEFT_MIB: u32 = 14;
/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_namespace(kubernetes, "e2e-no-room", async |space| {
        let disks = SmallDisks::make(kubernetes, CLASS, DISK_MIB).await;
        let disks = disks.context("make small disks")?;
        let tried = try_wishes(space, &disks).await;
        if tried.is_ok() || !kubernetes.keep {
            let removed = disks.remove().await.context("remove the small disks");
            return tried.and_then(|told| removed.map(|()| told));
        }
        tried
    })
    .await
}

async fn try_wishes(space: &Space, disks: &SmallDisks) -> Result<String> {
    let spec = small_spec_with(json!({
        "replicas": NODES,
        "replicationFactor": 1,
        "partitions": PARTITIONS,
        "storage": {
            "size": "1Gi", "storageClassName": CLASS, "retain": "Delete", "onScaleDown": "Delete",
        },
    }));
    let cluster = FlinCluster::create_available(space, "cramped", spec).await?;
    write(&cluster).await.context("write")?;
    disks.fill(LEFT_MIB).await.context("fill the disks")?;
    await_known(&cluster).await?;
    let numbers = more_replicas(&cluster).await.context("replicationFactor 1 -> 3")?;
    one_node_too_many(&cluster).await.context("replicas 3 -> 4")?;
    cluster.delete().await?;
    Ok(format!("refused: {numbers}; a node without a machine was awaited and let go"))
}

async fn write(cluster: &FlinCluster) -> Result<()> {
    let address = cluster.address();
    let args = ["traffic", "write", "--target", &address, "--keys", KEYS, "--value-bytes"];
    let args = args.into_iter().chain([VALUE_BYTES]).map(str::to_owned).collect();
    let output = cluster.space.run_job(cluster.job("write", args), PATIENCE).await?;
    ensure!(!output.records.is_empty(), "nothing was written");
    Ok(())
}

/// The nodes measure now and then; the operator asks them when it plans.
async fn await_known(cluster: &FlinCluster) -> Result<()> {
    await_condition("every node knows its data and its disk", PATIENCE, async || {
        let members = cluster.flin_json(&["cluster", "members"]).await?;
        let nodes = members.as_array().map(Vec::as_slice).unwrap_or_default();
        let known = nodes.iter().filter(|node| {
            let number = |field: &str| node[field].as_u64().unwrap_or_default();
            let is_full = number("diskFreeBytes") <= u64::from(LEFT_MIB) << 20;
            is_full && number("diskTotalBytes") > 0 && number("dataBytes") >= DATA_BYTES_MIN
        });
        Ok(Seen::when(known.count() == NODES as usize, members.to_string()))
    })
    .await
}

/// Refused before anything is done, with what is lacking; returns that.
async fn more_replicas(cluster: &FlinCluster) -> Result<String> {
    cluster.change(json!({"replicationFactor": 3})).await?;
    let words = cluster.await_reason("Progressing", "False", "InsufficientCapacity").await?;
    for part in ["spec.replicationFactor 3", "nothing was changed", "on 3 nodes cramped-"] {
        ensure!(words.contains(part), "the refusal lacks {part:?}: {words}");
    }
    let numbers = numbers(&words).with_context(|| format!("no numbers in: {words}"))?;
    let status = cluster.flin_json(&["cluster", "status"]).await?;
    ensure!(status["replicationFactor"] == 1, "it was begun all the same: {status}");
    ensure!(status["healthy"] == true, "it is not healthy any more: {status}");
    let object = cluster.get().await?.data;
    let phase = &object["status"]["phase"];
    ensure!(phase == "Running" && is_available(&object), "the phase is {phase}");
    cluster.change(json!({"replicationFactor": 1})).await?;
    cluster.await_reason("Progressing", "False", "Settled").await?;
    Ok(numbers)
}

/// There are as many volumes as machines: a fourth node can be nowhere. That may change at any time, so that
/// nothing is refused.
async fn one_node_too_many(cluster: &FlinCluster) -> Result<()> {
    cluster.scale(NODES + 1).await?;
    let what = "it says that cramped-3 is awaited, and why";
    let object = cluster.await_status(what, PATIENCE, |object| {
        let progressing = condition(object, "Progressing");
        let words = progressing["message"].as_str().unwrap_or_default();
        progressing["reason"] == "Joining" && words.contains("cramped-3 waits: Unschedulable")
    });
    let object = object.await?;
    ensure!(is_available(&object), "it does not serve any more");
    let degraded = condition(&object, "Degraded");
    ensure!(degraded["status"] == "False", "a node that never was is missed: {degraded}");
    cluster.scale(NODES).await?;
    cluster.await_reason("Progressing", "False", "Settled").await?;
    await_condition("its pod is gone", PATIENCE, async || {
        let pods = cluster.pods().await?.len();
        Ok(Seen::when(pods == NODES as usize, format!("{pods} pods")))
    })
    .await
}

fn is_available(object: &Value) -> bool {
    condition(object, "Available")["status"] == "True"
}

/// `cramped-1 would have to take in 3.9 MiB and has room for 1.2 MiB`, out of the refusal.
fn numbers(words: &str) -> Option<String> {
    let (_, from_node) = words.split_once(" nodes ")?;
    let (numbers, _) = from_node.split_once(" (")?;
    let amounts = [" would have to take in ", " and has room for "];
    amounts.iter().all(|amount| numbers.contains(amount)).then(|| numbers.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_a_refusal() {
        let words = "spec.replicas 3 with spec.replicationFactor 3 has no room for the data, nothing was changed: \
                     on 3 nodes cramped-1 would have to take in 3.9 MiB and has room for 1.2 MiB (10 % of its \
                     disk are kept free). Ask for more nodes, or delete data";
        let told = "cramped-1 would have to take in 3.9 MiB and has room for 1.2 MiB";
        assert_eq!(numbers(words).as_deref(), Some(told));
        assert_eq!(numbers("there are 3 nodes (all well)"), None);
    }
}
