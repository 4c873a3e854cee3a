//! The benchmark: Flin in the kind cluster, under load from a Job beside it, with peers run the same way in
//! the same run; then a change of scale under load. The results go to JSON files and into the page
//! `docs/BENCHMARKS.md`.

mod document;
mod facts;
mod memory;
mod peer;
mod report;
mod scale;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use serde_json::json;

use self::document::Part;
use self::report::{Report, Settings};
use crate::harness::{FlinCluster, Kubernetes, Output, Space, with_namespace};
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
    /// Only this part.
    #[arg(long, value_enum)]
    only: Option<Subject>,
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
    /// How many keys there are while the number of nodes changes.
    #[arg(long, default_value_t = 100_000)]
    scale_keys: u32,
    /// Where the figures about requests go, as JSON; those of a change of scale go to `scale.json` beside.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The page whose marked part shows the figures; left alone when it is not there.
    #[arg(long, default_value = "docs/BENCHMARKS.md")]
    page: PathBuf,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Requests, the loss of a leader, and memory at rest.
    Requests,
    /// More nodes and fewer under load.
    Scale,
}

/// A store beside Flin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// Three members of etcd.
    Etcd,
}

/// Measures, prints the tables and writes the files.
///
/// # Errors
/// When something could not be measured, or an acknowledged write was lost.
pub(crate) async fn run(kubernetes: &Kubernetes, options: &Options) -> Result<()> {
    if options.only != Some(Subject::Scale) {
        requests(kubernetes, options).await?;
    }
    if options.only != Some(Subject::Requests) {
        let report = scale::measure(kubernetes, options.scale_keys).await?;
        let out = options.out.as_ref().map(|out| out.with_file_name("scale.json"));
        let figures = scale::figures(&report);
        write(&report, out.as_deref(), (&*options.page, scale::PART), &figures)?;
    }
    Ok(())
}

async fn requests(kubernetes: &Kubernetes, options: &Options) -> Result<()> {
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
    let (page, figures) = ((&*options.page, document::REQUESTS), document::table(&report));
    write(&report, options.out.as_deref(), page, &figures)?;
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
    let mut job = cluster.space.start_job(cluster.job("measure", args), patience).await?;
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
    let options = cluster.job(&format!("outage-{store}"), args);
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

/// Shows the figures, and puts them into a file and into their part of the page.
fn write(
    report: &impl Serialize,
    out: Option<&Path>,
    (page, part): (&Path, Part),
    figures: &str,
) -> Result<()> {
    println!("\n{figures}");
    if let Some(out) = out {
        if let Some(folder) = out.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("make {}", folder.display()))?;
        }
        let json = serde_json::to_string_pretty(report)? + "\n";
        std::fs::write(out, json).with_context(|| format!("write {}", out.display()))?;
        println!("figures: {}", out.display());
    }
    if page.exists() {
        let text = std::fs::read_to_string(page);
        let text = text.with_context(|| format!("read {}", page.display()))?;
        let text = document::insert(&text, part, figures)?;
        std::fs::write(page, text).with_context(|| format!("write {}", page.display()))?;
        println!("table: {}", page.display());
    }
    Ok(())
}
