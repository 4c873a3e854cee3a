//! Load without an end of its own, while something happens to the cluster: half of the clients route
//! themselves, half know only the Service. Each checks what it reads, and all is read again at the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use rand::Rng;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::measure::{Driver, Shape, Worker, read};
use super::plan::{FLIN, StoreOptions, settle};
use super::report::{Second, System};
use crate::traffic::note::{self, Note};
use crate::traffic::recorder::unix_us;

/// How many of a hundred requests are writes.
const WRITES_PERCENT: u32 = 80;
/// How long each line of the report speaks of.
const SECOND: Duration = Duration::from_secs(1);

/// Options of `load sustain`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    stores: StoreOptions,
    /// How many keys.
    #[arg(long, default_value_t = 10_000)]
    keys: u32,
    /// The size of each value.
    #[arg(long, default_value_t = 1_024)]
    value_bytes: usize,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 16)]
    connections: u32,
    /// How long each connection rests between two requests.
    #[arg(long, default_value_t = 20)]
    think_ms: u64,
    /// When nobody says that it is enough, it ends here.
    #[arg(long, default_value_t = 1_800)]
    seconds_max: u64,
}

/// Writes every key, says so, goes on until it is told, reads every key and judges.
///
/// # Errors
/// When a request was not answered after many attempts, or a read saw what it must not.
pub(super) async fn run(options: Options) -> Result<()> {
    let mut enough = signal(SignalKind::terminate())?;
    let value_bytes = options.value_bytes;
    let shape = Shape {
        keys: options.keys,
        value_bytes,
        connections: options.connections,
        ..Shape::default()
    };
    let mut driver = Driver::new(Arc::new(options.stores.addresses()), shape);
    driver.fill(System::FlinRouted).await?;
    note::print(&Note::Steady { leader: None });
    let (meter, stop) = (Arc::new(Meter::default()), Arc::new(AtomicBool::new(false)));
    let think = Duration::from_millis(options.think_ms);
    let work = |mut worker: Worker| {
        let (meter, stop) = (Arc::clone(&meter), Arc::clone(&stop));
        async move {
            let mut without = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                without = request(&mut worker, &meter, without).await?;
                sleep(think).await;
            }
            Ok(worker)
        }
    };
    let told = async {
        tokio::select! {
            _ = enough.recv() => {}
            () = sleep(Duration::from_secs(options.seconds_max)) => {}
        }
        stop.store(true, Ordering::Relaxed);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        done = driver.on_all_workers(system, 0, work) => done?,
        () = meter.tell() => unreachable!("the report has no end"),
        () = told => unreachable!("it waits for the workers to end"),
    };
    let settled = settle(FLIN, driver, value_bytes).await?;
    let problem = (settled.lost > 0).then(|| settled.verdict.clone());
    note::print(&Note::Settled(settled));
    match problem {
        Some(verdict) => bail!("acknowledged writes are lost or altered: {verdict}"),
        None => Ok(()),
    }
}

/// Every other client routes itself.
fn system(worker: usize) -> System {
    if worker.is_multiple_of(2) { System::FlinRouted } else { System::FlinProxied }
}

/// One request about a key of the worker's own, until it is answered. The worker has spent `without` on requests
/// since its last write was acknowledged; returns for how long it has now.
async fn request(worker: &mut Worker, meter: &Meter, without: Duration) -> Result<Duration> {
    let at = worker.random.random_range(0..worker.ledger.len());
    let writes = worker.random.random_range(0..100) < WRITES_PERCENT;
    let (begin, retries) = (meter.begin(worker.system, without), worker.retries);
    if writes {
        worker.write(at).await?;
    } else {
        let key = worker.ledger.key(at).to_owned();
        let found = read(&mut worker.store, &key, &mut worker.retries).await?;
        let fit = worker.ledger.expect(at, found.as_deref(), worker.shape.value_bytes);
        fit.map_err(|why| anyhow!("a read saw what it must not: {why}"))?;
    }
    let without = meter.end(begin, writes, worker.retries - retries);
    Ok(if writes { Duration::ZERO } else { without })
}

/// Counts the requests of each second.
#[derive(Default)]
struct Meter {
    second: Mutex<Second>,
    /// What is in flight, by its number, and since when its worker is without an acknowledgement: rests between
    /// requests are left out.
    waiting: Mutex<BTreeMap<u64, (System, Instant)>>,
    next: AtomicU64,
}

impl Meter {
    /// A request begins of a worker that has spent `without` since its last acknowledgement; returns its number.
    fn begin(&self, system: System, without: Duration) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let since = now.checked_sub(without).unwrap_or(now);
        self.waiting().insert(number, (system, since));
        number
    }

    /// A request was answered; returns how long its worker was without an acknowledgement.
    fn end(&self, number: u64, wrote: bool, retries: u64) -> Duration {
        let waited = self.waiting().remove(&number);
        let mut second = self.second.lock().expect("no holder of the lock panics");
        *(if wrote { &mut second.writes } else { &mut second.reads }) += 1;
        second.retries += retries;
        let Some((system, since)) = waited else { return Duration::ZERO };
        let without = since.elapsed();
        second.waited(system, without);
        without
    }

    /// Tells every second, without end.
    async fn tell(&self) {
        let mut ticks = tokio::time::interval(SECOND);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let mut second =
                std::mem::take(&mut *self.second.lock().expect("no holder of the lock panics"));
            for (system, since) in self.waiting().values() {
                second.waited(*system, since.elapsed());
            }
            note::print(&Note::Second(Second { at_us: unix_us(), ..second }));
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, (System, Instant)>> {
        self.waiting.lock().expect("no holder of the lock panics")
    }
}

impl Second {
    fn waited(&mut self, system: System, wait: Duration) {
        let longest = match system {
            System::FlinRouted => &mut self.routed_ms,
            System::FlinProxied | System::Etcd => &mut self.proxied_ms,
        };
        *longest = (*longest).max(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_knows_who_waited_longest() {
        let meter = Meter::default();
        let ms = Duration::from_millis;
        let routed = meter.begin(System::FlinRouted, Duration::ZERO);
        let proxied = meter.begin(System::FlinProxied, ms(5));
        sleep(ms(30)).await;
        assert_eq!(meter.end(routed, true, 2), ms(30));
        sleep(ms(40)).await;
        assert_eq!(meter.end(proxied, false, 0), ms(75), "it was without one before the read");
        let second = *meter.second.lock().expect("nobody panics");
        let told = (second.writes, second.reads, second.retries);
        assert_eq!((told, second.routed_ms, second.proxied_ms), ((1, 1, 2), 30, 75));
        assert!(meter.waiting().is_empty());
    }
}
