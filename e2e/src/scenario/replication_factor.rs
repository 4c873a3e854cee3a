//! More replicas of each partition and fewer, under load.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::harness::{FlinCluster, Kubernetes, Sight, small_spec_with, with_namespace};
use crate::trial::{Trial, TrialOptions, on_trial, words};

const KEYS: u32 = 1_000;
const PARTITIONS: u32 = 8;
const NODES: u32 = 3;
/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(150);

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_namespace(kubernetes, "e2e-replication-factor", async |space| {
        let spec = small_spec_with(json!({
            "replicas": NODES, "partitions": PARTITIONS, "replicationFactor": 1,
        }));
        let cluster = FlinCluster::create_available(space, "replicated", spec).await?;
        let options = TrialOptions::modest(KEYS, PARTITIONS);
        let ((), settled) = on_trial(&cluster, &options, async |trial| {
            change_to(trial, 3).await.context("1 -> 3")?;
            change_to(trial, 1).await.context("3 -> 1")
        })
        .await?;
        Ok(words(&settled))
    })
    .await
}

async fn change_to(trial: &Trial, factor: u32) -> Result<()> {
    trial.cluster.change(json!({"replicationFactor": factor})).await?;
    let what = format!("there are {factor} replicas of each partition, and the status says so");
    let made = |sight: &Sight| {
        let is_made = sight.cluster().is_some_and(|cluster| {
            let held: u32 = cluster.members.iter().map(|member| member.replicas).sum();
            cluster.replication_factor == factor && held == factor * PARTITIONS
        });
        is_made && sight.is_settled(NODES)
    };
    trial.view.until(&what, PATIENCE, made).await?;
    Ok(())
}
