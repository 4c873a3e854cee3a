//! A FlinCluster deleted and made anew: the volumes stay, stop the new cluster from forming over them, and
//! become its data when it is told to adopt them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flin_check::{History, check};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::harness::{FlinCluster, JobOptions, Kubernetes, small_spec, with_namespace};
use crate::traffic::recorder::unix_us;

const KEYS: u64 = 2_000;
/// How long each Job may take.
const PATIENCE: Duration = Duration::from_secs(90);

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_namespace(kubernetes, "e2e-recreate", async |space| {
        let epoch_us = unix_us();
        let mut history = History::default();
        let cluster = FlinCluster::create_available(space, "again", small_spec()).await?;
        let first_id = cluster_id(&cluster).await?;
        let written = space.run_job(options(&cluster, "write", epoch_us), PATIENCE).await?;
        history.extend(written.records);

        cluster.delete().await?;
        let claims = space.api::<PersistentVolumeClaim>().list(&ListParams::default()).await?;
        ensure!(claims.items.len() == 3, "{} volumes stayed, not 3", claims.items.len());

        let cluster = FlinCluster::create(space, "again", small_spec()).await?;
        let message = cluster.await_reason("Available", "False", "FoundExistingData").await?;
        ensure!(message.contains("adopt"), "the message does not say what to do: {message}");
        let phase = cluster.get().await?.data["status"]["phase"].clone();
        ensure!(phase == "FoundExistingData", "the phase is {phase}");
        ensure!(cluster.pods().await?.is_empty(), "pods run on volumes that nobody adopted");

        cluster.change(json!({"adopt": true})).await?;
        cluster.await_available().await.context("after adopting")?;
        let second_id = cluster_id(&cluster).await?;
        ensure!(first_id == second_id, "the cluster {first_id} became {second_id}");
        let read = space.run_job(options(&cluster, "read", epoch_us), PATIENCE).await?;
        history.extend(read.records);
        let verdict = check(&history)?;
        ensure!(verdict.is_clean(), "after adopting: {verdict}");
        Ok(verdict.tally.to_string())
    })
    .await
}

async fn cluster_id(cluster: &FlinCluster) -> Result<String> {
    let object = cluster.get().await?.data;
    let id = object.pointer("/status/bootstrap/clusterId").and_then(Value::as_str);
    Ok(id.context("status.bootstrap.clusterId")?.to_owned())
}

fn options(cluster: &FlinCluster, verb: &str, epoch_us: u64) -> JobOptions {
    let (keys, epoch_us) = (KEYS.to_string(), epoch_us.to_string());
    let target = cluster.address();
    let args = ["traffic", verb, "--target", &target, "--keys", &keys, "--epoch-us", &epoch_us];
    cluster.job(verb, args.map(str::to_owned).into())
}
