//! How long writes are impossible when a leader dies: one writer per partition, each as fast as it can, and
//! the longest wait between two of its acknowledgements.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ledger::{Ledger, Seen};
use super::plan::StoreOptions;
use super::report::{Outage, System};
use super::store::{Addresses, Put, Store};
use crate::client::{Topology, keys_of_partitions};
use crate::traffic::Tagged;
use crate::traffic::note::{self, Note};

/// How long to wait after a failed attempt: the resolution of the measurement.
const PAUSE: Duration = Duration::from_millis(10);
/// How long writes run undisturbed before the note that says so.
const UNDISTURBED: Duration = Duration::from_secs(2);
/// A wait this long is an interruption, not a slow write.
const INTERRUPTION: Duration = Duration::from_millis(500);
const VALUE_BYTES: usize = 256;

/// Options of `load outage`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    stores: StoreOptions,
    /// Which store.
    #[arg(long, value_enum, default_value = "flin")]
    store: Which,
    /// How many partitions the cluster has; for etcd, how many writers there are.
    #[arg(long, default_value_t = 64)]
    partitions: u16,
    /// How long writes run.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Flin,
    Etcd,
}

/// Writes, and prints a note when the fault may come and one with the waits.
///
/// # Errors
/// When a writer does not recover by the end.
pub(super) async fn run(options: Options) -> Result<()> {
    let addresses = Arc::new(options.stores.addresses());
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let topology = Arc::new(Topology::default());
    let mut writers = JoinSet::new();
    for (at, key) in keys_of_partitions("outage:", options.partitions).into_iter().enumerate() {
        let store = open(&addresses, options.store, at, &topology).await?;
        writers.spawn(write_until(store, Ledger::of(std::iter::once(key)), end));
    }
    let leader = match options.store {
        Which::Flin => None,
        Which::Etcd => Some(leader(&addresses.etcd).await?),
    };
    tokio::time::sleep(UNDISTURBED).await;
    note::print(&Note::Steady { leader });
    let (mut ledgers, mut waits) = (Vec::new(), Vec::new());
    for done in writers.join_all().await {
        let (ledger, longest) = done?;
        ledgers.push(ledger);
        waits.push(longest);
    }
    waits.sort_unstable();
    let longest = *waits.last().context("there is at least one writer")?;
    let mut reader = open(&addresses, options.store, 0, &topology).await?;
    let verdict = Ledger::judge(&ledgers, read_back(&mut reader, &ledgers).await?, VALUE_BYTES);
    note::print(&Note::Outage(Outage {
        store: format!("{:?}", options.store).to_lowercase(),
        writers: u32::try_from(waits.len()).unwrap_or(u32::MAX),
        longest_ms: ms(longest),
        median_ms: ms(waits[waits.len() / 2]),
        interrupted: u32::try_from(waits.iter().filter(|wait| **wait > INTERRUPTION).count())?,
        acknowledged: ledgers.iter().map(|ledger| ledger.acknowledged).sum(),
        maybe: ledgers.iter().map(|ledger| ledger.maybe).sum(),
        lost: verdict.map_err(|why| anyhow!(why))?.findings.len() as u64,
    }));
    Ok(())
}

async fn open(
    addresses: &Addresses,
    which: Which,
    writer: usize,
    topology: &Arc<Topology>,
) -> Result<Store> {
    let opened = match which {
        Which::Flin => addresses.open(System::FlinRouted, writer, topology).await,
        // All members, so that a dead one is gone around; each writer begins with another.
        Which::Etcd => {
            let mut members = addresses.etcd.clone();
            let turns = writer % members.len().max(1);
            members.rotate_left(turns);
            addresses.open_etcd(&members).await
        }
    };
    opened.map_err(|why| anyhow!(why))
}

/// Writes one key without a break; returns the longest time between two acknowledgements.
async fn write_until(
    mut store: Store,
    mut ledger: Ledger,
    end: Instant,
) -> Result<(Ledger, Duration)> {
    let mut longest = Duration::ZERO;
    let mut last = None;
    let give_up = end + Duration::from_secs(30);
    loop {
        let (key, version, tag) = ledger.next(0);
        let told = store.put(key, &Tagged::expand(&tag, VALUE_BYTES)).await;
        let now = Instant::now();
        let why = match told {
            Put::Acknowledged => {
                ledger.acknowledge(0, version);
                // The first answer includes connecting and is no measure of anything.
                longest = last.map_or(longest, |last| longest.max(now.duration_since(last)));
                last = Some(now);
                if now >= end {
                    return Ok((ledger, longest));
                }
                continue;
            }
            Put::NotDone(why) => why,
            Put::Maybe(why) => {
                ledger.doubt(0, version);
                why
            }
        };
        if now >= give_up {
            return Err(anyhow!("{} cannot be written any more: {why}", ledger.key(0)));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read_back(store: &mut Store, ledgers: &[Ledger]) -> Result<Vec<Seen>> {
    let mut seen = Vec::new();
    for ledger in ledgers {
        let key = ledger.key(0).to_owned();
        let mut attempts = 0;
        let value = loop {
            match store.get(&key).await {
                Ok(value) => break value,
                Err(why) if attempts > 500 => return Err(anyhow!("{key} cannot be read: {why}")),
                Err(_) => attempts += 1,
            }
            tokio::time::sleep(PAUSE).await;
        };
        seen.push(Seen { key, value });
    }
    Ok(seen)
}

/// The host name of the member that leads.
async fn leader(members: &[String]) -> Result<String> {
    for member in members {
        let mut client = etcd_client::Client::connect([member], None).await?;
        let status = client.status().await?;
        if status.header().is_some_and(|header| header.member_id() == status.leader()) {
            return Ok(member.clone());
        }
    }
    Err(anyhow!("none of {members:?} leads"))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
