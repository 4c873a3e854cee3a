//! One measured run: so many workers, each with one request in flight, for so long.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ledger::{Ledger, Seen};
use super::report::{Run, System, Workload};
use super::store::{Addresses, Put, Store};
use crate::client::Topology;
use crate::traffic::Tagged;

/// Latencies are counted from 1 µs to this, with three digits.
const LATENCY_MAX_US: u64 = 120_000_000;
/// How long to wait after a failed attempt.
const PAUSE: Duration = Duration::from_millis(20);
/// Attempts of one request until the run is given up.
const ATTEMPTS_MAX: u32 = 500;

/// What every run of a benchmark shares.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    pub(super) keys: u32,
    pub(super) value_bytes: usize,
    pub(super) connections: u32,
    /// How long each run is measured.
    pub(super) seconds: u64,
    /// How long each run warms up before.
    pub(super) warmup_seconds: u64,
}

/// A store with the ledgers of everything ever written to it, one per worker.
pub(super) struct Driver {
    addresses: Arc<Addresses>,
    shape: Shape,
    ledgers: Vec<Ledger>,
}

/// One worker of one run.
pub(super) struct Worker {
    pub(super) system: System,
    pub(super) store: Store,
    pub(super) ledger: Ledger,
    pub(super) shape: Shape,
    pub(super) random: SmallRng,
    latencies: Histogram<u64>,
    pub(super) retries: u64,
}

impl Driver {
    pub(super) fn new(addresses: Arc<Addresses>, shape: Shape) -> Self {
        let workers = shape.connections.max(1);
        let share = |worker| {
            Ledger::of((worker..shape.keys).step_by(workers as usize).map(|k| format!("bench:{k}")))
        };
        let ledgers = (0..workers).map(share).collect();
        Self { addresses, shape, ledgers }
    }

    /// Writes every key once, unmeasured, so that reads find something.
    pub(super) async fn fill(&mut self, system: System) -> Result<()> {
        let work = |mut worker: Worker| async move {
            for at in 0..worker.ledger.len() {
                worker.write(at).await?;
            }
            Ok(worker)
        };
        self.on_all_workers(|_| system, 0, work).await.map(drop)
    }

