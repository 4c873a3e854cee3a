//! The writer: every key until it is acknowledged, every attempt recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use flin_check::{Outcome, Record, Write};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::recorder::{Clock, print_records, with_progress};
use super::{KeyOptions, Options, Tagged};
use crate::client::{Answer, Client, Topology};

/// How long to wait after an attempt that was surely not done.
const PAUSE: Duration = Duration::from_millis(50);
/// Every so many keys, one written before is overwritten: a lost overwrite brings an old value back.
const OVERWRITE_EVERY: usize = 10;
/// Every so many keys, one written before is removed: a lost removal brings it back.
const REMOVE_EVERY: usize = 25;
/// Every so many keys, the overwrites and removals look back.
const LOOK_BACK: usize = 7;

/// Writes all keys from all connections and prints the history.
///
/// # Errors
/// When a key was not acknowledged in the time given, or a write was refused.
pub(super) async fn run(options: Options) -> Result<()> {
    let (done, topology) = (Arc::new(AtomicU64::new(0)), Arc::new(Topology::default()));
    let (target, clock) = (options.target.target(), Clock::since(options.keys.epoch_us));
    let deadline = Instant::now() + Duration::from_secs(options.keys.seconds_max);
    let mut lanes = JoinSet::new();
    for connection in 0..options.keys.connections {
        let client = Client::new(Arc::clone(&target), Arc::clone(&topology));
        let (keys, done) = (options.keys.clone(), Arc::clone(&done));
        let lane = Lane { client, keys, clock, deadline, done, records: Vec::new() };
        lanes.spawn(lane.run(connection));
    }
    let lanes = with_progress(&done, lanes.join_all()).await;
    let mut problems = Vec::new();
    for (records, problem) in lanes {
        print_records(&records);
        problems.extend(problem);
    }
    match problems.first() {
        Some(first) => bail!("{} of the connections gave up, the first: {first}", problems.len()),
        None => Ok(()),
    }
}

/// One connection and the keys that only it writes, one after the other.
struct Lane {
    client: Client,
    keys: KeyOptions,
    clock: Clock,
    deadline: Instant,
    done: Arc<AtomicU64>,
    records: Vec<Record>,
}

impl Lane {
    async fn run(mut self, connection: u32) -> (Vec<Record>, Option<String>) {
        let problem = self.write_all(connection).await.err();
        (self.records, problem)
    }

    async fn write_all(&mut self, connection: u32) -> Result<(), String> {
        let share: Vec<u32> = self.keys.share(connection).collect();
        let mut versions = vec![0_u32; share.len()];
        for (at, key) in share.iter().enumerate() {
            self.until_acknowledged(*key, &mut versions[at], false).await?;
            self.done.fetch_add(1, Ordering::Relaxed);
            let Some(earlier) = at.checked_sub(LOOK_BACK) else { continue };
            if at % OVERWRITE_EVERY == 0 {
                self.until_acknowledged(share[earlier], &mut versions[earlier], false).await?;
            }
            if at % REMOVE_EVERY == 1 {
                self.until_acknowledged(share[earlier], &mut versions[earlier], true).await?;
            }
        }
        Ok(())
    }

    /// Tries with a new value each time, so that the history tells the attempts apart.
    async fn until_acknowledged(
        &mut self,
        key: u32,
        version: &mut u32,
        removes: bool,
    ) -> Result<(), String> {
        loop {
            let tag = format!("{key}.{version}");
            *version += 1;
            let (outcome, why) = self.attempt(key, (!removes).then_some(tag)).await?;
            match outcome {
                Outcome::Acknowledged => return Ok(()),
                _ if Instant::now() > self.deadline => {
                    return Err(format!(
                        "{} was not acknowledged in time: {why}",
                        self.keys.name(key)
                    ));
                }
                Outcome::Failed => tokio::time::sleep(PAUSE).await,
                Outcome::Maybe => {}
            }
        }
    }

    async fn attempt(
        &mut self,
        key: u32,
        tag: Option<String>,
    ) -> Result<(Outcome, String), String> {
        let name = self.keys.name(key);
        let from = self.clock.now_us();
        let answer = match &tag {
            Some(tag) => {
                let value = Tagged::expand(tag, self.keys.value_bytes);
                self.client.attempt(name.as_bytes(), &[b"SET", name.as_bytes(), &value]).await
            }
            None => self.client.attempt(name.as_bytes(), &[b"DEL", name.as_bytes()]).await,
        };
        let to = self.clock.now_us();
        let (outcome, why) = match answer {
            Answer::Done(_) => (Outcome::Acknowledged, String::new()),
            Answer::Unknown(why) => (Outcome::Maybe, why),
            Answer::NotDone(why) => (Outcome::Failed, why),
            Answer::Refused(why) => return Err(format!("{name} was refused: {why}")),
        };
        self.records.push(Write { key: name, value: tag, from, to, outcome }.into());
        Ok((outcome, why))
    }
}
