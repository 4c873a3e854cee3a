//! `cargo xtask`: everything that is done to this repository, from a cluster on a fresh machine to the tests.

mod archive;
mod cargo;
mod chart;
mod cluster;
mod command;
mod docker;
mod flincluster;
mod generated;
mod gotools;
mod images;
mod libtest;
mod loaded;
mod network;
mod nodeimage;
mod packages;
mod porcupine;
mod progress;
mod rocksdb;
mod shell;
mod stages;
mod tidy;
mod versions;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Build Flin, run it, test it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring up a kind cluster with the operator and a Flin cluster in it; again to bring it up to date
    Up(command::up::Options),
    /// Remove all that `up` made
    Down(command::down::Options),
    /// Run the tests, end-to-end ones in the kind cluster included
    Test(command::test::Options),
    /// Run a Flin cluster on loopback, without Kubernetes
    Dev(command::dev::Options),
    /// Measure Flin in the kind cluster
    Bench(command::bench::Options),
    /// Feed every decoder with what a fuzzer can think of
    Fuzz(command::fuzz::Options),
    /// Play whole clusters under faults, each from one seed
    Sim(command::sim::Options),
    /// Check the rules that no compiler checks
    Tidy,
    /// Write the files that are generated: the resource definition, the chart's snapshots
    Generate,
    /// Build the container images
    Images,
}

fn main() -> ExitCode {
    match act(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\n{}", progress::told(&error));
            ExitCode::FAILURE
        }
    }
}

fn act(command: Command) -> Result<ExitCode> {
    let workspace = Workspace::open()?;
    match command {
        Command::Dev(options) => command::dev::dev(&workspace, options).map(|()| ExitCode::SUCCESS),
        Command::Tidy => command::tidy::tidy(&workspace),
        command => {
            let _lock = workspace.lock()?;
            match command {
                Command::Up(options) => {
                    command::up::up(&workspace, options).map(|()| ExitCode::SUCCESS)
                }
                Command::Down(options) => {
                    command::down::down(&workspace, options).map(|()| ExitCode::SUCCESS)
                }
                Command::Test(options) => command::test::test(&workspace, options),
                Command::Bench(options) => {
                    command::bench::bench(&workspace, options).map(|()| ExitCode::SUCCESS)
                }
                Command::Sim(options) => command::sim::sim(&workspace, &options),
                Command::Fuzz(options) => command::fuzz::fuzz(&workspace, &options),
                Command::Generate => {
                    command::generate::generate(&workspace).map(|()| ExitCode::SUCCESS)
                }
                Command::Images => command::images::images(&workspace).map(|()| ExitCode::SUCCESS),
                Command::Dev(_) | Command::Tidy => Ok(ExitCode::SUCCESS),
            }
        }
    }
}
