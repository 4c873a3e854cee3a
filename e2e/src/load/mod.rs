//! The benchmark's inner half, run in a Job inside the cluster: `flin-e2e load measure` drives Flin and its
//! peers in alternation and counts, `flin-e2e load outage` writes to every partition while a leader dies,
//! `flin-e2e load sustain` reads and writes until it is told that it is enough.

mod ledger;
mod measure;
mod outage;
mod plan;
pub(crate) mod report;
mod store;
mod sustain;

use anyhow::Result;
use clap::Subcommand;

use crate::traffic::note::{self, Note};

/// What the Job does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measures all workloads on all stores, round by round.
    Measure(plan::Options),
    /// Writes to every partition and reports how long that was impossible.
    Outage(outage::Options),
    /// Reads and writes until SIGTERM, reports every second, and checks everything at the end.
    Sustain(sustain::Options),
}

/// Runs one command and prints its reports as notes.
///
/// # Errors
/// When the run could not be completed.
pub(crate) async fn run(command: Command) -> Result<()> {
    let done = match command {
        Command::Measure(options) => plan::run(options).await,
        Command::Outage(options) => outage::run(options).await,
        Command::Sustain(options) => sustain::run(options).await,
    };
    match &done {
        Ok(()) => note::print(&Note::Finished {}),
        Err(error) => note::print(&Note::Problem { text: format!("{error:#}") }),
    }
    done
}
