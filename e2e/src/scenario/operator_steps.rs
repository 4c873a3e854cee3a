//! The operator ends at every boundary between two of its steps: while a cluster is born, gets more nodes and fewer,
//! and while its pods are restarted. Each time the next one goes on from there to the same end, under load and with
//! somebody who looks for lies in the status. Deleting a cluster has no steps.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::harness::{
    Failpoints, FlinCluster, Kubernetes, RESUMED, Seen, Sight, Space, await_condition,
    small_spec_with, with_failpoints, with_namespace,
};
use crate::trial::{Trial, TrialOptions, on_trial, words};

/// Some boundaries that are come to in one change. No more than three: Kubernetes restarts a container that ended
/// without delay, the second time after 10 seconds, then after 20.
type Boundaries = &'static [&'static str];

/// In the birth of a cluster, and in that of another one.
const BIRTHS: [Boundaries; 2] =
    [&["after-birth", "after-secret", "after-create"], &["after-formed", "after-confirm"]];
/// On the way to so many nodes.
const SCALES: [(u32, Boundaries); 3] = [
    (5, &["after-grow"]),
    (4, &["after-drain-record", "after-drain-intent"]),
    (NODES, &["after-remove-record", "after-remove", "after-shrink"]),
];
/// In a rollout, and in another one: after-pace and after-template in one would make the status old for too long.
const ROLLOUTS: [Boundaries; 2] = [
    &["after-pace", "after-turn-record"],
    &["after-template", "after-stepdown", "after-delete-pod"],
];

const KEYS: u32 = 1_000;
const PARTITIONS: u32 = 8;
const NODES: u32 = 3;
/// How long a change may take to come to its end, the rests of a container that ended included.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long all of it may take: less than a scenario may, so that there is time to put the operator back.
const LONGEST: Duration = Duration::from_secs(780);

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_failpoints(kubernetes, LONGEST, async |failpoints| {
        with_namespace(kubernetes, "e2e-operator-birth", async |space| {
            let cluster = born(failpoints, space, BIRTHS[0]).await?;
            on_trial(&cluster, &options(), async |trial| trial.settled(NODES, PATIENCE).await).await
        })
        .await?;
        with_namespace(kubernetes, "e2e-operator-steps", async |space| {
            let cluster = born(failpoints, space, BIRTHS[1]).await?;
            let ((), settled) = on_trial(&cluster, &options(), async |trial| {
                trial.settled(NODES, PATIENCE).await?;
                scaled(failpoints, trial).await?;
                rolled(failpoints, trial).await
            })
            .await?;
            let ends = every_boundary().count();
            Ok(format!("the operator ended once at each of {ends} boundaries; {}", words(&settled)))
        })
        .await
    })
    .await
}

fn every_boundary() -> impl Iterator<Item = &'static str> {
    let scales = SCALES.iter().map(|(_, boundaries)| *boundaries);
    BIRTHS.into_iter().chain(scales).chain(ROLLOUTS).flatten().copied()
}

fn options() -> TrialOptions {
    TrialOptions::modest(KEYS, PARTITIONS)
}

/// One cluster is born, and stays the one that it was when its birth was recorded.
async fn born(
    failpoints: &Failpoints,
    space: &Space,
    boundaries: Boundaries,
) -> Result<FlinCluster> {
    let made = failpoints.ending_at(boundaries, async || {
        let spec = small_spec_with(json!({
            "replicas": NODES,
            "partitions": PARTITIONS,
            "storage": {"size": "1Gi", "onScaleDown": "Delete"},
        }));
        let cluster = FlinCluster::create(space, "stepped", spec).await?;
        let id = await_condition("the birth is recorded", RESUMED, async || {
            let id = cluster_id(&cluster).await?;
            Ok(id.map_or(Seen::NotYet("no birth in the status".to_owned()), Seen::Yes))
        })
        .await?;
        cluster.await_available().await?;
        let now = cluster_id(&cluster).await?;
        ensure!(now.as_ref() == Some(&id), "the cluster {id} became {now:?}");
        Ok(cluster)
    });
    made.await.context("a cluster is born")
}

async fn cluster_id(cluster: &FlinCluster) -> Result<Option<String>> {
    let object = cluster.get().await?.data;
    let id = object.pointer("/status/bootstrap/clusterId").and_then(Value::as_str);
    Ok(id.map(str::to_owned))
}

async fn scaled(failpoints: &Failpoints, trial: &Trial) -> Result<()> {
    for (nodes, boundaries) in SCALES {
        let done = failpoints.ending_at(boundaries, async || {
            trial.cluster.scale(nodes).await?;
            trial.settled(nodes, PATIENCE).await?;
            trial.left_nothing(nodes).await
        });
        done.await.with_context(|| format!("to {nodes} nodes"))?;
    }
    Ok(())
}

async fn rolled(failpoints: &Failpoints, trial: &Trial) -> Result<()> {
    let changes = [
        json!({"config": {"logLevel": "warn"}}),
        json!({"resources": {"requests": {"cpu": "60m"}}}),
    ];
    for (change, boundaries) in changes.into_iter().zip(ROLLOUTS) {
        let what = format!("a rollout of {change}");
        trial.view.forget_pods();
        let done = failpoints.ending_at(boundaries, async || {
            trial.cluster.change(change).await?;
            let begun = |sight: &Sight| sight.rollout_phase() == "Rolling";
            trial.view.until("the rollout begins", PATIENCE, begun).await?;
            trial.settled(NODES, PATIENCE).await?;
            trial.restarted_once(NODES)
        });
        done.await.context(what)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_failpoint_that_is_documented_is_tried() {
        let documented = include_str!("../../../docs/OPERATOR.md").lines().filter_map(|line| {
            let name = line.strip_prefix("| `")?.split('`').next()?;
            name.starts_with("after-").then_some(name)
        });
        let documented: BTreeSet<_> = documented.collect();
        assert_eq!(every_boundary().collect::<BTreeSet<_>>(), documented);
        assert_eq!(every_boundary().count(), documented.len(), "each once");
    }
}
