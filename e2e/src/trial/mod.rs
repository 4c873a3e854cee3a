//! A cluster on trial: clients of two kinds read and write without a break and check what they see, somebody
//! compares the status with the facts, and meanwhile something is done to the cluster.

mod minimum;
mod phase;
mod sent;

use std::cell::RefCell;
use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

pub(crate) use phase::{Impact, Phase, mib};

use crate::harness::{
    FlinCluster, Job, Output, Seen, Sight, View, Watch, WatchOptions, await_condition,
};
use crate::load::report::{Second, Settled};
use crate::traffic::{Line, Note};

/// How long the load may run, its beginning and its end included.
const LOAD_MAX: Duration = Duration::from_secs(2_400);
/// How long the load's report may lag behind.
const REPORT_LAG: Duration = Duration::from_secs(30);

/// The load and the watch.
#[derive(Debug, Clone)]
pub(crate) struct TrialOptions {
    pub(crate) keys: u32,
    pub(crate) value_bytes: u32,
    /// Connections, half of them of each kind.
    pub(crate) connections: u32,
    /// How long each rests between two requests, milliseconds.
    pub(crate) think_ms: u32,
    /// How many partitions the cluster has.
    pub(crate) partitions: u32,
    /// How often each partition is probed, milliseconds.
    pub(crate) probe_ms: u64,
    /// The machine that the clients run on; any when absent.
    pub(crate) machine: Option<String>,
}

impl TrialOptions {
    /// A load that leaves the processors time for what is tried.
    pub(crate) fn modest(keys: u32, partitions: u32) -> Self {
        Self {
            keys,
            value_bytes: 1_024,
            connections: 16,
            think_ms: 40,
            partitions,
            probe_ms: 1_000,
            machine: None,
        }
    }
}

/// A cluster under load, watched.
pub(crate) struct Trial {
    pub(crate) cluster: FlinCluster,
    pub(crate) view: View,
    seconds: RefCell<Vec<Second>>,
    load_pod: String,
    partitions: u32,
}

/// Runs `body` while the cluster is under load and watched; then ends the load, which reads everything back.
///
/// # Errors
/// Those of `body`; that something is there which no node of the cluster needs; the first lie of the status; a read that saw what it must not; an acknowledged write that
/// was not there at the end.
pub(crate) async fn on_trial<T>(
    cluster: &FlinCluster,
    options: &TrialOptions,
    body: impl AsyncFnOnce(&Trial) -> Result<T>,
) -> Result<(T, Settled)> {
    let mut load = start_load(cluster, options).await.context("start the load")?;
    let steady = |note: &Note| matches!(note, Note::Steady { .. });
    load.until(&mut Output::default(), steady).await.context("write every key once")?;
    let watching = WatchOptions {
        partitions: options.partitions,
        probe_ms: options.probe_ms,
        machine: options.machine.clone(),
    };
    let watch = Watch::start(cluster, &watching).await?;
    let trial = Trial {
        cluster: cluster.clone(),
        view: View::new(),
        seconds: RefCell::default(),
        load_pod: load.pod.clone(),
        partitions: options.partitions,
    };
    let work = async {
        let first = |sight: &Sight| sight.cluster().is_some() && !sight.object.is_null();
        trial.view.until("the cluster is seen", REPORT_LAG, first).await?;
        let value = body(&trial).await?;
        trial.left_nothing_behind().await?;
        let load = cluster.pod(&trial.load_pod).await?;
        cluster.space.terminate(&load).await?;
        Ok(value)
    };
    let work = async {
        let done = futures::try_join!(work, collect(load, &trial.seconds));
        done.map_err(|error| error.context(format!("at that moment: {}", trial.view.now().words())))
    };
    let watched = async {
        let ended: Result<Infallible> = watch.run(&trial.view).await;
        ended.map(|never| match never {})
    };
    let (value, settled) = tokio::select! {
        done = work => done?,
        lied = watched => return lied,
    };
    ensure!(settled.lost == 0, "{}", settled.verdict);
    Ok((value, settled))
}

async fn start_load(cluster: &FlinCluster, options: &TrialOptions) -> Result<Job> {
    let mut args = vec!["load".to_owned(), "sustain".to_owned()];
    args.extend(["--target".to_owned(), cluster.address()]);
    for (name, value) in [
        ("--keys", options.keys),
        ("--value-bytes", options.value_bytes),
        ("--connections", options.connections),
        ("--think-ms", options.think_ms),
    ] {
        args.extend([name.to_owned(), value.to_string()]);
    }
    let mut job = cluster.job("load", args);
    job.machine.clone_from(&options.machine);
    cluster.space.start_job(job, LOAD_MAX).await
}

/// Follows the load to its end.
async fn collect(mut load: Job, seconds: &RefCell<Vec<Second>>) -> Result<Settled> {
    let mut settled = None;
    while let Some(line) = load.next().await? {
        match line {
            Line::Note(Note::Second(second)) => seconds.borrow_mut().push(second),
            Line::Note(Note::Settled(verdict)) => settled = Some(verdict),
            Line::Note(Note::Finished {}) => return settled.context("the load judged nothing"),
            Line::Note(Note::Problem { text }) => bail!("the load: {text}"),
            Line::Other(text) => eprintln!("    load: {text}"),
            Line::Note(_) | Line::Record(_) => {}
        }
    }
    bail!("the load ended without finishing")
}

impl Trial {
    /// What the load went through between two moments, in microseconds since 1970, once it has told so.
    ///
    /// # Errors
    /// When the load tells nothing more.
    pub(crate) async fn impact(&self, from_us: u64, to_us: u64) -> Result<Impact> {
        await_condition("the load tells how it went", REPORT_LAG, async || {
            let last = self.seconds.borrow().last().map_or(0, |second| second.at_us);
            Ok(Seen::when(
                last >= to_us,
                format!("{} s are missing", to_us.saturating_sub(last) / 1_000_000),
            ))
        })
        .await?;
        Ok(Impact::of(&self.seconds.borrow(), from_us, to_us))
    }

    /// Checks that each of the pods was made anew once since [`View::forget_pods`], and no two at the same time.
    ///
    /// # Errors
    /// When it was otherwise.
    pub(crate) fn restarted_once(&self, nodes: u32) -> Result<()> {
        let pods = self.view.pods();
        ensure!(pods.uids.len() == nodes as usize, "there were other pods: {:?}", pods.uids);
        let once = pods.uids.values().all(|uids| uids.len() == 2);
        ensure!(once, "every pod is to be made anew once; uids by name: {:?}", pods.uids);
        ensure!(pods.missing_max == 1, "{} pods were away at the same time", pods.missing_max);
        Ok(())
    }
}

/// The verdict about a load in a few words.
pub(crate) fn words(settled: &Settled) -> String {
    let Settled { acknowledged, maybe, lost, .. } = settled;
    format!("{acknowledged} writes acknowledged, {maybe} unknown, {lost} lost")
}
