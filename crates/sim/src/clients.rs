//! Clients: what they ask, through which nodes, and what they write down about it.
//!
//! A client has one request under way at a time. It reaches the cluster as a Redis client does: a task of the node
//! that it talks to does the work and dies with that node. What surely failed is not written down; what has no
//! answer is written down without one, since it may take effect at any later time, or never.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use flin_check::linear::{Action, Answer, Operation};
use flin_groups::requests::{RequestError, Requests};
use flin_groups::router::Router;
use flin_state::ids::PartitionId;
use flin_state::operation::{Condition, Expiry, Read, Reply, Write};
use flin_state::slot::partition_of_key;
use tokio::sync::oneshot;

use crate::chance::Chance;
use crate::kernel::{Owner, Spawner, Time};
use crate::world::Doors;

/// How long a client waits for an answer.
const PATIENCE_US: u64 = 4_000_000;
/// The longest that a request or an answer is on its way between client and node.
const WAY_US: u64 = 2_000;
/// The keys that belong to one object.
const KEYS_PER_OBJECT: u8 = 3;
/// The clocks of the cluster may be wrong by this much without anybody having tampered with them: stamps are whole
/// milliseconds.
const CLOCK_GRAIN_US: u64 = 2_000;

/// What all clients of a run have written down. Clones are the same one.
#[derive(Clone, Default)]
pub struct Notes(Rc<RefCell<Written>>);

#[derive(Default)]
struct Written {
    history: Vec<Operation>,
    /// How many requests were answered or given up.
    ended: u32,
    /// How many surely failed.
    failed: u32,
    next_value: i64,
    /// How many clients are at work.
    working: u32,
    /// Whether no client begins anything more.
    closed: bool,
    complaints: Vec<String>,
}

impl Notes {
    /// Everything that was asked and did not surely fail.
    pub fn history(&self) -> Vec<Operation> {
        self.0.borrow().history.clone()
    }

    /// How many requests have ended, one way or another.
    pub fn ended(&self) -> u32 {
        self.0.borrow().ended
    }

    /// How many of them surely failed.
    pub fn failed(&self) -> u32 {
        self.0.borrow().failed
    }

    /// Answers that no request of that kind ever gets.
    pub fn complaints(&self) -> Vec<String> {
        self.0.borrow().complaints.clone()
    }

    /// Has every client stop once it knows what became of its last request.
    pub fn close(&self) {
        self.0.borrow_mut().closed = true;
    }

    /// Whether every client has stopped.
    pub fn are_complete(&self) -> bool {
        self.0.borrow().working == 0
    }

    /// A value that was never written.
    fn fresh_value(&self) -> i64 {
        let mut written = self.0.borrow_mut();
        written.next_value += 1_000;
        written.next_value
    }
}

/// The keys that clients work on: some objects of a few keys each.
#[derive(Clone, Copy, Debug)]
pub struct Keyspace {
    /// How many keys there are.
    pub keys: u8,
    /// How many partitions they are spread over.
    pub partitions: u16,
    /// How far clocks may be wrong; `None`: by any amount, so nothing may expire.
    pub clock_error_us: Option<u64>,
}

impl Keyspace {
    /// The number of objects.
    pub fn objects(&self) -> u32 {
        u32::from(self.keys.div_ceil(KEYS_PER_OBJECT))
    }

    fn name(object: u32, key: u8) -> Bytes {
        format!("{{o{object}}}{key}").into()
    }

    fn partition(&self, object: u32) -> PartitionId {
        partition_of_key(&Keyspace::name(object, 0), self.partitions)
    }

    /// The most by which the cluster's clocks are wrong.
    pub fn error_us(&self) -> u64 {
        self.clock_error_us.unwrap_or(0) + CLOCK_GRAIN_US
    }
}

/// A client.
pub struct Client {
    /// Which one.
    pub number: u32,
    /// The time.
    pub time: Time,
    /// The ways in.
    pub doors: Doors,
    /// To have nodes work for it.
    pub spawner: Spawner,
    /// Chooses what to do.
    pub chance: Chance,
    /// What it works on.
    pub keyspace: Keyspace,
    /// Where it writes down what it did.
    pub notes: Notes,
    /// The longest pause between two requests.
    pub pause_us: u64,
}

