//! Traffic inside the cluster whose every operation is recorded: `flin-e2e traffic write` and
//! `traffic read` run in a pod next to the cluster under test and print what happened as lines, which the
//! harness outside collects and hands to the checker.

pub(crate) mod note;
mod read;
pub(crate) mod recorder;
mod route;
pub(crate) mod signal;
mod value;
pub(crate) mod watch;
mod write;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

pub(crate) use note::{Line, Note};
pub(crate) use value::Tagged;

use crate::client::{Mode, Target};

/// What the pod does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes keys until each is acknowledged, recording every attempt.
    Write(Options),
    /// Reads every key once, trying until it is answered.
    Read(Options),
    /// Routes itself by the cluster's topology, with a Redis Cluster client and by hand.
    Route(Options),
    /// Signals the processes of one pod. Needs the process namespace of the machine.
    Signal(signal::Options),
    /// Asks and probes the cluster without end, and says what it finds.
    Watch(watch::Options),
}

/// What all recorded traffic is told: where it goes, and with which keys.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    keys: KeyOptions,
}

/// Where traffic goes.
#[derive(Debug, Clone, Args)]
pub(crate) struct TargetOptions {
    /// `host:port` of the client Service, port 6380.
    #[arg(long)]
    pub(crate) target: String,
    /// The clients' password; none when absent.
    #[arg(long, env = "FLIN_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// How requests find their node.
    #[arg(long, value_enum, default_value = "plain")]
    mode: Mode,
    /// How long a request may go unanswered before its outcome counts as unknown.
    #[arg(long, default_value_t = 3_000)]
    patience_ms: u64,
}

impl TargetOptions {
    /// The target with the mode that was asked for.
    pub(crate) fn target(&self) -> Arc<Target> {
        self.in_mode(self.mode)
    }

    /// The target in another mode.
    pub(crate) fn in_mode(&self, mode: Mode) -> Arc<Target> {
        Arc::new(Target {
            address: self.target.clone(),
            password: self.password.clone().filter(|password| !password.is_empty()),
            mode,
            patience: Duration::from_millis(self.patience_ms),
        })
    }
}

/// Which keys, and what they hold. Writers and readers of one history are given the same.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeyOptions {
    /// How many keys.
    #[arg(long, default_value_t = 50_000)]
    pub(crate) keys: u32,
    /// What the keys begin with.
    #[arg(long, default_value = "k")]
    pub(crate) prefix: String,
    /// The size of each value.
    #[arg(long, default_value_t = 256)]
    pub(crate) value_bytes: usize,
    /// How many connections share the keys.
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: u32,
    /// How long the whole run may take.
    #[arg(long, default_value_t = 240)]
    pub(crate) seconds_max: u64,
    /// The moment from which times are counted, in microseconds since 1970; the same for all pods of one
    /// history.
    #[arg(long, default_value_t = 0)]
    pub(crate) epoch_us: u64,
}

impl KeyOptions {
    /// The name of a key.
    pub(crate) fn name(&self, key: u32) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The keys that belong to one connection.
    pub(crate) fn share(&self, connection: u32) -> impl Iterator<Item = u32> + use<> {
        (connection..self.keys).step_by(self.connections.max(1) as usize)
    }
}

/// Runs one command and prints what it records.
///
/// # Errors
/// When the run could not be completed; what was recorded until then is printed all the same.
pub(crate) async fn run(command: Command) -> Result<()> {
    let done = match command {
        Command::Write(options) => write::run(options).await,
        Command::Read(options) => read::run(options).await,
        Command::Route(options) => route::run(options).await,
        Command::Signal(options) => signal::run(&options),
        Command::Watch(options) => watch::run(&options).await,
    };
    if let Err(error) = done {
        note::print(&Note::Problem { text: format!("{error:#}") });
        bail!(error);
    }
    note::print(&Note::Finished {});
    Ok(())
}
