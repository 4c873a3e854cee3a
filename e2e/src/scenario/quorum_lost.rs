//! Two of three nodes lose their volumes for good. The cluster says what is missing and stands still, until
//! somebody takes the loss on himself: then the last node goes on, the others join it anew, and every key that
//! all three had is there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flin_check::{History, check};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::DeleteParams;
use serde_json::Value;

use crate::harness::{FlinCluster, JobOptions, Kubernetes, Space, small_spec, with_namespace};
use crate::traffic::recorder::unix_us;

const KEYS: u64 = 2_000;
/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(240);
/// The pods that lose their volumes.
const VICTIMS: [&str; 2] = ["bereft-1", "bereft-2"];

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_namespace(kubernetes, "e2e-quorum-lost", async |space| {
        let epoch_us = unix_us();
        let mut history = History::default();
        let cluster = FlinCluster::create_available(space, "bereft", small_spec()).await?;
        let written = space.run_job(options(&cluster, "write", epoch_us), PATIENCE).await?;
        history.extend(written.records);
        cluster.await_status("it is whole", PATIENCE, is_whole).await?;

        for victim in VICTIMS {
            lose(space, victim).await?;
        }
        let told = cluster.await_reason("Available", "False", "PartitionsLeaderless").await?;
        ensure!(told.contains("flin cluster recover"), "the way out is not told: {told}");
        let recover = ["cluster", "recover", VICTIMS[0], VICTIMS[1]];
        let refused = cluster.flin(&recover).await.err().context("went on without consent")?;
        let refused = format!("{refused:#}");
        ensure!(refused.contains("--accept-data-loss"), "what to say is not told: {refused}");
        ensure!(cluster.flin(&["cluster", "status"]).await.is_err(), "it is well without consent");

        let accept = [&recover[..], &["--accept-data-loss"]].concat();
        let told = cluster.flin_within(PATIENCE, &accept).await?;
        ensure!(told.contains("went on with one replica each"), "it told: {told}");
        cluster.await_available().await.context("after the recovery")?;
        let whole = "every node is back and every replica made anew";
        cluster.await_status(whole, PATIENCE, is_whole).await?;

        let read = space.run_job(options(&cluster, "read", epoch_us), PATIENCE).await?;
        history.extend(read.records);
        let verdict = check(&history)?;
        ensure!(verdict.is_clean(), "after the recovery: {verdict}");
        let members = cluster.flin_json(&["cluster", "members"]).await?;
        let members = members.as_array().context("a list of members")?;
        let ids: Vec<u64> = members.iter().filter_map(|member| member["nodeId"].as_u64()).collect();
        ensure!(ids.len() == 3, "the members are {ids:?}");
        ensure!(!ids.contains(&2) && !ids.contains(&3), "a lost node is a member again: {ids:?}");
        Ok(format!("{}; the nodes are {ids:?} now", verdict.tally))
    })
    .await
}

/// Takes a pod and its volume away; the claim goes once no pod uses it.
async fn lose(space: &Space, pod: &str) -> Result<()> {
    let claims = space.api::<PersistentVolumeClaim>();
    let claim = format!("data-{pod}");
    claims.delete(&claim, &DeleteParams::default()).await.context("delete the volume")?;
    space.api::<Pod>().delete(pod, &DeleteParams::default()).await.context("delete the pod")?;
    Ok(())
}

fn is_whole(object: &Value) -> bool {
    object["status"]["phase"] == "Running"
}

fn options(cluster: &FlinCluster, verb: &str, epoch_us: u64) -> JobOptions {
    let (keys, epoch_us) = (KEYS.to_string(), epoch_us.to_string());
    let target = cluster.address();
    let args = ["traffic", verb, "--target", &target, "--keys", &keys, "--epoch-us", &epoch_us];
    cluster.job(verb, args.map(str::to_owned).into())
}
