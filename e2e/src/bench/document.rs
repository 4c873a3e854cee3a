//! The figures as Markdown, between two markers of `docs/BENCHMARKS.md`.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::report::{Medians, Report};
use crate::load::report::{Outage, Run, System, Workload};

/// A part of the page, as its markers name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part(pub(super) &'static str);

/// Requests, outages and memory.
pub(super) const REQUESTS: Part = Part("cargo xtask bench --kind");

/// Puts figures into their part of the page.
///
/// # Errors
/// When the page lacks the markers.
pub(super) fn insert(page: &str, part: Part, figures: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- begin: {} -->", part.0), format!("<!-- end: {} -->", part.0));
    let missing = |marker: &str| format!("the page lacks the marker {marker}");
    let (before, rest) = page.split_once(&begin).with_context(|| missing(&begin))?;
    let (_, after) = rest.split_once(&end).with_context(|| missing(&end))?;
    Ok(format!("{before}{begin}\n\n{figures}\n{end}{after}"))
}

/// One run in one line, for the console.
pub(super) fn run_line(run: &Run) -> String {
    format!(
        "round {} {:<5} {:<13} {:>9.0}/s  p50 {:>7}  p99 {:>7}  p999 {:>7}{}",
        run.round,
        run.workload.title(),
        run.system.title(),
        run.per_second,
        latency(run.p50_us),
        latency(run.p99_us),
        latency(run.p999_us),
        if run.retries > 0 { format!("  {} retries", run.retries) } else { String::new() },
    )
}

/// One outage in one line.
pub(super) fn outage_line(outage: &Outage) -> String {
    format!(
        "{}: after SIGKILL of a leader the longest wait of {} writers was {} ms (median {} ms, {} waited over \
         500 ms); {} writes acknowledged, {} unknown, {} lost",
        outage.store,
        outage.writers,
        outage.longest_ms,
        outage.median_ms,
        outage.interrupted,
        outage.acknowledged,
        outage.maybe,
        outage.lost,
    )
}

/// All figures.
pub(super) fn table(report: &Report) -> String {
    let mut text = format!("{}.\n\n", report.facts.words());
    let settings = &report.settings;
    writeln!(
        text,
        "{} connections with one request in flight each, {} keys, values of {} bytes, {} replicas, {} \
         partitions; medians of {} rounds of {} s, with the lowest and highest round.\n",
        settings.connections,
        settings.keys,
        settings.value_bytes,
        settings.replicas,
        settings.partitions,
        settings.rounds,
        settings.seconds,
    )
    .expect(STRINGS);
    text += "| workload | store | requests/s | range | p50 | p99 | p999 | to etcd |\n";
    text += "|---|---|---:|---:|---:|---:|---:|---:|\n";
    let medians = report.medians();
    for ((workload, system), median) in &medians {
        let etcd = medians.get(&(*workload, System::Etcd));
        text += &row(*workload, *system, median, etcd);
    }
    text.push('\n');
    for settled in &report.settled {
        writeln!(
            text,
            "- {}: {} writes acknowledged, {} of unknown outcome, **{} acknowledged but lost**.",
            settled.store, settled.acknowledged, settled.maybe, settled.lost,
        )
        .expect(STRINGS);
    }
    for outage in &report.outages {
        writeln!(text, "- {}.", outage_line(outage)).expect(STRINGS);
    }
    writeln!(text, "- {}.", report.memory.words()).expect(STRINGS);
    text
}

const STRINGS: &str = "strings take everything";

fn row(workload: Workload, system: System, median: &Medians, etcd: Option<&Medians>) -> String {
    let ratio = match etcd {
        Some(etcd) if system != System::Etcd => {
            format!("{:.2}x", median.per_second / etcd.per_second)
        }
        _ => "-".to_owned(),
    };
    format!(
        "| {} | {} | {:.0} | {:.0} to {:.0} | {} | {} | {} | {ratio} |\n",
        workload.title(),
        system.title(),
        median.per_second,
        median.range.0,
        median.range.1,
        latency(median.p50_us),
        latency(median.p99_us),
        latency(median.p999_us),
    )
}

#[expect(clippy::cast_precision_loss, reason = "latencies are far below 2^52 µs")]
fn latency(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..100_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.0} ms", us as f64 / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Facts;
    use super::super::memory::Memory;
    use super::super::report::Settings;
    use super::*;
    use crate::load::report::Settled;

    fn run(system: System, round: u32, per_second: f64) -> Run {
        Run {
            system,
            workload: Workload::Set,
            round,
            operations: 1,
            seconds: 1.0,
            per_second,
            p50_us: 900,
            p99_us: 12_345,
            p999_us: 250_000,
            max_us: 300_000,
            retries: 0,
        }
    }

    fn report() -> Report {
        let flin = [3.0, 9.0, 6.0].map(|n| n * 1_000.0).into_iter().enumerate();
        let runs = flin.map(|(at, n)| run(System::FlinRouted, at as u32 + 1, n));
        Report {
            facts: Facts {
                date: "2026-01-01".into(),
                cores: 2,
                cpu: "a CPU".into(),
                memory_gib: 8,
                kernel: "6.1".into(),
                kubernetes: "v1.36.3".into(),
                machines: 4,
                flin: "0.1.0".into(),
                etcd: Some("etcd:3.6.8".into()),
            },
            settings: Settings {
                seconds: 20,
                rounds: 3,
                connections: 64,
                keys: 10_000,
                value_bytes: 256,
                partitions: 64,
                replicas: 3,
            },
            runs: runs.chain([run(System::Etcd, 1, 5_000.0)]).collect(),
            settled: vec![Settled {
                store: "flin".into(),
                keys: 1,
                acknowledged: 1,
                maybe: 0,
                lost: 0,
                verdict: String::new(),
            }],
            outages: Vec::new(),
            memory: Memory { operator_mib: vec![21.4], idle_node_mib: vec![80.0, 90.6] },
        }
    }

    #[test]
    fn the_table_shows_medians_and_their_ratio() {
        let text = table(&report());
        let row =
            "| SET | Flin, routed | 6000 | 3000 to 9000 | 900 µs | 12.3 ms | 250 ms | 1.20x |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("operator 21 MiB, node 91 MiB"), "{text}");
        assert!(text.contains("**0 acknowledged but lost**"), "{text}");
    }

    #[test]
    fn only_the_marked_part_of_the_page_changes() {
        let part = Part("it");
        let page = "# Title\n<!-- begin: it -->\nold\n<!-- end: it -->\nrest\n";
        let page = insert(page, part, "new\n").expect("markers");
        assert_eq!(page, "# Title\n<!-- begin: it -->\n\nnew\n\n<!-- end: it -->\nrest\n");
        assert_eq!(insert(&page, part, "new\n").expect("markers"), page);
        assert!(insert("# Title\n", part, "new\n").is_err());
    }
}
