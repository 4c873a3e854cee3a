//! `cargo xtask fuzz`: decoders fed with all that a fuzzer can think of, and asked to keep their promises.
//!
//! The targets are in `fuzz/`, a package outside of the workspace, because everything below them is compiled
//! with the counters that guide the fuzzer. That needs neither nightly Rust nor cargo-fuzz: the flags are those
//! that cargo-fuzz passes for a build without a sanitizer, and `libfuzzer-sys` brings libFuzzer.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cargo::cargo_without_rocksdb;
use crate::libtest::Tests;
use crate::progress::{Progress, Step};
use crate::shell::{run, tail_of_file};
use crate::workspace::Workspace;

/// What rustc is told, so that libFuzzer sees which branches an input takes and what was compared with what.
const RUSTFLAGS: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "--cfg=fuzzing",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

/// The targets that bring the types of Kubernetes along, which take longer to compile than all else here: a
/// usual test leaves them out.
const KUBERNETES: [&str; 1] = ["flincluster"];

/// An input that takes longer than this is as bad as one that panics.
const INPUT_SECONDS_MAX: u32 = 10;
/// The memory that a target may take in all.
const TARGET_MEBIBYTES_MAX: u32 = 1024;
/// How long a target may take beyond its time, for the committed inputs and to end.
const GRACE: Duration = Duration::from_secs(120);

/// What to fuzz, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this target, one of the files in fuzz/fuzz_targets
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 10)]
    seconds: u32,
}

