//! The reader: every key once, trying until it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use flin_check::{Read, Record};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::recorder::{Clock, print_records, with_progress};
use super::{KeyOptions, Options, Tagged};
use crate::client::{Answer, Client, Topology, Value};

/// How long to wait after a read that was not answered.
const PAUSE: Duration = Duration::from_millis(50);

/// Reads all keys over all connections and prints the history.
///
/// # Errors
/// When a key was not answered in the time given, or a read was refused.
pub(super) async fn run(options: Options) -> Result<()> {
    let (done, topology) = (Arc::new(AtomicU64::new(0)), Arc::new(Topology::default()));
    let (target, clock) = (options.target.target(), Clock::since(options.keys.epoch_us));
    let deadline = Instant::now() + Duration::from_secs(options.keys.seconds_max);
    let mut lanes = JoinSet::new();
    for connection in 0..options.keys.connections {
        let mut client = Client::new(Arc::clone(&target), Arc::clone(&topology));
        let (keys, done) = (options.keys.clone(), Arc::clone(&done));
        lanes.spawn(async move {
            let mut records = Vec::<Record>::new();
            for key in keys.share(connection) {
                match until_answered(&mut client, &keys, key, clock, deadline).await {
                    Ok(read) => records.push(read.into()),
                    Err(problem) => return (records, Some(problem)),
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            (records, None)
        });
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

async fn until_answered(
    client: &mut Client,
    keys: &KeyOptions,
    key: u32,
    clock: Clock,
    deadline: Instant,
) -> Result<Read, String> {
    let name = keys.name(key);
    loop {
        let from = clock.now_us();
        let answer = client.attempt(name.as_bytes(), &[b"GET", name.as_bytes()]).await;
        let to = clock.now_us();
        let why = match answer {
            Answer::Done(Value::Nil) => return Ok(Read { key: name, value: None, from, to }),
            Answer::Done(value) => {
                let seen = value.bytes().unwrap_or_default();
                let value = Some(Tagged::recognize(seen, keys.value_bytes));
                return Ok(Read { key: name, value, from, to });
            }
            Answer::Refused(why) => return Err(format!("reading {name} was refused: {why}")),
            Answer::NotDone(why) | Answer::Unknown(why) => why,
        };
        if Instant::now() > deadline {
            return Err(format!("{name} was not answered in time: {why}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
