//! The benchmark: Flin in the kind cluster, under load from a Job beside it, with peers run the same way in
//! the same run. The results go to a JSON file and into the page `docs/BENCHMARKS.md`.

mod document;
mod facts;
mod memory;
mod peer;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use self::report::{Report, Settings};
use crate::harness::{FlinCluster, JobOptions, Kubernetes, Output, Space, with_namespace};
use crate::load::report::{Outage, Workload};
use crate::traffic::{Line, Note};

/// How many partitions the measured cluster has: the default.
const PARTITIONS: u32 = 64;
/// How long writes run while a leader dies.
const OUTAGE_SECONDS: u64 = 20;
/// What a run costs beside its measured time: warm-up, connecting, slack.
const OVERHEAD_SECONDS: u64 = 8;

/// Options of `bench`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Measure in the kind cluster.
    #[arg(long, required = true)]
    kind: bool,
    /// Other stores, measured the same way in the same run.
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// How long each run is measured.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How often everything is measured, in alternation.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// How many keys.
    #[arg(long, default_value_t = 10_000)]
    keys: u32,
    /// Where the figures go, as JSON.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The page whose marked part shows the figures; left alone when it is not there.
    #[arg(long, default_value = "docs/BENCHMARKS.md")]
    page: PathBuf,
}

/// A store beside Flin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// Three members of etcd.
    Etcd,
}

/// Measures, prints the table and writes the files.
///
/// # Errors
/// When something could not be measured, or an acknowledged write was lost.
pub(crate) async fn run(kubernetes: &Kubernetes, options: &Options) -> Result<()> {
    ensure!(options.rounds > 0 && options.seconds > 0, "nothing to measure in no time");
    let with_etcd = options.peers.contains(&Peer::Etcd);
    let facts = facts::read(kubernetes, with_etcd.then(peer::etcd_image).transpose()?).await?;
    println!("{}", facts.words());
    let memory = memory::at_rest(kubernetes).await.context("measure memory at rest")?;
    println!("{}", memory.words());
    let report = with_namespace(kubernetes, "e2e-bench", async |space| {
        let spec = json!({"replicas": 3, "partitions": PARTITIONS, "storage": {"size": "5Gi"}});
        let cluster = FlinCluster::create(space, "bench", spec).await?;
        let etcd = if with_etcd { peer::start_etcd(space).await? } else { Vec::new() };
        cluster.await_available().await?;
        let mut report = Report {
            facts,
            settings: Settings {
                seconds: options.seconds,
                rounds: options.rounds,
                connections: options.connections,
                keys: options.keys,
                value_bytes: 256,
                partitions: PARTITIONS,
                replicas: 3,
            },
            runs: Vec::new(),
            settled: Vec::new(),
            outages: Vec::new(),
            memory,
        };
        measure(&cluster, &etcd, options, &mut report).await.context("measure")?;
        report.outages.push(flin_outage(&cluster).await.context("kill a leading node of Flin")?);
        if with_etcd {
            let outage = etcd_outage(&cluster, &etcd).await.context("kill the leader of etcd")?;
            report.outages.push(outage);
        }
        Ok(report)
    })
    .await?;
    println!("\n{}", document::table(&report));
    write(&report, options)?;
    report.ensure_nothing_lost()
}

async fn measure(
    cluster: &FlinCluster,
    etcd: &[String],
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let systems = if etcd.is_empty() { 2 } else { 3 };
    let runs = u64::from(options.rounds) * systems * Workload::ALL.len() as u64;
    let patience = Duration::from_secs(runs * (options.seconds + OVERHEAD_SECONDS) + 240);
    let mut args = vec!["load".to_owned(), "measure".to_owned()];
    args.extend(stores(cluster, etcd));
    for (name, value) in [
        ("--seconds", options.seconds),
        ("--rounds", u64::from(options.rounds)),
        ("--connections", u64::from(options.connections)),
        ("--keys", u64::from(options.keys)),
    ] {
        args.extend([name.to_owned(), value.to_string()]);
    }
    let mut job = cluster.space.start_job(job("measure", args, cluster), patience).await?;
    while let Some(line) = job.next().await? {
        match line {
            Line::Note(Note::Run(run)) => {
                println!("{}", document::run_line(&run));
                report.runs.push(run);
            }
            Line::Note(Note::Settled(settled)) => {
                println!("{}: {}", settled.store, settled.verdict);
                report.settled.push(settled);
            }
            Line::Note(Note::Finished {}) => return Ok(()),
            Line::Note(Note::Problem { text }) => bail!("{text}"),
            Line::Note(_) | Line::Record(_) => {}
            Line::Other(text) => eprintln!("{text}"),
        }
    }
    bail!("the Job ended without finishing")
}

