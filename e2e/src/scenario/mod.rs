//! What a user does with Flin, seen to work in a real cluster, one after the other.

mod bad_input;
mod doors;
mod durability;
mod install;
mod interrupted_install;
mod invalid_specs;
mod recreate;
mod scale;
mod topology;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::time::{Instant, timeout};

use crate::harness::{Kubernetes, await_all_removed};

/// How long one scenario may take, whatever it waits for inside.
const SCENARIO_MAX: Duration = Duration::from_secs(420);

/// Options of `run`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this scenario; may be given several times.
    #[arg(long)]
    scenario: Vec<String>,
    /// Lists the scenarios and does nothing.
    #[arg(long)]
    list: bool,
}

impl Options {
    /// Whether only the list is asked for, which needs no cluster.
    pub(crate) fn is_list(&self) -> bool {
        self.list
    }
}

/// A scenario.
struct Scenario {
    name: &'static str,
    about: &'static str,
    run: for<'a> fn(&'a Kubernetes) -> LocalBoxFuture<'a, Result<String>>,
}

/// All of them, in the order in which they run: the demo cluster first, while nothing else is going on.
const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "install",
        about: "the demo cluster is what its spec says, and at rest nothing is written",
        run: |kubernetes| install::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "doors",
        about: "any client from outside is served for every key; a wrong password is refused",
        run: |kubernetes| doors::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "bad-input",
        about: "nonsense gets a clear error and the node stays up",
        run: |kubernetes| bad_input::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "invalid-specs",
        about: "a FlinCluster that breaks a rule is refused with the reason",
        run: |kubernetes| invalid_specs::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "topology",
        about: "a Redis Cluster client inside the cluster routes itself",
        run: |kubernetes| topology::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "durability",
        about: "50,000 acknowledged keys survive a leader's kill under load and a kill of all nodes",
        run: |kubernetes| durability::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "scale",
        about: "a changed replica count is refused in the status, and nothing happens",
        run: |kubernetes| scale::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "recreate",
        about: "a cluster made anew finds the old data, waits, and adopts it when told to",
        run: |kubernetes| recreate::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "interrupted-install",
        about: "an operator killed while installing leaves one whole cluster",
        run: |kubernetes| interrupted_install::run(kubernetes).boxed_local(),
    },
];

/// Prints the scenarios.
pub(crate) fn list() {
    for scenario in &SCENARIOS {
        println!("{:<20} {}", scenario.name, scenario.about);
    }
}

/// Runs the chosen scenarios, all by default, one after the other, and says how each went.
///
/// # Errors
/// When one failed, after all have run.
pub(crate) async fn run(kubernetes: &Kubernetes, options: &Options) -> Result<()> {
    let begin = Instant::now();
    let chosen = chosen(&options.scenario)?;
    let mut failed = Vec::new();
    for scenario in &chosen {
        let begin = Instant::now();
        let result = timeout(SCENARIO_MAX, (scenario.run)(kubernetes)).await;
        let result = result.unwrap_or_else(|_| Err(anyhow::anyhow!("it never ended")));
        let seconds = begin.elapsed().as_secs_f64();
        match result {
            Ok(told) => println!("ok      {:<20} {seconds:6.1} s  {told}", scenario.name),
            Err(error) => {
                println!("FAILED  {:<20} {seconds:6.1} s  {}", scenario.name, scenario.about);
                println!("{}", indented(&format!("{error:?}")));
                failed.push(scenario.name);
            }
        }
    }
    if !kubernetes.keep
        && let Err(error) = await_all_removed(kubernetes).await
    {
        println!("FAILED  clean up\n{}", indented(&format!("{error:?}")));
        failed.push("clean up");
    }
    let (all, seconds) = (chosen.len(), begin.elapsed().as_secs());
    if failed.is_empty() {
        println!("{all} scenarios passed in {seconds} s");
        return Ok(());
    }
    bail!("{} of {all} scenarios failed in {seconds} s: {}", failed.len(), failed.join(", "))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    let find = |name: &String| SCENARIOS.iter().find(|scenario| scenario.name == name);
    match names.iter().find(|name| find(name).is_none()) {
        Some(unknown) => bail!("there is no scenario {unknown}; see `flin-e2e run --list`"),
        None => Ok(names.iter().filter_map(find).collect()),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("        {line}")).collect::<Vec<_>>().join("\n")
}