pub(crate) fn fuzz(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let progress = Progress::start(workspace);
    let mut chosen = targets(workspace)?;
    if let Some(only) = &options.target {
        let all = chosen.join(", ");
        chosen.retain(|target| target == only);
        if chosen.is_empty() {
            bail!("no target is called `{only}`; there are: {all}");
        }
    }
    let folder = progress.step("fuzz targets", |step| build(workspace, step, &chosen))?;
    let runs = side_by_side(&chosen, |target| {
        progress.step(target, |step| {
            let found = run_target(workspace, &folder, target, options.seconds, step.log())?;
            step.note(found.told());
            Ok(())
        })
    });
    let failed = runs.iter().filter(|(_, run)| run.is_err()).count();
    for (_, run) in &runs {
        if let Err(error) = run {
            println!("\n{error}");
        }
    }
    println!("\nfuzz: {} targets, {failed} failed", runs.len());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the targets, `all` or those that are compiled soon, over their committed inputs and for `seconds` more.
/// Each counts as a test.
pub(crate) fn stage(workspace: &Workspace, step: &Step, all: bool, seconds: u32) -> Result<Tests> {
    let mut chosen = targets(workspace)?;
    chosen.retain(|target| all || !KUBERNETES.contains(&target.as_str()));
    let folder = build(workspace, step, &chosen)?;
    let runs = side_by_side(&chosen, |target| {
        run_target(workspace, &folder, target, seconds, &workspace.log(&format!("fuzz-{target}")))
    });
    let mut tests = Tests { programs: runs.len(), ..Tests::default() };
    for (target, run) in runs {
        match run {
            Ok(_) => tests.passed += 1,
            Err(error) => {
                println!("{error}");
                tests.failed += 1;
                tests.failures.push(format!("fuzz::{target}"));
            }
        }
    }
    Ok(tests)
}

/// The names of all targets.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.root.join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Builds targets, and returns the folder that they are in.
fn build(workspace: &Workspace, step: &Step, chosen: &[String]) -> Result<PathBuf> {
    let host = host()?;
    let target = workspace.cache.join("fuzz-target");
    // Only with a named target are build scripts and macros compiled without the counters, which they could
    // not be linked with.
    let mut cargo = cargo_without_rocksdb(workspace)
        .dir(workspace.root.join("fuzz"))
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1F"))
        .args(["build", "--release", "--target", &host]);
    for name in chosen {
        cargo = cargo.args(["--bin", name]);
    }
    if chosen.iter().any(|target| KUBERNETES.contains(&target.as_str())) {
        cargo = cargo.args(["--features", "kubernetes"]);
    }
    cargo.logged(step.log())?;
    Ok(target.join(host).join("release"))
}

/// The platform that rustc compiles for by itself.
fn host() -> Result<String> {
    let said = run("rustc").arg("-vV").output()?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}

/// Does `act` for all targets, as many at a time as there are processors.
fn side_by_side<T: Send>(targets: &[String], act: impl Fn(&str) -> T + Sync) -> Vec<(String, T)> {
    let lanes = std::thread::available_parallelism().map_or(1, usize::from);
    let (waiting, done) = (Mutex::new(targets.iter()), Mutex::new(Vec::new()));
    let next = || waiting.lock().ok()?.next();
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while let Some(target) = next() {
                    let result = act(target);
                    if let Ok(mut done) = done.lock() {
                        done.push((target.clone(), result));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by(|one: &(String, T), other| one.0.cmp(&other.0));
    done
}

/// Runs one target over its inputs, and on from them for `seconds`.
fn run_target(
    workspace: &Workspace,
    folder: &Path,
    target: &str,
    seconds: u32,
    log: &Path,
) -> Result<Found> {
    let (program, own) = (folder.join(target), workspace.root.join("fuzz"));
    let kept = workspace.cache.join("fuzz").join(target);
    std::fs::create_dir_all(&kept).with_context(|| format!("make {}", kept.display()))?;
    std::fs::remove_file(log).ok();
    let mut fuzzer = run(&program)
        // What is new goes into the first folder; the others are only read.
        .arg(&kept)
        .timeout(Duration::from_secs(seconds.into()) + GRACE);
    for folder in ["corpus", "crashes"].map(|name| own.join(name).join(target)) {
        if folder.is_dir() {
            fuzzer = fuzzer.arg(folder);
        }
    }
    let dictionary = own.join("dictionaries").join(format!("{target}.dict"));
    if dictionary.is_file() {
        fuzzer = fuzzer.arg(format!("-dict={}", dictionary.display()));
    }
    let artifacts = workspace.cache.join("fuzz").join(format!("{target}-"));
    let status = fuzzer
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={TARGET_MEBIBYTES_MAX}"))
        .arg(format!("-artifact_prefix={}", artifacts.display()))
        .arg("-print_final_stats=1")
        .env("RUST_BACKTRACE", "1")
        .status_logged(log)?;
    let said = std::fs::read(log).with_context(|| format!("read {}", log.display()))?;
    let said = String::from_utf8_lossy(&said);
    if status.success() {
        return Ok(Found::read(&said));
    }
    let Some(input) = found_input(&said) else {
        bail!("{target} ended with {status}; the end of {}:\n{}", log.display(), tail_of_file(log));
    };
    let kept = keep(&own, target, input)?;
    bail!(
        "{target}: {}\n  the input is {}\n  once more: {} {}",
        reason(&said),
        kept.display(),
        program.display(),
        kept.display()
    )
}

/// Puts an input that a target failed on beside the target, to be committed with what mends it.
fn keep(own: &Path, target: &str, input: &Path) -> Result<PathBuf> {
    let folder = own.join("crashes").join(target);
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let name = input.file_name().unwrap_or_default().to_string_lossy();
    let kept = folder.join(name.trim_start_matches(&format!("{target}-")));
    std::fs::copy(input, &kept).with_context(|| format!("copy {}", input.display()))?;
    Ok(kept)
}

/// What libFuzzer tells at its end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// How many inputs were run.
    runs: u64,
    /// How many places of the program were reached.
    coverage: u64,
    /// How many inputs reached something new.
    inputs: u64,
}

impl Found {
    fn read(said: &str) -> Self {
        let number = |text: &str| text.split_whitespace().next()?.parse().ok();
        let last = |mark: &str| {
            let line = said.lines().rev().find_map(|line| line.split_once(mark));
            line.and_then(|(_, rest)| number(rest)).unwrap_or_default()
        };
        Self {
            runs: last("stat::number_of_executed_units:"),
            coverage: last(" cov: "),
            inputs: last("stat::new_units_added:"),
        }
    }

    fn told(&self) -> String {
        let Self { runs, coverage, inputs } = self;
        format!("{runs} runs, coverage {coverage}, {inputs} new inputs")
    }
}

/// Where libFuzzer wrote the input that made it stop.
fn found_input(said: &str) -> Option<&Path> {
    let line = said.lines().rev().find_map(|line| line.split_once("Test unit written to "));
    line.map(|(_, path)| Path::new(path.trim()))
}

/// Why it stopped: the words of the panic, or those of libFuzzer.
fn reason(said: &str) -> String {
    let panic = said.lines().skip_while(|line| !line.contains(" panicked at "));
    let panic: Vec<&str> =
        panic.take_while(|line| !line.starts_with("stack backtrace")).take(8).collect();
    if !panic.is_empty() {
        return panic.join("\n  ");
    }
    let error = said.lines().find(|line| line.contains("ERROR: ") || line.contains("ALARM: "));
    error.unwrap_or("it ended badly").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED: &str = "\
INFO: Seed: 1\n#2\tINITED cov: 100 ft: 120 corp: 1/1b exec/s: 0 rss: 30Mb\n\
#4096\tDONE   cov: 456 ft: 789 corp: 12/345b lim: 4096 exec/s: 1000 rss: 40Mb\n\
Done 4096 runs in 5 second(s)\nstat::number_of_executed_units: 4096\n\
stat::new_units_added:          3\n";

    const CRASHED: &str = "\
thread '<unnamed>' (7) panicked at fuzz_targets/key.rs:1:1:\nattempt to add with overflow\n\
stack backtrace:\n   0: x\n==7== ERROR: libFuzzer: deadly signal\n\
artifact_prefix='/c/key-'; Test unit written to /c/key-crash-0a1b\nBase64: AA==\n";

    #[test]
    fn figures_of_a_run_are_those_of_its_end() {
        let found = Found::read(ENDED);
        assert_eq!(found, Found { runs: 4096, coverage: 456, inputs: 3 });
        assert_eq!(found.told(), "4096 runs, coverage 456, 3 new inputs");
        assert_eq!(found_input(ENDED), None);
    }

    #[test]
    fn crash_is_told_with_its_input_and_its_reason() {
        assert_eq!(found_input(CRASHED), Some(Path::new("/c/key-crash-0a1b")));
        let reason = reason(CRASHED);
        assert!(reason.ends_with("attempt to add with overflow"), "{reason}");
    }

    #[test]
    fn every_target_has_committed_inputs() {
        let workspace = Workspace::open().unwrap();
        let targets = targets(&workspace).unwrap();
        assert!(targets.len() > 10);
        for target in targets {
            let folder = workspace.root.join("fuzz/corpus").join(&target);
            assert!(folder.read_dir().is_ok_and(|mut files| files.next().is_some()), "{target}");
        }
    }
}
