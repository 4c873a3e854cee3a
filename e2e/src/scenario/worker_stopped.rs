//! A machine of the Kubernetes cluster is switched off with one of four nodes on it: after a while its replicas
//! are made anew on the others. Then it comes back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::harness::{FlinCluster, Kubernetes, Machine, Sight, small_spec_with, with_namespace};
use crate::traffic::recorder::unix_us;
use crate::trial::{Trial, TrialOptions, on_trial, words};

const KEYS: u32 = 2_000;
const PARTITIONS: u32 = 8;
const NODES: u32 = 4;
/// How long a node is waited for until it is given up.
const REPLACE_AFTER_SECONDS: u32 = 20;
/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(240);

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_namespace(kubernetes, "e2e-worker-stopped", async |space| {
        let spec = small_spec_with(json!({
            "replicas": NODES,
            "partitions": PARTITIONS,
            "rebalance": {"replaceAfterSeconds": REPLACE_AFTER_SECONDS},
        }));
        let cluster = FlinCluster::create_available(space, "halved", spec).await?;
        let (victim, other) = choose(&cluster).await?;
        victim.clear().await.context("move everything else away")?;
        let options = TrialOptions {
            machine: Some(other.name.clone()),
            ..TrialOptions::modest(KEYS, PARTITIONS)
        };
        let tried = on_trial(&cluster, &options, async |trial| off_and_on(trial, &victim).await);
        let tried = tried.await;
        if tried.is_err() {
            // Whoever comes next needs all machines.
            victim.start().await.ok();
        }
        let (told, settled) = tried?;
        Ok(format!("{told}; {}", words(&settled)))
    })
    .await
}

/// A machine with one node of the cluster, and one with two: with three of four nodes left, every partition keeps
/// a majority.
async fn choose(cluster: &FlinCluster) -> Result<(Machine, Machine)> {
    let pods = cluster.pods().await?;
    let nodes = |machine: &Machine| pods.iter().filter(|pod| machine.hosts(pod)).count();
    let workers = Machine::workers(&cluster.space.kubernetes).await?;
    let (mut single, mut others): (Vec<_>, Vec<_>) =
        workers.into_iter().partition(|machine| nodes(machine) == 1);
    let victim = single.pop().context("no machine has exactly one node")?;
    others.extend(single);
    Ok((victim, others.pop().context("there is only one worker")?))
}

async fn off_and_on(trial: &Trial, victim: &Machine) -> Result<String> {
    trial.settled(NODES, PATIENCE).await?;
    let pods = trial.cluster.pods().await?;
    let pod = pods.iter().find(|pod| victim.hosts(pod)).context("the machine has a node")?;
    let name = pod.metadata.name.clone().unwrap_or_default();
    let stopped_us = unix_us();
    victim.stop().await?;
    let made_anew = |sight: &Sight| {
        sight.cluster().is_some_and(|cluster| {
            let lost = cluster.members.iter().find(|member| member.name == name);
            let is_lost = lost.is_some_and(|lost| lost.state == "Lost" && lost.holds == 0);
            is_lost && cluster.under_replicated == 0 && cluster.moving == 0
        })
    };
    let what = format!("the replicas of {name} are made anew elsewhere");
    let sight = trial.view.until(&what, PATIENCE, made_anew).await?;
    let seconds = (unix_us() - stopped_us) / 1_000_000;
    ensure!(sight.is("Available", "True"), "it does not serve any more: {}", sight.words());
    victim.start().await?;
    trial.settled(NODES, PATIENCE).await.context("after the machine came back")?;
    Ok(format!("{seconds} s after {} was off the replicas of {name} were elsewhere", victim.name))
}
