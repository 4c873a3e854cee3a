//! Kubernetes itself is away for a minute while replicas move: the API server, the operator's way to anything, and
//! the DNS. Clients go on, the moves too, and afterwards the change comes to its end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::time::sleep;

use crate::harness::{FlinCluster, Kubernetes, Machine, Sight, small_spec_with, with_namespace};
use crate::traffic::recorder::unix_us;
use crate::trial::{Trial, TrialOptions, on_trial, words};

const KEYS: u32 = 2_000;
const PARTITIONS: u32 = 32;
/// How long it is away: a duration that is tried, not a wait for something.
const AWAY: Duration = Duration::from_secs(60);
/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    let control_plane = Machine::control_plane(kubernetes).await?;
    with_namespace(kubernetes, "e2e-control-plane-away", async |space| {
        let spec = small_spec_with(json!({
            "partitions": PARTITIONS,
            "storage": {"size": "1Gi", "onScaleDown": "Delete"},
            "rebalance": {"maxMoves": 1},
        }));
        let cluster = FlinCluster::create_available(space, "alone", spec).await?;
        let options = TrialOptions::modest(KEYS, PARTITIONS);
        let tried = on_trial(&cluster, &options, async |trial| alone(trial, &control_plane).await);
        let tried = tried.await;
        if tried.is_err() {
            // It may be frozen still; whoever comes next needs it.
            control_plane.thaw().await.ok();
        }
        let (told, settled) = tried?;
        Ok(format!("{told}; {}", words(&settled)))
    })
    .await
}

async fn alone(trial: &Trial, control_plane: &Machine) -> Result<String> {
    trial.settled(3, PATIENCE).await?;
    trial.cluster.scale(4).await?;
    let moving = |sight: &Sight| {
        sight.scale_phase() == "Rebalancing" && sight.cluster().is_some_and(|now| now.moving > 0)
    };
    let sight = trial.view.until("replicas move", PATIENCE, moving).await?;
    let before = sight.cluster().map_or(0, |cluster| cluster.replicas_moved);
    control_plane.freeze().await?;
    sleep(AWAY).await;
    let back_us = unix_us();
    control_plane.thaw().await?;
    // What was seen meanwhile comes first; this is what was so when it came back.
    let at_last = |sight: &Sight| sight.facts.at_us >= back_us;
    let sight = trial.view.until("it is seen again", PATIENCE, at_last).await?;
    let moved = sight.cluster().map_or(0, |cluster| cluster.replicas_moved) - before;
    ensure!(moved > 4, "replicas did not move without Kubernetes: {}", sight.words());
    ensure!(sight.is("Available", "True"), "it does not serve any more: {}", sight.words());
    trial.settled(4, PATIENCE).await.context("after Kubernetes was back")?;
    Ok(format!("Kubernetes was away for {} s, {moved} replicas moved meanwhile", AWAY.as_secs()))
}
