//! More nodes and fewer under load, and a time of rest at the end.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::harness::{
    FlinCluster, Kubernetes, OPERATOR_NAMESPACE, Rest, small_spec_with, with_namespace,
};
use crate::trial::{Phase, TrialOptions, on_trial, words};

const NAMESPACE: &str = "e2e-scale";
const KEYS: u32 = 10_000;
const PARTITIONS: u32 = 64;
/// The numbers of nodes, one after the other; the first is what the cluster is made with.
const NODES: [u32; 5] = [3, 5, 3, 4, 3];
/// How long one change may take.
const PATIENCE: Duration = Duration::from_secs(150);

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_namespace(kubernetes, NAMESPACE, async |space| {
        let spec = small_spec_with(json!({
            "replicas": NODES[0],
            "partitions": PARTITIONS,
            "storage": {"size": "1Gi", "onScaleDown": "Delete"},
            "rebalance": {"maxMoves": 16},
        }));
        let cluster = FlinCluster::create_available(space, "grown", spec).await?;
        let options = TrialOptions::modest(KEYS, PARTITIONS);
        let trial = on_trial(&cluster, &options, async |trial| {
            trial.settled(NODES[0], PATIENCE).await?;
            let mut phases: Vec<Phase> = Vec::new();
            for nodes in &NODES[1..] {
                phases.push(trial.scale_to(*nodes, PATIENCE).await?);
            }
            // Reads and writes go on, and are no reason to write to the API.
            let rest = Rest::begin(kubernetes, &[NAMESPACE, OPERATOR_NAMESPACE]).await?;
            Ok((phases, rest.end().await?))
        });
        let ((phases, rested), settled) = trial.await?;
        let stall = phases.iter().map(|phase| phase.impact.longest_ms()).max().unwrap_or(0);
        let moved: u64 = phases.iter().map(|phase| phase.replicas_moved).sum();
        let minimum: u64 = phases.iter().map(|phase| phase.replicas_minimum).sum();
        Ok(format!(
            "{moved} replicas moved ({minimum} at least), longest stall {stall} ms; {}; {rested}",
            words(&settled)
        ))
    })
    .await
}