impl Client {
    /// Asks one thing after the other until the notes are closed.
    pub async fn work(mut self) {
        self.notes.0.borrow_mut().working += 1;
        while !self.notes.0.borrow().closed {
            let pause_us = self.chance.below(self.pause_us + 1);
            self.time.sleep(pause_us).await;
            let object =
                u32::try_from(self.chance.below(self.keyspace.objects().into())).unwrap_or(0);
            let action = self.any();
            self.ask(object, action).await;
        }
        self.notes.0.borrow_mut().working -= 1;
    }

    /// Reads every key of every object once, trying again until it has an answer.
    pub async fn read_all(mut self) {
        for object in 0..self.keyspace.objects() {
            let keys: Vec<u8> = (0..KEYS_PER_OBJECT).collect();
            while !self.ask(object, Action::Get(keys.clone())).await {
                self.time.sleep(50_000).await;
            }
        }
    }

    /// Any action.
    fn any(&mut self) -> Action {
        let key = u8::try_from(self.chance.below(KEYS_PER_OBJECT.into())).unwrap_or(0);
        let value = self.notes.fresh_value();
        let all = || (0..KEYS_PER_OBJECT).collect::<Vec<u8>>();
        match self.chance.below(100) {
            0..25 => Action::Get(vec![key]),
            25..40 => Action::Get(all()),
            40..52 => Action::Put { pairs: vec![(key, value)] },
            52..60 => {
                let pairs = all().into_iter().map(|key| (key, value + i64::from(key)));
                Action::Put { pairs: pairs.collect() }
            }
            60..70 => Action::Add { key, by: 1 + i64::from(self.chance.percent(50)) },
            70..76 => Action::CompareAndSet { key, expected: self.guess(), value: Some(value) },
            76..80 => Action::Swap { key, value: self.chance.percent(60).then_some(value) },
            80..84 => {
                Action::Delete { keys: if self.chance.percent(50) { vec![key] } else { all() } }
            }
            _ if self.keyspace.clock_error_us.is_some() => {
                let life_us = 1_000 * self.chance.between(50, 3_000);
                Action::PutFor { key, value, life_us }
            }
            _ => Action::Put { pairs: vec![(key, value)] },
        }
    }

    /// What may be there: one of the last values that anybody wrote, or nothing.
    fn guess(&mut self) -> Option<i64> {
        let history = &self.notes.0.borrow().history;
        let lately = history.len().saturating_sub(8);
        let seen = history[lately..].iter().filter_map(|operation| match &operation.answer {
            Some(Answer::Values(values)) => values.iter().flatten().next().copied(),
            Some(Answer::Found(found)) => *found,
            _ => match &operation.action {
                Action::Put { pairs } => pairs.first().map(|(_, value)| *value),
                _ => None,
            },
        });
        self.chance.pick(&seen.collect::<Vec<_>>()).copied()
    }

    /// Asks and writes down what came of it; returns whether there was an answer.
    async fn ask(&mut self, object: u32, action: Action) -> bool {
        let doors = self.doors.all();
        let Some((slot, door)) = self.chance.pick(&doors).cloned() else {
            self.time.sleep(20_000).await;
            return false;
        };
        let from_us = self.time.now_us();
        self.time.sleep(1 + self.chance.below(WAY_US)).await;
        let (answer, answered) = oneshot::channel();
        let partition = self.keyspace.partition(object);
        let request = Request::of(object, &action);
        let here = self.chance.percent(20);
        self.spawner.spawn(Owner::Process(slot), async move {
            let _ = answer.send(request.send(&door.router, partition, here).await);
        });
        let outcome = tokio::select! {
            biased;
            outcome = answered => outcome.ok(),
            () = self.time.sleep(PATIENCE_US) => None,
        };
        self.time.sleep(1 + self.chance.below(WAY_US)).await;
        self.note(object, action, from_us, outcome)
    }

