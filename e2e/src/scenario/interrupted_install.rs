//! The operator dies twice while it makes a cluster; there is one whole cluster all the same.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flin_check::{History, check};
use serde_json::Value;

use crate::harness::{
    FlinCluster, JobOptions, Kubernetes, RESUMED, Seen, await_condition, small_spec, with_namespace,
};
use crate::traffic::recorder::unix_us;

/// How long each Job may take.
const PATIENCE: Duration = Duration::from_secs(90);

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_namespace(kubernetes, "e2e-interrupted", async |space| {
        let cluster = FlinCluster::create(space, "whole", small_spec()).await?;
        let born = await_condition("the bootstrap is recorded", RESUMED, async || {
            let id = bootstrap(&cluster).await?;
            Ok(id.map_or(Seen::NotYet("no bootstrap in the status".to_owned()), Seen::Yes))
        });
        let born = born.await?;
        space.kill_operator().await.context("after the bootstrap was recorded")?;
        await_condition("pods are made", RESUMED, async || {
            Ok(Seen::when(!cluster.pods().await?.is_empty(), "no pods"))
        })
        .await?;
        space.kill_operator().await.context("after pods were made")?;
        cluster.await_available().await?;
        let now = bootstrap(&cluster).await?;
        ensure!(now.as_ref() == Some(&born), "the cluster {born} became {now:?}");
        let epoch_us = unix_us();
        let mut history = History::default();
        for verb in ["write", "read"] {
            let output = space.run_job(options(&cluster, verb, epoch_us), PATIENCE).await?;
            history.extend(output.records);
        }
        let verdict = check(&history)?;
        ensure!(verdict.is_clean(), "{verdict}");
        Ok(format!("the operator died twice, the cluster stayed {born}"))
    })
    .await
}

async fn bootstrap(cluster: &FlinCluster) -> Result<Option<String>> {
    let object = cluster.get().await?.data;
    let id = object.pointer("/status/bootstrap/clusterId").and_then(Value::as_str);
    Ok(id.map(str::to_owned))
}

fn options(cluster: &FlinCluster, verb: &str, epoch_us: u64) -> JobOptions {
    let (target, epoch_us) = (cluster.address(), epoch_us.to_string());
    let args = ["traffic", verb, "--target", &target, "--keys", "500", "--epoch-us", &epoch_us];
    cluster.job(verb, args.map(str::to_owned).into())
}
