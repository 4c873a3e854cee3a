//! Black-box tests and benchmarks of Flin in a real kind cluster.
//!
//! The same binary is the harness outside the cluster (`smoke`, `run`, `bench`) and, in the image
//! `flin-e2e`, the traffic inside it (`traffic`, `load`).

mod bench;
mod client;
mod harness;
mod load;
mod scenario;
mod smoke;
mod traffic;
mod trial;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::harness::Kubernetes;

/// Black-box tests and benchmarks of Flin in a real kind cluster.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Where the cluster is, for the commands outside it.
#[derive(Debug, Args)]
struct Place {
    /// The context in the kubeconfig.
    #[arg(long, global = true, default_value = "kind-flin")]
    context: String,
    /// The image that Jobs inside the cluster run: this program.
    #[arg(long, global = true, default_value = concat!("flin-e2e:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// Keep the namespaces of scenarios that fail.
    #[arg(long, global = true)]
    keep: bool,
}

impl Place {
    async fn connect(self) -> Result<Kubernetes> {
        Kubernetes::connect(&self.context, self.image, self.keep).await
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes and reads a key of the demo cluster from outside.
    Smoke(smoke::Options),
    /// Runs the scenarios.
    Run(scenario::Options),
    /// Measures Flin, and peers beside it, in the cluster.
    Bench(bench::Options),
    /// Recorded traffic; runs in a pod inside the cluster.
    #[command(subcommand)]
    Traffic(traffic::Command),
    /// The benchmark's inner half; runs in a Job inside the cluster.
    #[command(subcommand)]
    Load(load::Command),
}

// One thread: the cores belong to the cluster under test.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flin-e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Cli { place, command }: Cli) -> Result<()> {
    match command {
        Command::Smoke(options) => smoke::run(place.connect(), options).await,
        Command::Run(options) if options.is_list() => {
            scenario::list();
            Ok(())
        }
        Command::Run(options) => scenario::run(&place.connect().await?, &options).await,
        Command::Bench(options) => bench::run(&place.connect().await?, &options).await,
        Command::Traffic(command) => traffic::run(command).await,
        Command::Load(command) => load::run(command).await,
    }
}
