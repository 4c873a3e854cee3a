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
/// While each partition gets fewer replicas.
const FACTOR: Boundaries = &["after-factor-record", "after-factor"];
/// In a rollout that is taken back when it is on record whose turn is first.
const REVERTED: Boundaries = &["after-pace", "after-turn-record", "after-release"];
/// In a rollout; after-pace and after-template in one would make the status old for too long.
const ROLLOUT: Boundaries = &["after-template", "after-stepdown", "after-delete-pod"];

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
            on_trial(&cluster, &options(), async |trial| {
                trial.settled(NODES, PATIENCE).await?;
                fewer_replicas(failpoints, trial).await
            })
            .await
        })
        .await?;
        with_namespace(kubernetes, "e2e-operator-steps", async |space| {
            let cluster = born(failpoints, space, BIRTHS[1]).await?;
            let ((), settled) = on_trial(&cluster, &options(), async |trial| {
                trial.settled(NODES, PATIENCE).await?;
                scaled(failpoints, trial).await?;
                taken_back(failpoints, trial).await?;
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
    let others = [FACTOR, REVERTED, ROLLOUT];
    BIRTHS.into_iter().chain(scales).chain(others).flatten().copied()
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

/// Each partition gets one replica instead of three.
async fn fewer_replicas(failpoints: &Failpoints, trial: &Trial) -> Result<()> {
    let done = failpoints.ending_at(FACTOR, async || {
        trial.cluster.change(json!({"replicationFactor": 1})).await?;
        let made = |sight: &Sight| {
            let is_made = sight.cluster().is_some_and(|cluster| cluster.replication_factor == 1);
            is_made && sight.is_settled(NODES)
        };
        trial.view.until("each partition has one replica", PATIENCE, made).await?;
        Ok(())
    });
    done.await.context("one replica instead of three")
}

/// A rollout that nobody wants any more before its first restart: no pod is made anew.
async fn taken_back(failpoints: &Failpoints, trial: &Trial) -> Result<()> {
    trial.view.forget_pods();
    let done = failpoints.ending_at(REVERTED, async || {
        trial.cluster.change(json!({"config": {"logLevel": "warn"}})).await?;
        // The operator has ended then, and rests for ten seconds before it goes on.
        let is_turn = |sight: &Sight| sight.word("/status/rollout/step") == "HandingOver";
        trial.view.until("it is on record whose turn is first", PATIENCE, is_turn).await?;
        trial.cluster.change(json!({"config": null})).await?;
        trial.settled(NODES, PATIENCE).await
    });
    done.await.context("a rollout that is taken back")?;
    let uids = trial.view.pods().uids;
    let untouched = uids.values().all(|uids| uids.len() == 1);
    ensure!(untouched, "a pod was restarted for nothing; uids by name: {uids:?}");
    Ok(())
}

async fn rolled(failpoints: &Failpoints, trial: &Trial) -> Result<()> {
    trial.view.forget_pods();
    let done = failpoints.ending_at(ROLLOUT, async || {
        trial.cluster.change(json!({"resources": {"requests": {"cpu": "60m"}}})).await?;
        let begun = |sight: &Sight| sight.rollout_phase() == "Rolling";
        trial.view.until("the rollout begins", PATIENCE, begun).await?;
        trial.settled(NODES, PATIENCE).await?;
        trial.restarted_once(NODES)
    });
    done.await.context("a rollout")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_failpoint_that_is_documented_is_tried() {
        let documented = include_str!("../../../docs/DEVELOPMENT.md").lines().filter_map(|line| {
            let name = line.strip_prefix("| `")?.split('`').next()?;
            name.starts_with("after-").then_some(name)
        });
        let documented: BTreeSet<_> = documented.collect();
        assert_eq!(every_boundary().collect::<BTreeSet<_>>(), documented);
        assert_eq!(every_boundary().count(), documented.len(), "each once");
    }
}
