//! `flin-node dev`: a whole cluster on one machine, for trying things out.
//!
//! Every node is a process of its own with its own data directory, as it would be elsewhere; this module
//! only writes the bootstrap file ([`plan`]), starts and watches them ([`children`]) and does what the
//! operator does in Kubernetes ([`forming`]). There is no password and no secret, and it says so.

mod children;
mod forming;
mod plan;

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::bootstrap::BootstrapError;
use children::Children;
use plan::Plan;

/// The most nodes that are started on one machine.
pub const NODES_MAX: u16 = 9;
/// The distance between the ports of one node and those of the next.
pub const PORTS_PER_NODE: u16 = 10;

/// How long the nodes may take to form a cluster, or to be ready again.
const START_TIME: Duration = Duration::from_secs(60);

/// What `flin-node dev` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct DevOptions {
    /// How many nodes; with three or more every key has three replicas, with fewer one
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    pub nodes: u16,
    /// The directory for the data and logs of all nodes
    #[arg(long, value_name = "PATH", default_value = "./flin-data")]
    pub data: PathBuf,
    /// The RESP port of the first node; it also takes the next four, and every further node begins ten
    /// higher
    #[arg(long, value_name = "PORT", default_value_t = 6380, value_parser = clap::value_parser!(u16).range(1..))]
    pub base_port: u16,
    /// How many partitions a new cluster gets
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub partitions: Option<u16>,
    /// Flags of `flin-node server` for every node, behind `--`
    #[arg(last = true, value_name = "FLAG")]
    pub server_flags: Vec<String>,
}

/// Why the cluster on this machine ended, other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The ports do not fit.
    #[error(
        "{nodes} nodes from port {base_port} on need ports up to {last}, and the last is 65535; \
         choose a lower --base-port"
    )]
    Ports {
        /// How many nodes.
        nodes: u16,
        /// The first port.
        base_port: u16,
        /// The last port.
        last: u32,
    },
    /// The directory holds a cluster of another shape.
    #[error(
        "{path} describes another cluster ({found}); start it with the same --nodes, --base-port and \
         --partitions, or choose another --data"
    )]
    OtherCluster {
        /// Its bootstrap file.
        path: PathBuf,
        /// What it describes.
        found: String,
    },
    /// The directory is taken.
    #[error("another `flin-node dev` runs in {path}; stop it, or choose another --data")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The bootstrap file that is there cannot be used.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The machine refused something.
    #[error("{act}")]
    Io {
        /// What was attempted.
        act: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A node ended although nobody told it to.
    #[error("{name} ended by itself ({status}); {log} ends with:\n{tail}")]
    NodeEnded {
        /// The node.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The last lines of its log.
        tail: String,
    },
    /// The nodes run and are not ready.
    #[error("not ready within {} s: {waiting_for}; the logs are in {logs}", START_TIME.as_secs())]
    NotInTime {
        /// What was still missing.
        waiting_for: String,
        /// Where the logs are.
        logs: PathBuf,
    },
}

impl DevError {
    fn io(act: impl Into<String>) -> impl FnOnce(io::Error) -> DevError {
        let act = act.into();
        move |source| DevError::Io { act, source }
    }
}

/// Runs the cluster until Ctrl-C or SIGTERM, then stops every node in order.
///
/// # Errors
/// [`DevError`]; no node is left running.
pub async fn run(options: DevOptions) -> Result<(), DevError> {
    let program = std::env::current_exe().map_err(DevError::io("find this program"))?;
    let (stop, stopped) = mpsc::channel(2);
    let mut terminate = signal(SignalKind::terminate()).map_err(DevError::io("await SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DevError::io("await SIGINT"))?;
    let signals = async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            let _ = stop.send(()).await;
        }
    };
    tokio::select! {
        result = conduct(program, &options, stopped) => result,
        () = signals => Ok(()),
    }
}

/// [`run`], with the program to start and the wish to stop as parameters. A second wish makes it short.
async fn conduct(
    program: PathBuf,
    options: &DevOptions,
    mut stop: mpsc::Receiver<()>,
) -> Result<(), DevError> {
    let plan = Plan::make(options)?;
    println!(
        "Starting {} on this machine, WITHOUT a password or secret: whoever can reach the ports of \
         127.0.0.1 may do everything.",
        plural(plan.nodes.len(), "node")
    );
    let mut children = Children::start(&program, &plan)?;
    let outcome = tokio::select! {
        outcome = watch(&plan, &mut children) => outcome,
        _ = stop.recv() => Ok(()),
    };
    if let Err(DevError::NodeEnded { name, status, .. }) = &outcome
        && children.running() > 0
    {
        println!("{name} ended by itself ({status}): the others are stopped.");
    }
    children.stop(&mut stop).await;
    outcome
}

/// Brings the cluster up and watches it until every node has ended.
async fn watch(plan: &Plan, children: &mut Children) -> Result<(), DevError> {
    let ready = tokio::select! {
        ready = tokio::time::timeout(START_TIME, forming::bring_up(plan)) => ready,
        ended = children.ended() => return Err(ended),
    };
    match ready {
        Ok(formed) => formed?,
        Err(_) => {
            let waiting_for = forming::what_is_missing(plan).await;
            return Err(DevError::NotInTime { waiting_for, logs: plan.data.clone() });
        }
    }
    println!("{}", plan.how_to_reach());
    loop {
        let ended = children.ended().await;
        if children.running() == 0 {
            return Err(ended);
        }
        println!("{ended}\n{} left; nothing is restarted.", plural(children.running(), "node"));
    }
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("{count} {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests;
