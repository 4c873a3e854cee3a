//! What a user does with Flin, seen to work in a real cluster, one after the other.

mod bad_input;
mod bad_scale;
mod control_plane_away;
mod doors;
mod durability;
mod install;
mod interrupted_install;
mod invalid_specs;
mod no_room;
mod operator_steps;
mod quorum_lost;
mod recreate;
mod replication_factor;
mod rollout;
mod scale;
mod scale_faults;
mod topology;
mod volume_lost;
mod worker_drained;
mod worker_stopped;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::time::{Instant, timeout};

use crate::harness::{Kubernetes, await_all_removed};

/// How long one scenario may take, whatever it waits for inside.
const SCENARIO_MAX: Duration = Duration::from_secs(900);

/// Options of `run`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this scenario, of whichever tier; may be given several times.
    #[arg(long)]
    scenario: Vec<String>,
    /// How much time there is.
    #[arg(long, value_enum, default_value = "default")]
    tier: Tier,
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

/// When a scenario runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Tier {
    /// Always: within a quarter of an hour all together.
    Default,
    /// Also what takes long or switches machines off.
    Long,
}

impl Tier {
    /// How long nothing may be written in a time of rest.
    fn rest(self) -> Duration {
        match self {
            Self::Default => Duration::from_secs(60),
            Self::Long => Duration::from_secs(120),
        }
    }
}

/// A scenario.
struct Scenario {
    name: &'static str,
    tier: Tier,
    about: &'static str,
    run: for<'a> fn(&'a Kubernetes) -> LocalBoxFuture<'a, Result<String>>,
}

/// All of them, in the order in which they run: the demo cluster first, while nothing else is going on.
const SCENARIOS: [Scenario; 20] = [
    Scenario {
        name: "install",
        tier: Tier::Default,
        about: "the demo cluster is what its spec says, and at rest nothing is written",
        run: |kubernetes| install::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "doors",
        tier: Tier::Default,
        about: "any client from outside is served for every key; a wrong password is refused",
        run: |kubernetes| doors::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "bad-input",
        tier: Tier::Default,
        about: "nonsense gets a clear error and the node stays up",
        run: |kubernetes| bad_input::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "invalid-specs",
        tier: Tier::Default,
        about: "a FlinCluster that breaks a rule is refused with the reason",
        run: |kubernetes| invalid_specs::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "topology",
        tier: Tier::Default,
        about: "a Redis Cluster client inside the cluster routes itself",
        run: |kubernetes| topology::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "durability",
        tier: Tier::Default,
        about: "50,000 acknowledged keys survive a leader's kill under load and a kill of all nodes",
        run: |kubernetes| durability::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "scale",
        tier: Tier::Default,
        about: "3 -> 5 -> 3 -> 4 -> 3 nodes under load: nothing lost, in balance, no more moved than needed",
        run: |kubernetes| scale::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "scale-faults",
        tier: Tier::Default,
        about: "operator and nodes die and wishes are reversed while replicas move; the end is the same",
        run: |kubernetes| scale_faults::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "bad-scale",
        tier: Tier::Default,
        about: "numbers of nodes that break a rule are refused; two wishes in a second are one",
        run: |kubernetes| bad_scale::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "no-room",
        tier: Tier::Default,
        about: "more replicas than the disks hold are refused with numbers; a node without a machine is awaited",
        run: |kubernetes| no_room::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "rollout",
        tier: Tier::Default,
        about: "a change restarts one pod at a time under load; a bad image stops at the first",
        run: |kubernetes| rollout::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "replication-factor",
        tier: Tier::Default,
        about: "1 -> 3 -> 1 replicas of each partition under load",
        run: |kubernetes| replication_factor::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "volume-lost",
        tier: Tier::Default,
        about: "a node whose volume is deleted comes back as a new one and is filled again",
        run: |kubernetes| volume_lost::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "recreate",
        tier: Tier::Default,
        about: "a cluster made anew finds the old data, waits, and adopts it when told to",
        run: |kubernetes| recreate::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "quorum-lost",
        tier: Tier::Default,
        about: "two of three volumes are lost: it stands still until told, goes on, and keeps every key",
        run: |kubernetes| quorum_lost::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "interrupted-install",
        tier: Tier::Default,
        about: "an operator killed while installing leaves one whole cluster",
        run: |kubernetes| interrupted_install::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "operator-steps",
        tier: Tier::Long,
        about: "the operator ends at every boundary between two of its steps; the next one goes on",
        run: |kubernetes| operator_steps::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "control-plane-away",
        tier: Tier::Long,
        about: "Kubernetes itself is away for a minute while replicas move; clients and moves go on",
        run: |kubernetes| control_plane_away::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "worker-drained",
        tier: Tier::Long,
        about: "a machine is drained: one node goes, no second one may, and it comes back",
        run: |kubernetes| worker_drained::run(kubernetes).boxed_local(),
    },
    Scenario {
        name: "worker-stopped",
        tier: Tier::Long,
        about: "a machine is switched off for good: its replicas and then its node are made anew elsewhere",
        run: |kubernetes| worker_stopped::run(kubernetes).boxed_local(),
    },
];

/// Prints the scenarios.
pub(crate) fn list() {
    for scenario in &SCENARIOS {
        let tier = if scenario.tier == Tier::Long { " (tier long)" } else { "" };
        println!("{:<20} {}{tier}", scenario.name, scenario.about);
    }
}

/// Runs the chosen scenarios, all by default, one after the other, and says how each went.
///
/// # Errors
/// When one failed, after all have run.
pub(crate) async fn run(kubernetes: &Kubernetes, options: &Options) -> Result<()> {
    let begin = Instant::now();
    let kubernetes = &Kubernetes { rest: options.tier.rest(), ..kubernetes.clone() };
    let chosen = chosen(&options.scenario, options.tier)?;
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

fn chosen(names: &[String], tier: Tier) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().filter(|scenario| scenario.tier <= tier).collect());
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
