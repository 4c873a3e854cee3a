//! A node loses its volume for good: it comes back as another node of the same name, and gets everything anew.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::DeleteParams;

use crate::harness::{FlinCluster, Kubernetes, Sight, small_spec, with_namespace};
use crate::trial::{TrialOptions, on_trial, words};

const KEYS: u32 = 2_000;
const PARTITIONS: u32 = 8;
const NODES: u32 = 3;
/// How long the cluster may take to be whole again.
const PATIENCE: Duration = Duration::from_secs(240);
/// The pod that loses its volume.
const VICTIM: &str = "robbed-1";

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_namespace(kubernetes, "e2e-volume-lost", async |space| {
        let cluster = FlinCluster::create_available(space, "robbed", small_spec()).await?;
        let options = TrialOptions::modest(KEYS, PARTITIONS);
        let (told, settled) = on_trial(&cluster, &options, async |trial| {
            let before = trial.settled(NODES, PATIENCE).await?;
            let old = node_id(&before).with_context(|| format!("{VICTIM} is no member"))?;
            let claim = format!("data-{VICTIM}");
            let claims = space.api::<PersistentVolumeClaim>();
            let lost = claims.get(&claim).await?.metadata.uid;
            // The claim goes once no pod uses it.
            claims.delete(&claim, &DeleteParams::default()).await.context("delete the volume")?;
            let pods = space.api::<Pod>();
            pods.delete(VICTIM, &DeleteParams::default()).await.context("delete the pod")?;
            let replaced = |sight: &Sight| {
                node_id(sight).is_some_and(|new| new != old) && sight.is_settled(NODES)
            };
            let what = "another node of that name holds its share";
            let after = trial.view.until(what, PATIENCE, replaced).await?;
            ensure!(claims.get(&claim).await?.metadata.uid != lost, "the volume was not deleted");
            let new = node_id(&after).unwrap_or_default();
            ensure!(new > old, "node {old} was replaced by {new}: ids are never used again");
            Ok(format!("node {old} was replaced by node {new}"))
        })
        .await?;
        Ok(format!("{told}; {}", words(&settled)))
    })
    .await
}

/// The id of the only member of the victim's name.
fn node_id(sight: &Sight) -> Option<u64> {
    let members = &sight.cluster()?.members;
    let mut named = members.iter().filter(|member| member.name == VICTIM);
    let first = named.next()?.node_id;
    named.next().is_none().then_some(first)
}
