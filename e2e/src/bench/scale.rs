//! More nodes and fewer under load: how long it takes, what is moved, and what clients notice.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::document::Part;
use super::facts::{self, Facts};
use crate::harness::{FlinCluster, Kubernetes, with_namespace};
use crate::load::report::Settled;
use crate::trial::{Phase, TrialOptions, mib, on_trial, words};

/// Its part of the page.
pub(super) const PART: Part = Part("cargo xtask bench --kind: scale");
/// How many partitions the measured cluster has: the default.
const PARTITIONS: u32 = 64;
/// The numbers of nodes, one after the other; the first is what the cluster is made with.
const NODES: [u32; 5] = [3, 5, 3, 4, 3];
/// How long one change may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Everything that was found: the JSON of `scale.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    facts: Facts,
    keys: u32,
    value_bytes: u32,
    connections: u32,
    think_ms: u32,
    partitions: u32,
    phases: Vec<Phase>,
    settled: Settled,
}

/// Measures.
///
/// # Errors
/// When a change does not come to its end, or an acknowledged write was lost or altered.
pub(super) async fn measure(kubernetes: &Kubernetes, keys: u32) -> Result<Report> {
    let facts = facts::read(kubernetes, None).await?;
    with_namespace(kubernetes, "e2e-bench-scale", async |space| {
        let storage = json!({"size": "5Gi", "onScaleDown": "Delete"});
        let spec = json!({"replicas": NODES[0], "partitions": PARTITIONS, "storage": storage});
        let cluster = FlinCluster::create_available(space, "grown", spec).await?;
        let options = TrialOptions {
            connections: 32,
            think_ms: 10,
            ..TrialOptions::modest(keys, PARTITIONS)
        };
        let (phases, settled) = on_trial(&cluster, &options, async |trial| {
            trial.settled(NODES[0], PATIENCE).await?;
            let mut phases = Vec::new();
            for nodes in &NODES[1..] {
                phases.push(trial.scale_to(*nodes, PATIENCE).await?);
            }
            Ok(phases)
        })
        .await?;
        let TrialOptions { value_bytes, connections, think_ms, partitions, .. } = options;
        Ok(Report { facts, keys, value_bytes, connections, think_ms, partitions, phases, settled })
    })
    .await
}

/// The figures as Markdown.
pub(super) fn figures(report: &Report) -> String {
    let Report { facts, keys, value_bytes, connections, think_ms, partitions, .. } = report;
    let mut text = format!(
        "{}.\n\n{connections} connections, half of them routed, each resting {think_ms} ms between two \
         requests; {keys} keys of {value_bytes} bytes, {partitions} partitions.\n\n",
        facts.words()
    );
    text += "| nodes | time | replicas moved (least) | bytes sent | to the least | longest stall, routed | \
             proxied | writes/s before | meanwhile | worst second |\n";
    text += "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
    for phase in &report.phases {
        let Phase {
            from, to, seconds, replicas_moved, replicas_minimum, bytes_sent, impact, ..
        } = phase;
        let ratio = phase.bytes_ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.2}x"));
        writeln!(
            text,
            "| {from} to {to} | {seconds:.0} s | {replicas_moved} ({replicas_minimum}) | {:.0} MiB | {ratio} | \
             {} ms | {} ms | {} | {} | {} |",
            mib(*bytes_sent),
            impact.longest_routed_ms,
            impact.longest_proxied_ms,
            impact.writes_before,
            impact.writes,
            impact.writes_lowest,
        )
        .expect("strings take everything");
    }
    format!("{text}\n- {}.\n", words(&report.settled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Impact;

    #[test]
    fn the_table_has_a_row_for_each_change() {
        let phase = Phase {
            from: 3,
            to: 5,
            seconds: 41.4,
            replicas_moved: 78,
            replicas_minimum: 76,
            bytes_moved: 3 * 1_048_576,
            bytes_sent: 11 * 1_048_576,
            bytes_minimum: 10 * 1_048_576,
            impact: Impact {
                longest_routed_ms: 310,
                longest_proxied_ms: 420,
                writes_before: 900,
                writes: 700,
                writes_lowest: 150,
                retries: 4,
            },
        };
        let report = Report {
            facts: Facts {
                date: "2026-01-01".into(),
                cores: 2,
                cpu: "a CPU".into(),
                memory_gib: 8,
                kernel: "6.1".into(),
                kubernetes: "v1.36.3".into(),
                machines: 4,
                flin: "0.1.0".into(),
                etcd: None,
            },
            keys: 100_000,
            value_bytes: 1_024,
            connections: 32,
            think_ms: 10,
            partitions: 64,
            phases: vec![phase],
            settled: Settled {
                store: "flin".into(),
                keys: 100_000,
                acknowledged: 5,
                maybe: 1,
                lost: 0,
                verdict: String::new(),
            },
        };
        let text = figures(&report);
        let row =
            "| 3 to 5 | 41 s | 78 (76) | 11 MiB | 1.10x | 310 ms | 420 ms | 900 | 700 | 150 |";
        assert!(text.contains(row), "{text}");
        assert!(text.ends_with("- 5 writes acknowledged, 1 unknown, 0 lost.\n"), "{text}");
    }
}
