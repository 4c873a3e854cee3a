//! The worst moments of a change of scale: the operator dies at every step, nodes die while replicas move, and
//! people change their mind half way. Under load, and with somebody who looks for lies in the status.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::harness::{FlinCluster, Kubernetes, RESUMED, Sight, small_spec_with, with_namespace};
use crate::trial::{Trial, TrialOptions, on_trial, words};

const KEYS: u32 = 2_000;
const PARTITIONS: u32 = 16;
/// How long the next step of a change may take to begin, a new operator included.
const STEP: Duration = Duration::from_secs(150);
/// How long a change may take to come to its end.
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_namespace(kubernetes, "e2e-scale-faults", async |space| {
        // One move at a time, so that there is a middle to hit.
        let spec = small_spec_with(json!({
            "partitions": PARTITIONS,
            "storage": {"size": "1Gi", "onScaleDown": "Delete"},
            "rebalance": {"maxMoves": 1},
        }));
        let cluster = FlinCluster::create_available(space, "tried", spec).await?;
        let options = TrialOptions::modest(KEYS, PARTITIONS);
        let (kills, settled) = on_trial(&cluster, &options, async |trial| {
            let up = without_operators(trial, 4).await.context("3 -> 4, the operator dying")?;
            reversed_draining(trial).await.context("4 -> 3, reversed while it drains")?;
            let down = without_operators(trial, 3).await.context("4 -> 3, the operator dying")?;
            dying_nodes(trial).await.context("3 -> 5, nodes dying, reversed half way")?;
            Ok(up + down)
        })
        .await?;
        Ok(format!(
            "the operator died {kills} times, two nodes died, two wishes were reversed; {}",
            words(&settled)
        ))
    })
    .await
}

/// Kills the operator at every step that the status shows; returns how often.
async fn without_operators(trial: &Trial, nodes: u32) -> Result<u32> {
    trial.cluster.scale(nodes).await?;
    let (mut last, mut kills) = (String::from("Idle"), 0);
    loop {
        let next = |sight: &Sight| !["", last.as_str()].contains(&sight.scale_phase());
        let sight = trial.view.until("the next step begins", STEP, next).await?;
        sight.scale_phase().clone_into(&mut last);
        if last == "Idle" {
            break;
        }
        trial.cluster.space.kill_operator().await?;
        kills += 1;
    }
    ensure!(kills > 0, "the status showed no step");
    settled(trial, nodes).await?;
    Ok(kills)
}

/// 4 -> 3, and back to 4 while the node is being emptied: it is filled again.
async fn reversed_draining(trial: &Trial) -> Result<()> {
    let pods = uids(trial).await?;
    trial.cluster.scale(3).await?;
    under_way(trial, "Draining").await?;
    trial.cluster.scale(4).await?;
    settled(trial, 4).await?;
    ensure!(uids(trial).await? == pods, "pods were made anew for a wish that was taken back");
    Ok(())
}

/// 3 -> 5; the leader of the meta group dies, then another node, then it is to be 3 again.
async fn dying_nodes(trial: &Trial) -> Result<()> {
    trial.cluster.scale(5).await?;
    let sight = under_way(trial, "Rebalancing").await?;
    let leader = sight.cluster().map(|cluster| cluster.meta_leader.clone()).unwrap_or_default();
    ensure!(!leader.is_empty(), "nobody leads the meta group: {}", sight.words());
    kill(trial, &leader).await?;
    let led = |sight: &Sight| sight.is_moving() && sight.facts.silent == 0;
    trial.view.until("moving goes on without the leader", RESUMED, led).await?;
    let other = trial.cluster.pods().await?.into_iter().filter_map(|pod| pod.metadata.name);
    let other = other.into_iter().find(|name| *name != leader).context("there are other pods")?;
    kill(trial, &other).await?;
    trial.cluster.scale(3).await?;
    settled(trial, 3).await
}

/// Waits until replicas move in this step of a change.
async fn under_way(trial: &Trial, step: &str) -> Result<Sight> {
    let moving = |sight: &Sight| sight.scale_phase() == step && sight.is_moving();
    trial.view.until(&format!("replicas move while it is {step}"), STEP, moving).await
}

async fn kill(trial: &Trial, pod: &str) -> Result<()> {
    let pod = trial.cluster.pod(pod).await?;
    trial.cluster.space.sigkill(std::slice::from_ref(&pod)).await
}

/// The wish is fulfilled and nothing of another one is left.
async fn settled(trial: &Trial, nodes: u32) -> Result<()> {
    trial.settled(nodes, PATIENCE).await?;
    trial.left_nothing(nodes).await
}

async fn uids(trial: &Trial) -> Result<Vec<Option<String>>> {
    Ok(trial.cluster.pods().await?.into_iter().map(|pod| pod.metadata.uid).collect())
}
