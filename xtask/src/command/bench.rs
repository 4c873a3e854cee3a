//! `cargo xtask bench`: Flin measured in the kind cluster, beside others that are run the same way.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::images;
use crate::loaded;
use crate::nodeimage;
use crate::progress::Progress;
use crate::shell::run;
use crate::versions;
use crate::workspace::Workspace;

/// The module that is etcd, in the Go module of the node image.
const ETCD: &str = "go.etcd.io/etcd/server/v3";

/// What to measure, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Measure in the kind cluster (nothing else is there to measure in yet)
    #[arg(long)]
    kind: bool,
    /// Also measure these, in the same run: etcd
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Only this subject; `flin-e2e bench --help` names them
    #[arg(long)]
    only: Option<String>,
    /// Length of each measurement
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// How often everything is measured, in alternation
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Where the figures go, as JSON
    #[arg(long, default_value = "docs/benchmarks/kind.json")]
    out: PathBuf,
}

pub(crate) fn bench(workspace: &Workspace, options: Options) -> Result<()> {
    if !options.kind {
        bail!("say where to measure: `cargo xtask bench --kind`");
    }
    if let Some(unknown) = options.peers.iter().find(|peer| *peer != "etcd") {
        bail!("no peer is called `{unknown}`; there is: etcd");
    }
    let progress = Progress::start(workspace);
    super::up::bring_up(workspace, &progress)?;
    run_in(workspace, &progress, &options)
}

/// Measures in a cluster that is up.
pub(crate) fn run_in(workspace: &Workspace, progress: &Progress, options: &Options) -> Result<()> {
    let mut bench = run(workspace.binary("flin-e2e"))
        .dir(&workspace.root)
        .args(["bench", "--kind", "--seconds", &options.seconds.to_string()])
        .args(["--rounds", &options.rounds.to_string(), "--out"])
        .arg(&options.out);
    if let Some(subject) = &options.only {
        bench = bench.args(["--only", subject]);
    }
    if !options.peers.is_empty() {
        load_etcd(workspace, progress)?;
        bench = bench.args(["--peers", "etcd"]);
    }
    println!();
    bench.shown()
}

fn load_etcd(workspace: &Workspace, progress: &Progress) -> Result<()> {
    let name = format!("etcd:{}", versions::go_module(workspace, ETCD)?);
    let binary = progress.step("etcd", |step| nodeimage::ensure_etcd(workspace, step))?;
    progress.step("image etcd", |step| {
        let key = images::build(workspace, step, &[binary], &name, images::peer_config("etcd"))?;
        loaded::load(workspace, step, &[(name.clone(), key)])
    })
}

impl Options {
    /// What the long tests measure.
    pub(crate) fn long() -> Self {
        Self {
            kind: true,
            peers: vec!["etcd".to_owned()],
            only: None,
            seconds: 20,
            rounds: 3,
            out: PathBuf::from("docs/benchmarks/kind.json"),
        }
    }
}
