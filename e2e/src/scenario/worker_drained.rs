//! `kubectl drain` of a machine under load: its node may go, no other one may before it is back.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::EvictParams;
use tokio::time::timeout;

use crate::harness::{
    FlinCluster, Kubernetes, Machine, Seen, Sight, await_condition, small_spec, with_namespace,
};
use crate::trial::{Trial, TrialOptions, on_trial, words};

const KEYS: u32 = 2_000;
const PARTITIONS: u32 = 8;
const NODES: u32 = 3;
/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// The client repeats what is refused for the moment; after this long it is a refusal.
const REFUSED: Duration = Duration::from_secs(3);

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_namespace(kubernetes, "e2e-worker-drained", async |space| {
        let cluster = FlinCluster::create_available(space, "drained", small_spec()).await?;
        let pods = cluster.pods().await?;
        let mut workers = Machine::workers(kubernetes).await?.into_iter();
        let machine = workers.find(|machine| pods.iter().filter(|p| machine.hosts(p)).count() == 1);
        let machine = machine.context("no machine has exactly one node")?;
        let options = TrialOptions::modest(KEYS, PARTITIONS);
        let tried = on_trial(&cluster, &options, async |trial| drain(trial, &machine).await).await;
        machine.uncordon().await?;
        let ((), settled) = tried?;
        Ok(format!("{} was drained; {}", machine.name, words(&settled)))
    })
    .await
}

async fn drain(trial: &Trial, machine: &Machine) -> Result<()> {
    trial.settled(NODES, PATIENCE).await?;
    let (here, elsewhere): (Vec<Pod>, Vec<Pod>) =
        trial.cluster.pods().await?.into_iter().partition(|pod| machine.hosts(pod));
    let api = trial.cluster.space.api::<Pod>();
    let [pod, other] = [here, elsewhere].map(|pods| pods.into_iter().next());
    let pod = pod.and_then(|pod| pod.metadata.name).context("the machine has a node")?;
    let other = other.and_then(|pod| pod.metadata.name).context("there are other nodes")?;
    machine.cordon().await?;
    await_condition(&format!("{pod} may go"), PATIENCE, async || {
        Ok(Seen::when(evict(&api, &pod).await?, "the PodDisruptionBudget does not let it"))
    })
    .await?;
    let missing = |sight: &Sight| sight.is("Degraded", "True") && sight.facts.silent == 0;
    trial.view.until("a node is missing and every partition answers", PATIENCE, missing).await?;
    ensure!(!evict(&api, &other).await?, "{other} was let go while {pod} was away");
    // Its volume is on the machine: it waits for it.
    machine.uncordon().await?;
    trial.settled(NODES, PATIENCE).await.context("after the machine took pods again")?;
    Ok(())
}

/// Asks for a pod to go; whether it was allowed to.
async fn evict(api: &Api<Pod>, pod: &str) -> Result<bool> {
    match timeout(REFUSED, api.evict(pod, &EvictParams::default())).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(kube::Error::Api(status))) if status.code == 429 => Ok(false),
        Ok(Err(error)) => bail!("evict {pod}: {error}"),
        Err(_) => Ok(false),
    }
}
