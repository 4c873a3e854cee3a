//! `flin-sim`: plays seeds on all cores, and tells the story of one that fails.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use flin_sim::plan::{Measure, Plan};
use flin_sim::report::Report;
use flin_sim::run::{Outcome, run};
use flin_sim::shrink::shrink;

/// How many runs may be spent on making a failure smaller.
const SHRINK_RUNS: u32 = 150;
/// A run that goes on after this many failures teaches nothing more.
const FAILURES_MAX: usize = 5;

#[derive(Parser)]
#[command(version, about = "Plays whole Flin clusters under faults, each from one seed")]
struct Options {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Play seeds; exit with 1 if one fails
    Play(Play),
    /// Tell the story of one seed
    Story(Story),
}

#[derive(clap::Args)]
struct Measures {
    /// Operations of clients, per seed
    #[arg(long, default_value_t = Measure::default().operations)]
    operations: u32,
    /// Faults, per seed
    #[arg(long, default_value_t = Measure::default().faults)]
    faults: u32,
}

#[derive(clap::Args)]
struct Play {
    /// How many seeds
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first one; without it any
    #[arg(long)]
    from: Option<u64>,
    /// Play the seeds of this file before, and add those that fail
    #[arg(long)]
    recorded: Option<PathBuf>,
    /// How many to play at a time; without it one per core
    #[arg(long)]
    threads: Option<usize>,
    /// Write the figures to this file, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    measures: Measures,
}

#[derive(clap::Args)]
struct Story {
    /// The seed
    seed: u64,
    /// Make the plan as small as it goes first, if the seed fails
    #[arg(long)]
    shrink: bool,
    /// Also list what was asked of this object
    #[arg(long)]
    history: Option<u32>,
    #[command(flatten)]
    measures: Measures,
}

impl Measures {
    fn measure(&self) -> Measure {
        Measure { operations: self.operations, faults: self.faults }
    }
}

fn main() -> Result<ExitCode> {
    match Options::parse().act {
        Act::Play(options) => play(&options),
        Act::Story(options) => Ok(tell(&options)),
    }
}

fn tell(options: &Story) -> ExitCode {
    let plan = Plan::of(options.seed, options.measures.measure());
    let mut outcome = run(&plan, true);
    if options.shrink && !outcome.violations.is_empty() {
        outcome = shrink(outcome, SHRINK_RUNS);
    }
    print_story(&outcome);
    for operation in outcome.history.iter().filter(|asked| Some(asked.object) == options.history) {
        println!("{operation}");
    }
    ExitCode::from(u8::from(!outcome.violations.is_empty()))
}

fn print_story(outcome: &Outcome) {
    let plan = &outcome.plan;
    println!(
        "seed {}: {} founders on {} machines, {} partitions, {} clients, {} operations, {} keys",
        plan.seed,
        plan.founders,
        plan.machines,
        plan.partitions,
        plan.clients,
        plan.operations,
        plan.keys
    );
    outcome.story.lines().iter().for_each(|line| println!("{line}"));
    println!("fingerprint {:016x}", outcome.story.fingerprint());
}

fn play(options: &Play) -> Result<ExitCode> {
    let measure = options.measures.measure();
    let recorded = options.recorded.as_deref().map(flin_sim::record::read).transpose()?;
    let from = options.from.unwrap_or_else(any_seed);
    let mut seeds = recorded.unwrap_or_default();
    let old = seeds.len();
    seeds.extend(from..from.saturating_add(options.seeds));
    println!("{old} recorded seeds, then {} from {from} on", options.seeds);
    let mut report = Report::new(measure);
    let mut failed = Vec::new();
    let threads = options.threads.unwrap_or_else(cores).min(seeds.len()).max(1);
    let (next, seeds) = (AtomicU64::new(0), &seeds);
    std::thread::scope(|scope| {
        let (done, outcomes) = mpsc::sync_channel(threads);
        for _ in 0..threads {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                while let Some(seed) = take(next, seeds) {
                    if done.send(run(&Plan::of(seed, measure), false)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        for outcome in outcomes {
            report.add(&outcome);
            if !outcome.violations.is_empty() {
                println!("seed {} FAILED: {}", outcome.plan.seed, outcome.violations.join("; "));
                failed.push(outcome.plan.seed);
            }
            if failed.len() >= FAILURES_MAX {
                next.store(u64::MAX, Ordering::Relaxed);
            }
            if report.seeds.is_multiple_of(100) {
                println!("{} of {} seeds", report.seeds, seeds.len());
            }
            let _ = std::io::stdout().flush();
        }
    });
    println!("{report}");
    if let Some(path) = &options.json {
        let json = report.to_json();
        std::fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
    }
    if let Some(path) = &options.recorded {
        flin_sim::record::add(path, &failed)?;
    }
    let Some(first) = failed.first() else { return Ok(ExitCode::SUCCESS) };
    println!("\nthe story of seed {first}, as short as it gets:\n");
    print_story(&shrink(run(&Plan::of(*first, measure), true), SHRINK_RUNS));
    println!("\nthe whole of it: flin-sim story {first}{}", told(measure));
    Ok(ExitCode::FAILURE)
}

/// The options that a story needs besides its seed.
fn told(measure: Measure) -> String {
    let usual = Measure::default();
    let options = BTreeMap::from([
        ("operations", (measure.operations, usual.operations)),
        ("faults", (measure.faults, usual.faults)),
    ]);
    let unusual = options.into_iter().filter(|(_, (value, usual))| value != usual);
    unusual.map(|(name, (value, _))| format!(" --{name} {value}")).collect()
}

fn take(next: &AtomicU64, seeds: &[u64]) -> Option<u64> {
    let at =
        next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| at.checked_add(1)).ok()?;
    seeds.get(usize::try_from(at).ok()?).copied()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A seed that nobody played yet, small enough to be typed.
fn any_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs() * 1_000 % 100_000_000_000)
}
