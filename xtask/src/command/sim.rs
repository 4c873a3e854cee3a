//! `cargo xtask sim`: whole clusters under faults, each from one seed, on all cores.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::test::finished;
use crate::cargo::{build_programs, cargo_without_rocksdb};
use crate::libtest::{self, Tests};
use crate::packages::{self, Purpose};
use crate::progress::{Progress, Step};
use crate::rocksdb;
use crate::shell::{Run, run};
use crate::workspace::Workspace;

/// How a line begins that says which seed noticed a deliberate bug.
const MUTANT: &str = "MUTANT ";

/// Where seeds that failed once are kept.
const RECORDED: &str = "crates/sim/seeds.txt";

/// What to play.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many seeds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first one; without it any
    #[arg(long)]
    from: Option<u64>,
    /// Tell the story of this seed instead, as short as it gets if it fails
    #[arg(long, conflicts_with_all = ["seeds", "from", "out"])]
    story: Option<u64>,
    /// Where the figures go, as JSON
    #[arg(long)]
    out: Option<PathBuf>,
    /// Give the product deliberate bugs instead, one after the other, and see each noticed
    #[arg(long, conflicts_with_all = ["seeds", "from", "out", "story"])]
    mutants: bool,
}

pub(crate) fn sim(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let progress = Progress::start(workspace);
    progress.step("packages", |step| packages::ensure(step, Purpose::Build))?;
    if options.mutants {
        let tests = progress.step("mutants", |step| mutants(workspace, step))?;
        let found = std::fs::read_to_string(workspace.log("mutants")).unwrap_or_default();
        // A test's own line may begin on that of its name.
        let found = found.lines().filter_map(|line| line.split_once(MUTANT));
        found.for_each(|(_, found)| println!("{found}"));
        return Ok(if tests.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    progress.step("RocksDB library", |step| rocksdb::ensure(workspace, step))?;
    progress.step("programs", |step| build_programs(workspace, step))?;
    println!();
    let program = match options.story {
        Some(seed) => program(workspace).args(["story", "--shrink", &seed.to_string()]),
        None => {
            let program = play(workspace, options.seeds);
            let program = match options.from {
                Some(from) => program.args(["--from", &from.to_string()]),
                None => program,
            };
            match &options.out {
                Some(out) => program.arg("--json").arg(out),
                None => program,
            }
        }
    };
    // What failed has told its story.
    Ok(if program.shown().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays every seed that ever failed and `seeds` more that nobody played yet. Each counts as a test.
pub(crate) fn stage(workspace: &Workspace, step: &Step, seeds: u64) -> Result<Tests> {
    let ended = play(workspace, seeds).logged(step.log());
    let said = std::fs::read_to_string(step.log())
        .with_context(|| format!("read {}", step.log().display()))?;
    let tests = count(&said);
    match ended {
        Err(error) if tests.failed == 0 => Err(error),
        Err(_) => {
            println!("{said}");
            Ok(tests)
        }
        Ok(()) => Ok(tests),
    }
}

/// Has the simulation look for every deliberate bug. What has bugs is built in a folder of its own, so that nothing
/// of it is ever linked into what ships.
pub(crate) fn mutants(workspace: &Workspace, step: &Step) -> Result<Tests> {
    let tests = cargo_without_rocksdb(workspace)
        .env("CARGO_TARGET_DIR", workspace.cache.join("mutants-target"))
        .args(["test", "--release", "--package", "flin-sim", "--features", "mutants"])
        .args(["--test", "mutants", "--no-fail-fast", "--", "--nocapture"]);
    finished(tests, step, libtest::read)
}

fn program(workspace: &Workspace) -> Run {
    run(workspace.binary("flin-sim")).dir(&workspace.root)
}

fn play(workspace: &Workspace, seeds: u64) -> Run {
    program(workspace).args(["play", "--recorded", RECORDED, "--seeds", &seeds.to_string()])
}

/// The figures of what the program says at its end.
fn count(said: &str) -> Tests {
    let failures: Vec<String> = said
        .lines()
        .filter_map(|line| line.strip_prefix("seed ")?.split_once(" FAILED"))
        .map(|(seed, _)| format!("sim::seed_{seed}"))
        .collect();
    let seeds = said.lines().find_map(|line| {
        let (seeds, rest) = line.split_once(" seeds, ")?;
        rest.contains(" failed; ").then(|| seeds.parse::<usize>().ok())?
    });
    let failed = failures.len();
    let passed = seeds.unwrap_or_default().saturating_sub(failed);
    Tests { programs: 1, passed, failed, failures, ..Tests::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_count_as_tests() {
        let said = "2 recorded seeds, then 100 from 5 on\nseed 7 FAILED: two leaders\n100 of 102 seeds\n\n\
                    102 seeds, 1 failed; 9 operations checked (0 of unknown outcome) in 3 s of simulated time\n";
        let tests = count(said);
        assert_eq!((tests.passed, tests.failed), (101, 1));
        assert_eq!(tests.failures, ["sim::seed_7"]);
    }
}
