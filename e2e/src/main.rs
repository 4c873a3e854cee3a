//! Black-box tests and benchmarks of Flin in a real kind cluster.
//!
//! The same binary is the harness outside the cluster (`smoke`, `run`, `bench`) and, in the image
//! `flin-e2e`, the traffic inside it (`traffic`, `load`).

mod client;
mod load;
mod traffic;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Black-box tests and benchmarks of Flin in a real kind cluster.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Recorded traffic; runs in a pod inside the cluster.
    #[command(subcommand)]
    Traffic(traffic::Command),
    /// The benchmark's inner half; runs in a Job inside the cluster.
    #[command(subcommand)]
    Load(load::Command),
}

// One thread: the cores belong to the cluster under test.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Traffic(command) => traffic::run(command).await,
        Command::Load(command) => load::run(command).await,
    }
}