    /// Measures one run.
    pub(super) async fn measure(
        &mut self,
        system: System,
        workload: Workload,
        round: u32,
    ) -> Result<Run> {
        let begin = Instant::now() + Duration::from_secs(self.shape.warmup_seconds);
        let end = begin + Duration::from_secs(self.shape.seconds);
        let work = move |mut worker: Worker| async move {
            worker.work(workload, begin, end).await?;
            Ok(worker)
        };
        let workers = self.on_all_workers(|_| system, u64::from(round), work).await?;
        let seconds = Instant::now().duration_since(begin).as_secs_f64();
        let mut latencies = histogram();
        let mut retries = 0;
        for (histogram, repeated) in workers {
            latencies.add(histogram).context("histograms of one range add up")?;
            retries += repeated;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let per_second = latencies.len() as f64 / seconds;
        Ok(Run {
            system,
            workload,
            round,
            operations: latencies.len(),
            seconds,
            per_second,
            p50_us: latencies.value_at_quantile(0.5),
            p99_us: latencies.value_at_quantile(0.99),
            p999_us: latencies.value_at_quantile(0.999),
            max_us: latencies.max(),
            retries,
        })
    }

    /// Reads every key and gives up the ledgers.
    pub(super) async fn read_all(mut self, system: System) -> Result<(Vec<Ledger>, Vec<Seen>)> {
        let topology = Arc::new(Topology::default());
        let mut seen = Vec::new();
        let mut reading = JoinSet::new();
        for (at, ledger) in self.ledgers.iter().enumerate() {
            let opened = self.addresses.open(system, at, &topology).await;
            let mut store = opened.map_err(|why| anyhow!(why))?;
            let keys: Vec<_> = (0..ledger.len()).map(|at| ledger.key(at).to_owned()).collect();
            reading.spawn(async move {
                let mut seen = Vec::new();
                for key in keys {
                    let value = read(&mut store, &key, &mut 0).await?;
                    seen.push(Seen { key, value });
                }
                Ok::<_, anyhow::Error>(seen)
            });
        }
        for part in reading.join_all().await {
            seen.extend(part?);
        }
        Ok((std::mem::take(&mut self.ledgers), seen))
    }

    /// Gives each worker a connection and its ledger, runs them at once, and takes the ledgers back. `system`
    /// says what a worker connects to.
    pub(super) async fn on_all_workers<F, W>(
        &mut self,
        system: impl Fn(usize) -> System,
        seed: u64,
        work: F,
    ) -> Result<Vec<(Histogram<u64>, u64)>>
    where
        F: Fn(Worker) -> W,
        W: Future<Output = Result<Worker>> + Send + 'static,
    {
        let topology = Arc::new(Topology::default());
        let mut workers = JoinSet::new();
        for (at, ledger) in std::mem::take(&mut self.ledgers).into_iter().enumerate() {
            let system = system(at);
            let opened = self.addresses.open(system, at, &topology).await;
            let worker = Worker {
                system,
                store: opened.map_err(|why| anyhow!(why))?,
                ledger,
                shape: self.shape.clone(),
                random: SmallRng::seed_from_u64(seed << 32 | at as u64),
                latencies: histogram(),
                retries: 0,
            };
            workers.spawn(work(worker));
        }
        let mut counted = Vec::new();
        for worker in workers.join_all().await {
            let worker = worker?;
            self.ledgers.push(worker.ledger);
            counted.push((worker.latencies, worker.retries));
        }
        Ok(counted)
    }
}

impl Worker {
    async fn work(&mut self, workload: Workload, begin: Instant, end: Instant) -> Result<()> {
        loop {
            let started = Instant::now();
            if started >= end {
                return Ok(());
            }
            if self.random.random_range(0..100) < workload.writes_percent() {
                let at = self.random.random_range(0..self.ledger.len());
                self.write(at).await?;
            } else {
                let key = format!("bench:{}", self.random.random_range(0..self.shape.keys));
                let found = read(&mut self.store, &key, &mut self.retries).await?;
                found.with_context(|| format!("{key} is absent, though every key was written"))?;
            }
            if started >= begin {
                let us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.latencies.saturating_record(us);
            }
        }
    }

    /// Writes a new version of a key until one is acknowledged.
    pub(super) async fn write(&mut self, at: usize) -> Result<()> {
        let mut last = String::new();
        for _ in 0..ATTEMPTS_MAX {
            let (key, version, tag) = self.ledger.next(at);
            let value = Tagged::expand(&tag, self.shape.value_bytes);
            match self.store.put(key, &value).await {
                Put::Acknowledged => {
                    self.ledger.acknowledge(at, version);
                    return Ok(());
                }
                Put::NotDone(why) => last = why,
                Put::Maybe(why) => {
                    self.ledger.doubt(at, version);
                    last = why;
                }
            }
            self.retries += 1;
            tokio::time::sleep(PAUSE).await;
        }
        Err(anyhow!("{} was not written in {ATTEMPTS_MAX} attempts: {last}", self.ledger.key(at)))
    }
}

/// Reads a key until there is an answer.
pub(super) async fn read(
    store: &mut Store,
    key: &str,
    retries: &mut u64,
) -> Result<Option<Vec<u8>>> {
    let mut last = String::new();
    for _ in 0..ATTEMPTS_MAX {
        match store.get(key).await {
            Ok(found) => return Ok(found),
            Err(why) => last = why,
        }
        *retries += 1;
        tokio::time::sleep(PAUSE).await;
    }
    Err(anyhow!("{key} was not read in {ATTEMPTS_MAX} attempts: {last}"))
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("the bounds are in order")
}
