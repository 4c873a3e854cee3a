//! A machine of the Kubernetes cluster is switched off with one of four nodes on it: after a while its replicas
//! are made anew on the others. Then it is given up: the node comes back on another machine, as a new one. At last
//! the machine is switched on again, and changes nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::DeleteParams;
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
    let before = trial.settled(NODES, PATIENCE).await?;
    let pods = trial.cluster.pods().await?;
    let pod = pods.iter().find(|pod| victim.hosts(pod)).context("the machine has a node")?;
    let name = pod.metadata.name.clone().unwrap_or_default();
    let old = node_id(&before, &name).with_context(|| format!("{name} is no member"))?;
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
    wish_waits(trial, &name).await.context("one node more while one is away")?;
    give_up(trial, &name).await.context("give the machine up")?;
    let replaced = |sight: &Sight| {
        node_id(sight, &name).is_some_and(|new| new != old) && sight.is_settled(NODES)
    };
    let what = format!("another node of the name {name} holds its share");
    let after = trial.view.until(&what, PATIENCE, replaced).await?;
    let new = node_id(&after, &name).unwrap_or_default();
    ensure!(new > old, "node {old} was replaced by {new}: ids are never used again");
    let pod = trial.cluster.pod(&name).await?;
    ensure!(!victim.hosts(&pod), "{name} is said to run on a machine that is off");
    victim.start().await?;
    trial.settled(NODES, PATIENCE).await.context("after the machine came back")?;
    Ok(format!(
        "{seconds} s after {} was off the replicas of {name} were elsewhere; node {old} was replaced by {new}",
        victim.name
    ))
}

/// Another node is asked for while `missing` is away: that waits, and says for what, until it is taken back.
async fn wish_waits(trial: &Trial, missing: &str) -> Result<()> {
    trial.cluster.scale(NODES + 1).await?;
    let parts = [format!("spec.replicas is {}", NODES + 1), format!("waiting for {missing}")];
    let waits = |sight: &Sight| {
        let told = sight.message("Progressing");
        let is_told = parts.iter().all(|part| told.contains(part));
        sight.is_current() && sight.is("Progressing", "True") && is_told
    };
    trial.view.until(&format!("it waits for {missing} and says so"), PATIENCE, waits).await?;
    let pods = trial.cluster.pods().await?.len();
    ensure!(pods == NODES as usize, "there are {pods} pods: it was begun all the same");
    trial.cluster.scale(NODES).await
}

/// What people do about a node whose machine never comes back, as told in docs/OPERATOR.md. No kubelet is left to
/// confirm that the pod has ended, and the claim goes once no pod uses it.
async fn give_up(trial: &Trial, name: &str) -> Result<()> {
    let space = &trial.cluster.space;
    let claims = space.api::<PersistentVolumeClaim>();
    let claim = format!("data-{name}");
    claims.delete(&claim, &DeleteParams::default()).await.context("delete the claim")?;
    let pod = trial.cluster.pod(name).await?;
    space.delete_by_force(std::slice::from_ref(&pod)).await
}

/// The id of the only member of that name.
fn node_id(sight: &Sight, name: &str) -> Option<u64> {
    let members = &sight.cluster()?.members;
    let mut named = members.iter().filter(|member| member.name == name);
    let first = named.next()?.node_id;
    named.next().is_none().then_some(first)
}
