//! Wishes for a number of nodes that nobody should have: each is refused with the reason, or comes to the same
//! end as the last one alone.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::harness::{
    FlinCluster, Kubernetes, Seen, await_condition, condition, small_spec_with, with_namespace,
};

/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(150);

/// Fields of the spec that are refused, and words of the refusal.
fn refused() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"replicas": 2}), "replicas must be at least replicationFactor"),
        (json!({"replicas": 0}), "greater than or equal to 1"),
        (json!({"replicas": -1}), "greater than or equal to 1"),
        (json!({"replicas": 101}), "less than or equal to 100"),
        (
            json!({"replicas": 4, "replicationFactor": 5}),
            "replicas must be at least replicationFactor",
        ),
        (json!({"replicationFactor": 2}), "Unsupported value: 2"),
        (json!({"rebalance": {"maxMoves": 0}}), "greater than or equal to 1"),
        (json!({"rebalance": {"maxMoves": 65}}), "less than or equal to 64"),
        (json!({"rebalance": {"bytesPerSecond": "1Ki"}}), "at least 64Ki"),
        (json!({"rebalance": {"replaceAfterSeconds": -1}}), "greater than or equal to 0"),
        (json!({"storage": {"onScaleDown": "Forget"}}), "Unsupported value: \"Forget\""),
    ]
}

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_namespace(kubernetes, "e2e-bad-scale", async |space| {
        let spec = small_spec_with(json!({
            "partitions": 4,
            "storage": {"size": "1Gi", "onScaleDown": "Delete"},
        }));
        let cluster = FlinCluster::create_available(space, "meant", spec).await?;
        let generation = cluster.get().await?.metadata.generation;
        let refused = refused();
        for (spec, words) in &refused {
            expect_refusal(spec, cluster.change(spec.clone()).await, words)?;
        }
        let scaled = cluster.scale(2).await;
        expect_refusal(
            &json!("scale to 2"),
            scaled,
            "replicas must be at least replicationFactor",
        )?;
        ensure!(cluster.get().await?.metadata.generation == generation, "something was changed");
        two_wishes_in_a_second(&cluster).await.context("3 -> 5 -> 4 in a second")?;
        Ok(format!("{} wishes refused in words, two in a second are one", refused.len() + 1))
    })
    .await
}

fn expect_refusal(what: &Value, result: Result<()>, words: &str) -> Result<()> {
    let Err(error) = result else { bail!("{what} was accepted") };
    let told = format!("{error:#}");
    ensure!(told.contains(words), "{what} was refused without the words {words:?}: {told}");
    Ok(())
}

/// Both wishes are heard as one, or the first is taken back: the end is that of the last.
async fn two_wishes_in_a_second(cluster: &FlinCluster) -> Result<()> {
    cluster.scale(5).await?;
    cluster.scale(4).await?;
    cluster
        .await_status("it has 4 nodes and is settled", PATIENCE, |object| {
            let status = &object["status"];
            let members = status["members"].as_array().map_or(0, Vec::len);
            status["scale"]["phase"] == "Idle"
                && status["readyReplicas"] == 4
                && members == 4
                && condition(object, "Progressing")["reason"] == "Settled"
        })
        .await?;
    await_condition("4 pods are there", PATIENCE, async || {
        let pods = cluster.pods().await?.len();
        Ok(Seen::when(pods == 4, format!("{pods} pods")))
    })
    .await
}
