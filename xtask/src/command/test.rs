//! `cargo xtask test`: every check there is, in three tiers, ending in one plain line.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::{bench, fuzz, sim, up};
use crate::cargo::{build_programs, cargo, cargo_without_rocksdb};
use crate::chart;
use crate::generated;
use crate::gotools;
use crate::libtest::{self, Tests};
use crate::packages::{self, Purpose};
use crate::porcupine;
use crate::progress::{Progress, Step, told};
use crate::rocksdb;
use crate::shell::{Run, run};
use crate::stages::Stages;
use crate::tidy;
use crate::workspace::Workspace;

/// The packages that need neither RocksDB nor Kubernetes.
const PURE: [&str; 5] = ["flin-state", "flin-replica", "flin-resp", "flin-check", "flin-engine"];

/// How often the long tests go through the scenario of durability.
const SOAK_ROUNDS: usize = 10;

/// How long each fuzz target runs beyond its committed inputs, in a usual test and in a long one.
const FUZZ_SECONDS: [u32; 2] = [5, 60];

/// How many fresh seeds are played, in a usual test and in a long one.
const SIM_SEEDS: [u64; 2] = [150, 5_000];

/// How much to test.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only what needs no RocksDB and no cluster: seconds
    #[arg(long, conflicts_with = "long")]
    fast: bool,
    /// Also the soaks and the benchmarks
    #[arg(long)]
    long: bool,
}

pub(crate) fn test(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let progress = Progress::start(workspace);
    println!("cargo xtask test (logs are in {})", workspace.cache.join("log").display());
    let mut stages = Stages::new(&progress);
    stages.check("format", |step| format(workspace, step));
    stages.check("tidy", |_| tidy::check(&workspace.root));
    if options.fast {
        fast(workspace, &mut stages);
    } else {
        all(workspace, &mut stages, &progress, options.long);
    }
    println!("\n{}", stages.summary("test"));
    Ok(if stages.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What needs neither RocksDB nor a cluster; the libraries below it are compiled with more than Rust all the same.
fn fast(workspace: &Workspace, stages: &mut Stages<'_>) {
    if !stages.check("packages", |step| packages::ensure(step, Purpose::Build)) {
        stages.skip("everything else", "the machine is not ready");
        return;
    }
    stages.tests("pure tests", |step| {
        let tests =
            cargo_without_rocksdb(workspace).args(["test", "--release", "--no-default-features"]);
        counted(tests.args(PURE.iter().flat_map(|name| ["--package", name])), step)
    });
    stages.tests("xtask tests", |step| own_tests(workspace, step));
}

fn all(workspace: &Workspace, stages: &mut Stages<'_>, progress: &Progress, long: bool) {
    let ready = stages.check("packages", |step| packages::ensure(step, Purpose::Test))
        && stages.check("RocksDB library", |step| rocksdb::ensure(workspace, step));
    if !ready {
        stages.skip("everything else", "the machine is not ready");
        return;
    }
    stages.check("clippy", |step| clippy(workspace, step));
    stages.tests("workspace tests", |step| {
        let tests =
            cargo(workspace)?.args(["test", "--release", "--workspace", "--exclude", "xtask"]);
        counted(tests, step)
    });
    stages.tests("xtask tests", |step| own_tests(workspace, step));
    let seconds = FUZZ_SECONDS[usize::from(long)];
    stages.tests("simulation", |step| {
        build_programs(workspace, step)?;
        sim::stage(workspace, step, SIM_SEEDS[usize::from(long)])
    });
    stages.tests("porcupine", |step| porcupine::compare(workspace, step));
    stages.tests("mutants", |step| sim::mutants(workspace, step));
    stages.tests("fuzz", |step| fuzz::stage(workspace, step, long, seconds));
    stages.check("generated files", |step| generated::compare(workspace, step));
    if stages.check("helm", |step| gotools::ensure_helm(workspace, step)) {
        stages.check("helm lint", |step| chart::lint(workspace, step));
        stages.check("chart snapshots", |_| chart::compare_snapshots(workspace));
    } else {
        stages.skip("chart", "helm is missing");
    }
    if !stages.group("up", || up::bring_up(workspace, progress)) {
        stages.skip("scenarios", "there is no cluster to run them in");
        return;
    }
    let tier = if long { "long" } else { "default" };
    stages.tests("scenarios", |step| scenarios(workspace, step, &["--tier", tier]));
    if long {
        stages.tests("soak", |step| soak(workspace, step));
        stages.group("benchmarks", || bench::run_in(workspace, progress, &bench::Options::long()));
    }
}

fn format(workspace: &Workspace, step: &Step) -> Result<()> {
    run("cargo").dir(&workspace.root).args(["fmt", "--all", "--check"]).logged(step.log())?;
    // The fuzz targets are a workspace of their own.
    run("cargo").dir(workspace.root.join("fuzz")).args(["fmt", "--check"]).logged(step.log())
}

fn clippy(workspace: &Workspace, step: &Step) -> Result<()> {
    cargo(workspace)?
        .args(["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"])
        .logged(step.log())
}

/// The tests of this program, in the profile that it is built in.
fn own_tests(workspace: &Workspace, step: &Step) -> Result<Tests> {
    counted(cargo_without_rocksdb(workspace).args(["test", "--package", "xtask"]), step)
}

fn scenarios(workspace: &Workspace, step: &Step, which: &[&str]) -> Result<Tests> {
    let run = run(workspace.binary("flin-e2e")).dir(&workspace.root).arg("run").args(which);
    finished(run, step, libtest::read_scenarios)
}

/// The story that matters most, so often that what happens rarely happens.
fn soak(workspace: &Workspace, step: &Step) -> Result<Tests> {
    let mut all = Tests::default();
    for _ in 0..SOAK_ROUNDS {
        std::fs::remove_file(step.log()).ok();
        let tests = scenarios(workspace, step, &["--scenario", "durability"])?;
        all += &tests;
        if tests.failed > 0 {
            break;
        }
    }
    Ok(all)
}

/// Runs tests of cargo to the end, whatever fails, and counts them.
fn counted(tests: Run, step: &Step) -> Result<Tests> {
    finished(tests.arg("--no-fail-fast"), step, libtest::read)
}

pub(super) fn finished(tests: Run, step: &Step, read: fn(&str) -> Tests) -> Result<Tests> {
    let ended = tests.logged(step.log());
    let log =
        std::fs::read(step.log()).with_context(|| format!("read {}", step.log().display()))?;
    let log = String::from_utf8_lossy(&log);
    let counts = read(&log);
    // Failed tests end the program badly too; with none, something else went wrong.
    match ended {
        Err(error) if counts.failed == 0 => Err(error),
        // The names of the failed tests are told by the caller; what they said is told here.
        Err(error) => {
            let said = libtest::said_by_failures(&log);
            println!("{}", if said.is_empty() { told(&error) } else { said });
            Ok(counts)
        }
        Ok(()) => Ok(counts),
    }
}