async fn flin_outage(cluster: &FlinCluster) -> Result<Outage> {
    outage(cluster, "flin", stores(cluster, &[]), async |space, _| {
        let victim = cluster.leading_pod().await?;
        space.sigkill(std::slice::from_ref(&victim)).await
    })
    .await
}

async fn etcd_outage(cluster: &FlinCluster, etcd: &[String]) -> Result<Outage> {
    outage(cluster, "etcd", stores(cluster, etcd), async |space, leader| {
        let leader = leader.context("etcd has a leader")?;
        let name = leader.trim_start_matches("http://").split('.').next().unwrap_or_default();
        let victim = space.api::<Pod>().get(name).await?;
        space.sigkill(std::slice::from_ref(&victim)).await
    })
    .await
}

/// Writes to every partition, kills once that is steady, and returns what the writers saw.
async fn outage(
    cluster: &FlinCluster,
    store: &str,
    stores: Vec<String>,
    kill: impl AsyncFnOnce(&Space, Option<String>) -> Result<()>,
) -> Result<Outage> {
    let mut args = vec!["load".to_owned(), "outage".to_owned()];
    args.extend(stores);
    for (name, value) in [
        ("--store", store.to_owned()),
        ("--partitions", PARTITIONS.to_string()),
        ("--seconds", OUTAGE_SECONDS.to_string()),
    ] {
        args.extend([name.to_owned(), value]);
    }
    let options = job(&format!("outage-{store}"), args, cluster);
    let patience = Duration::from_secs(OUTAGE_SECONDS + 120);
    let mut job = cluster.space.start_job(options, patience).await?;
    let mut output = Output::default();
    let steady = job.until(&mut output, |note| matches!(note, Note::Steady { .. })).await?;
    let leader = match steady {
        Note::Steady { leader } => leader,
        _ => None,
    };
    let (killed, output) = futures::join!(kill(&cluster.space, leader), job.finish_into(output));
    killed?;
    let found = output?.notes.into_iter().find_map(|note| match note {
        Note::Outage(outage) => Some(outage),
        _ => None,
    });
    let outage = found.context("the Job reported no outage")?;
    println!("{}", document::outage_line(&outage));
    Ok(outage)
}

fn stores(cluster: &FlinCluster, etcd: &[String]) -> Vec<String> {
    let mut args = vec!["--target".to_owned(), cluster.address()];
    if !etcd.is_empty() {
        args.extend(["--etcd".to_owned(), etcd.join(",")]);
    }
    args
}

fn job(name: &str, args: Vec<String>, cluster: &FlinCluster) -> JobOptions {
    let password_secret = Some(cluster.secret());
    JobOptions { name: name.to_owned(), args, password_secret, on_machine: None }
}

fn write(report: &Report, options: &Options) -> Result<()> {
    if let Some(out) = &options.out {
        if let Some(folder) = out.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("make {}", folder.display()))?;
        }
        let json = serde_json::to_string_pretty(report)? + "\n";
        std::fs::write(out, json).with_context(|| format!("write {}", out.display()))?;
        println!("figures: {}", out.display());
    }
    if options.page.exists() {
        let page = std::fs::read_to_string(&options.page);
        let page = page.with_context(|| format!("read {}", options.page.display()))?;
        let page = document::insert(&page, report)?;
        std::fs::write(&options.page, page)
            .with_context(|| format!("write {}", options.page.display()))?;
        println!("table: {}", options.page.display());
    }
    Ok(())
}