    fn note(
        &mut self,
        object: u32,
        action: Action,
        from_us: u64,
        outcome: Option<Result<Vec<Reply>, RequestError>>,
    ) -> bool {
        let to_us = self.time.now_us();
        let mut written = self.notes.0.borrow_mut();
        written.ended += 1;
        let reading = matches!(action, Action::Get(_));
        let answer = match outcome {
            Some(Ok(replies)) => match understood(&action, replies) {
                Ok(answer) => Some(answer),
                Err(words) => {
                    written.complaints.push(words);
                    return true;
                }
            },
            Some(Err(RequestError::Unknown(_))) | None => None,
            Some(Err(_)) => {
                written.failed += 1;
                return false;
            }
        };
        if answer.is_none() && reading {
            return false;
        }
        let (client, to_us) = (self.number, answer.is_some().then_some(to_us));
        let answered = answer.is_some();
        written.history.push(Operation { client, object, from_us, to_us, action, answer });
        answered
    }
}

/// A request in the product's words.
enum Request {
    Write(Write),
    Read(Read),
}

impl Request {
    fn of(object: u32, action: &Action) -> Request {
        let name = |key: &u8| Keyspace::name(object, *key);
        let text = |value: i64| Bytes::from(value.to_string());
        let set = |key: &u8, value: i64, expiry, return_old| Write::Set {
            key: name(key),
            value: text(value),
            expiry,
            condition: Condition::Always,
            return_old,
        };
        Request::Write(match action {
            Action::Get(keys) => {
                return Request::Read(Read::GetMany { keys: keys.iter().map(name).collect() });
            }
            Action::Put { pairs } => Write::SetMany {
                pairs: pairs.iter().map(|(key, value)| (name(key), text(*value))).collect(),
            },
            Action::PutFor { key, value, life_us } => {
                let life_ms = i64::try_from(life_us / 1_000).unwrap_or(i64::MAX);
                set(key, *value, Expiry::In(life_ms), false)
            }
            Action::Add { key, by } => Write::Increment { key: name(key), by: *by },
            Action::CompareAndSet { key, expected, value } => Write::CompareAndSet {
                key: name(key),
                expected: expected.map(text),
                value: value.map(text),
            },
            Action::Delete { keys } => Write::Delete { keys: keys.iter().map(name).collect() },
            Action::Swap { key, value: Some(value) } => set(key, *value, Expiry::None, true),
            Action::Swap { key, value: None } => Write::GetDel { key: name(key) },
        })
    }

    /// Sends it by way of one node, wherever its partition is led; with `here` only to that node itself.
    async fn send(
        self,
        router: &Router,
        partition: PartitionId,
        here: bool,
    ) -> Result<Vec<Reply>, RequestError> {
        match (self, here) {
            (Request::Write(write), false) => router.write(partition, vec![write]).await,
            (Request::Write(write), true) => router.write_here(partition, vec![write]).await,
            (Request::Read(read), false) => router.read(partition, vec![read]).await,
            (Request::Read(read), true) => router.read_here(partition, vec![read]).await,
        }
    }
}

/// What the replies to an action say; or that no action of this kind is answered so.
fn understood(action: &Action, replies: Vec<Reply>) -> Result<Answer, String> {
    let odd = || format!("{action:?} was answered with {replies:?}");
    let value = |reply: &Reply| match reply {
        Reply::Nil => Some(None),
        Reply::Bytes(bytes) => Some(Some(std::str::from_utf8(bytes).ok()?.parse().ok()?)),
        _ => None,
    };
    let [reply] = replies.as_slice() else { return Err(odd()) };
    let answer = match (action, reply) {
        (Action::Get(keys), Reply::Array(values)) if keys.len() == values.len() => {
            values.iter().map(value).collect::<Option<Vec<_>>>().map(Answer::Values)
        }
        (Action::Put { .. } | Action::PutFor { .. } | Action::CompareAndSet { .. }, Reply::Ok) => {
            Some(Answer::Done)
        }
        (Action::CompareAndSet { .. }, found) => value(found).map(Answer::Found),
        (Action::Add { .. }, Reply::Int(sum)) => Some(Answer::Sum(*sum)),
        (Action::Delete { .. }, Reply::Int(count)) => u64::try_from(*count).ok().map(Answer::Count),
        (Action::Swap { .. }, old) => value(old).map(|old| Answer::Values(vec![old])),
        _ => None,
    };
    answer.ok_or_else(odd)
}
