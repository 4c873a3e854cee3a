//! Everything one benchmark found: the JSON of `--out`.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::memory::Memory;
use crate::load::report::{Outage, Run, Settled, System, Workload};

/// A benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) facts: Facts,
    pub(crate) settings: Settings,
    pub(crate) runs: Vec<Run>,
    pub(crate) settled: Vec<Settled>,
    pub(crate) outages: Vec<Outage>,
    pub(crate) memory: Memory,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) seconds: u64,
    pub(crate) rounds: u32,
    pub(crate) connections: u32,
    pub(crate) keys: u32,
    pub(crate) value_bytes: u32,
    pub(crate) partitions: u32,
    pub(crate) replicas: u32,
}

/// The medians over the rounds of one workload on one system.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Medians {
    pub(super) per_second: f64,
    /// The lowest and the highest round.
    pub(super) range: (f64, f64),
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) p999_us: u64,
    pub(super) retries: u64,
}

impl Report {
    /// The medians by workload and system.
    pub(super) fn medians(&self) -> BTreeMap<(Workload, System), Medians> {
        let mut rounds = BTreeMap::<_, Vec<&Run>>::new();
        for run in &self.runs {
            rounds.entry((run.workload, run.system)).or_default().push(run);
        }
        rounds.into_iter().map(|(of, runs)| (of, Medians::of(&runs))).collect()
    }

    /// Whether every acknowledged write was there at the end.
    ///
    /// # Errors
    /// When one was not.
    pub(super) fn ensure_nothing_lost(&self) -> Result<()> {
        for settled in &self.settled {
            ensure!(settled.lost == 0, "{}: {}", settled.store, settled.verdict);
        }
        for outage in &self.outages {
            ensure!(outage.lost == 0, "{} lost {} keys with its leader", outage.store, outage.lost);
        }
        Ok(())
    }
}

impl Medians {
    /// The medians of at least one run.
    fn of(runs: &[&Run]) -> Self {
        let mut per_second: Vec<f64> = runs.iter().map(|run| run.per_second).collect();
        per_second.sort_by(f64::total_cmp);
        let middle = |of: fn(&Run) -> u64| {
            let mut values: Vec<u64> = runs.iter().map(|run| of(run)).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        Self {
            per_second: per_second[per_second.len() / 2],
            range: (per_second[0], per_second[per_second.len() - 1]),
            p50_us: middle(|run| run.p50_us),
            p99_us: middle(|run| run.p99_us),
            p999_us: middle(|run| run.p999_us),
            retries: runs.iter().map(|run| run.retries).sum(),
        }
    }
}
