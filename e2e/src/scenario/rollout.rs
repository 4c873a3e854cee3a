//! What runs in the pods is changed under load: one pod at a time, and no further than the first that does not
//! come back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::harness::{FlinCluster, Kubernetes, Sight, small_spec_with, with_namespace};
use crate::traffic::recorder::unix_us;
use crate::trial::{Impact, Trial, TrialOptions, on_trial, words};

const KEYS: u32 = 1_000;
const PARTITIONS: u32 = 8;
const NODES: u32 = 3;
/// How long a rollout may take.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long the operator may take to give a pod up that does not come back.
const GIVEN_UP: Duration = Duration::from_secs(180);
/// An image that is nowhere; nobody listens there, so that it is known at once.
const BAD_IMAGE: &str = "localhost:1/flin-node:missing";

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_namespace(kubernetes, "e2e-rollout", async |space| {
        let spec = small_spec_with(json!({"replicas": NODES, "partitions": PARTITIONS}));
        let cluster = FlinCluster::create_available(space, "rolled", spec).await?;
        let options = TrialOptions::modest(KEYS, PARTITIONS);
        let (impact, settled) = on_trial(&cluster, &options, async |trial| {
            trial.settled(NODES, PATIENCE).await?;
            let impact = one_at_a_time(trial).await.context("another log level")?;
            blocked(trial).await.context("an image that is nowhere")?;
            Ok(impact)
        })
        .await?;
        Ok(format!(
            "every pod restarted once: {impact}; a bad image stopped at one; {}",
            words(&settled)
        ))
    })
    .await
}

async fn one_at_a_time(trial: &Trial) -> Result<Impact> {
    let begin_us = unix_us();
    trial.view.forget_pods();
    trial.cluster.change(json!({"config": {"logLevel": "warn"}})).await?;
    trial.view.until("the rollout begins", PATIENCE, |s| s.rollout_phase() == "Rolling").await?;
    trial.settled(NODES, PATIENCE).await?;
    trial.restarted_once(NODES)?;
    let passed = trial.view.passed_since(begin_us);
    let shown = passed.iter().any(|passed| passed.phase == "RollingOut");
    ensure!(shown, "the phase never was RollingOut: {passed:?}");
    trial.impact(begin_us, unix_us()).await
}

/// A bad image stops at the first pod; what is wished meanwhile waits, and says so; without it all is well.
async fn blocked(trial: &Trial) -> Result<()> {
    trial.view.forget_pods();
    trial.cluster.change(json!({"image": BAD_IMAGE})).await?;
    let given_up = |sight: &Sight| sight.rollout_phase() == "Blocked";
    let sight = trial.view.until("the rollout is Blocked", GIVEN_UP, given_up).await?;
    let current = sight.word("/status/rollout/current").to_owned();
    let message = sight.message("Progressing");
    ensure!(sight.is("Progressing", "False"), "Progressing is not False: {}", sight.words());
    ensure!(
        !current.is_empty() && message.contains(&current),
        "the message of Progressing does not name {current:?}: {message}"
    );
    ensure!(sight.is("Available", "True"), "it does not serve any more: {}", sight.words());

    let before = serving(trial).await?;
    trial.cluster.scale(NODES + 1).await?;
    let waits = |sight: &Sight| {
        let told =
            format!("{} {}", sight.message("Progressing"), sight.word("/status/scale/message"));
        sight.is_current() && told.to_lowercase().contains("rollout") && told.contains('4')
    };
    trial.view.until("the status says that 4 nodes wait for the rollout", PATIENCE, waits).await?;
    ensure!(trial.cluster.pods().await?.len() == NODES as usize, "a node came in spite of it");

    trial.cluster.change(json!({"image": null})).await?;
    trial.settled(NODES + 1, PATIENCE).await.context("after the image was set back")?;
    let after = trial.view.pods().uids;
    let untouched = before.iter().filter(|(name, _)| **name != current);
    for (name, uids) in untouched {
        ensure!(after.get(name) == Some(uids), "{name} was restarted for nothing");
    }
    Ok(())
}

/// Every partition answers and all but one pod are as they were.
async fn serving(trial: &Trial) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let answers = |sight: &Sight| sight.facts.silent == 0;
    trial.view.until("every partition answers", PATIENCE, answers).await?;
    let uids = trial.view.pods().uids;
    let changed = uids.values().filter(|uids| uids.len() > 1).count();
    ensure!(changed == 1, "{changed} pods were made anew, not 1: {uids:?}");
    Ok(uids)
}
