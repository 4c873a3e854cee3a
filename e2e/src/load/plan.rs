//! The order of a benchmark: fill, rounds of all workloads on all systems in alternation, final reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use clap::Args;

use super::ledger::Ledger;
use super::measure::{Driver, Shape};
use super::report::{Settled, System, Workload};
use super::store::Addresses;
use crate::traffic::note::{self, Note};

/// Options of `load measure`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    stores: StoreOptions,
    /// How long each run is measured.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How long each run warms up before.
    #[arg(long, default_value_t = 2)]
    warmup_seconds: u64,
    /// How often everything is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// The size of each value.
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// How many keys.
    #[arg(long, default_value_t = 10_000)]
    keys: u32,
}

/// Where the stores are.
#[derive(Debug, Clone, Args)]
pub(super) struct StoreOptions {
    /// `host:port` of the Service of the Flin cluster, port 6380.
    #[arg(long)]
    target: String,
    /// The clients' password; none when absent.
    #[arg(long, env = "FLIN_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// URLs of the members of etcd, separated by commas.
    #[arg(long, value_delimiter = ',')]
    etcd: Vec<String>,
}

impl StoreOptions {
    /// The stores.
    pub(super) fn addresses(self) -> Addresses {
        let password = self.password.filter(|password| !password.is_empty());
        Addresses { flin: self.target, password, etcd: self.etcd }
    }
}

/// Runs the benchmark and prints a note per run and one per store.
///
/// # Errors
/// When a store stops answering.
pub(super) async fn run(options: Options) -> Result<()> {
    let shape = Shape {
        keys: options.keys,
        value_bytes: options.value_bytes,
        connections: options.connections,
        seconds: options.seconds,
        warmup_seconds: options.warmup_seconds,
    };
    let addresses = Arc::new(options.stores.addresses());
    let systems = addresses.systems();
    let mut drivers = BTreeMap::new();
    for system in &systems {
        let fresh = || Driver::new(Arc::clone(&addresses), shape.clone());
        let store = store(*system);
        if !drivers.contains_key(store) {
            let driver = drivers.entry(store).or_insert_with(fresh);
            driver.fill(*system).await.with_context(|| format!("fill {store}"))?;
        }
    }
    for round in 1..=options.rounds {
        for workload in Workload::ALL {
            for system in order(&systems, round) {
                let driver = drivers.get_mut(store(system)).context("every store has a driver")?;
                let run = driver.measure(system, workload, round).await;
                let run = run.with_context(|| format!("{workload:?} on {system:?}"))?;
                note::print(&Note::Run(run));
            }
        }
    }
    for (store, driver) in drivers {
        let settled = settle(store, driver, shape.value_bytes).await;
        note::print(&Note::Settled(settled.with_context(|| format!("check {store}"))?));
    }
    Ok(())
}

/// Reads everything back and judges it.
pub(super) async fn settle(store: &str, driver: Driver, value_bytes: usize) -> Result<Settled> {
    let system = if store == ETCD { System::Etcd } else { System::FlinProxied };
    let (ledgers, seen) = driver.read_all(system).await?;
    let verdict = Ledger::judge(&ledgers, seen, value_bytes).map_err(|why| anyhow!(why))?;
    Ok(Settled {
        store: store.to_owned(),
        keys: verdict.tally.keys,
        acknowledged: ledgers.iter().map(|ledger| ledger.acknowledged).sum(),
        maybe: ledgers.iter().map(|ledger| ledger.maybe).sum(),
        lost: verdict.findings.len() as u64,
        verdict: verdict.to_string(),
    })
}

/// The name of the store that is Flin.
pub(super) const FLIN: &str = "flin";
const ETCD: &str = "etcd";

/// Both ways to Flin write to the same cluster, hence share a ledger.
fn store(system: System) -> &'static str {
    match system {
        System::FlinRouted | System::FlinProxied => FLIN,
        System::Etcd => ETCD,
    }
}

/// Each round begins with another system, so that none always meets the warmest or the tiredest machine.
fn order(systems: &[System], round: u32) -> Vec<System> {
    let mut order = systems.to_vec();
    let turns = round as usize % order.len().max(1);
    order.rotate_left(turns);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_with_another_system() {
        let systems = [System::FlinRouted, System::FlinProxied, System::Etcd];
        let firsts: Vec<_> = (1..=3).map(|round| order(&systems, round)[0]).collect();
        assert_eq!(firsts, [System::FlinProxied, System::Etcd, System::FlinRouted]);
    }
}
