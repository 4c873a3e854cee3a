//! Both servers through the same requests, side by side.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flin_resp::{Protocol, Value, commands};
use rand::Rng;

use super::connection::Connection;
use super::differences::{Difference, REQUESTS, State};
use super::requests::{KEYS, Requests, Step, request};
use super::server::RedisServer;
use super::{Request, integer, name, shown};
use crate::processes::cluster::PATIENCE;

/// How far apart two answers about a life may be: the servers are asked one after the other.
const MS_APART_MAX: i64 = 10_000;
/// More differences say nothing new.
const UNDECLARED_MAX: usize = 20;
/// Lives beyond this do not end during a contest.
const SHORT_LIFE_MS: i64 = 60_000;

/// One connection to each, in one protocol.
struct Pair {
    redis: Connection,
    flin: Connection,
}

pub struct Contest {
    requests: Requests,
    pairs: [Pair; 2],
    compared: usize,
    declared: BTreeMap<&'static str, usize>,
    undeclared: Vec<String>,
}

impl Contest {
    pub async fn begin(redis: &RedisServer, flin: &str, seed: u64) -> Self {
        let pair = async |protocol| {
            let mut pair = Pair { redis: redis.connect().await, flin: Connection::tcp(flin).await };
            pair.redis.speak(protocol).await;
            pair.flin.speak(protocol).await;
            pair
        };
        Contest {
            requests: Requests::new(seed),
            pairs: [pair(Protocol::Resp2).await, pair(Protocol::Resp3).await],
            compared: 0,
            declared: BTreeMap::new(),
            undeclared: Vec::new(),
        }
    }

    pub async fn run(&mut self, count: usize) {
        while self.compared < count && self.undeclared.len() < UNDECLARED_MAX {
            match self.requests.step() {
                Step::Batch(requests) => self.batch(requests).await,
                Step::ShortLife(request) => self.short_life(request).await,
                Step::Walk(options) => self.walk(&options).await,
                Step::Count => self.count().await,
            }
        }
    }

    /// What was seen, in a few lines.
    pub fn told(&self) -> String {
        let mut lines = vec![format!("{} replies compared", self.compared)];
        for Difference { what, state, .. } in REQUESTS {
            let times = self.declared.get(what).copied().unwrap_or_default();
            let state = match state {
                State::Meant => "meant",
                State::ToBeMended => "to be mended",
            };
            lines.push(format!("{times:>6} times, {state}: {what}"));
        }
        lines.join("\n")
    }

    pub fn undeclared(self) -> Vec<String> {
        self.undeclared
    }

    /// Sends requests at once. What is known to be done differently goes alone, and its keys are removed.
    async fn batch(&mut self, requests: Vec<Request>) {
        let mut together = Vec::new();
        for request in requests {
            if !REQUESTS.iter().any(|it| it.parts && (it.request)(&request)) {
                together.push(request);
                continue;
            }
            self.compare(std::mem::take(&mut together)).await;
            let keys = keys_of(&request);
            self.compare(vec![request]).await;
            if !keys.is_empty() {
                self.forget(&keys).await;
            }
        }
        self.compare(together).await;
    }

    async fn compare(&mut self, requests: Vec<Request>) {
        if requests.is_empty() {
            return;
        }
        let which = self.requests.chance.random_range(0..self.pairs.len());
        let pair = &mut self.pairs[which];
        let (expected, answers) =
            tokio::join!(pair.redis.ask_all(&requests), pair.flin.ask_all(&requests));
        let mut differ = false;
        for ((request, expected), answer) in requests.iter().zip(expected).zip(answers) {
            self.compared += 1;
            if alike(request, &expected, &answer) {
                continue;
            }
            let declared = REQUESTS.iter().find(|difference| {
                (difference.request)(request) && (difference.replies)(&expected, &answer)
            });
            match declared {
                Some(difference) => *self.declared.entry(difference.what).or_default() += 1,
                None => {
                    differ = true;
                    self.undeclared.push(format!(
                        "{}\n  Redis: {expected:?}\n  Flin:  {answer:?}\n  in RESP{} within {}",
                        shown(request),
                        which + 2,
                        requests.iter().map(|r| shown(r)).collect::<Vec<_>>().join("; "),
                    ));
                }
            }
        }
        if differ {
            // What follows would differ because of it.
            self.forget(&[]).await;
        }
    }

    /// Removes keys, or all of them, without looking at the answers.
    async fn forget(&mut self, keys: &[Bytes]) {
        let forget = match keys {
            [] => request(&["FLUSHALL"]),
            keys => [&[Bytes::from("DEL")], keys].concat(),
        };
        let pair = &mut self.pairs[0];
        let (one, other) = tokio::join!(pair.redis.ask(&forget), pair.flin.ask(&forget));
        assert!(!one.is_error() && !other.is_error(), "{one:?} {other:?}");
    }

    /// Sends a request that gives a key a short life, and lets that life pass on both sides.
    async fn short_life(&mut self, request: Request) {
        let key = request[1].clone();
        self.compare(vec![request]).await;
        let left = [Bytes::from("PTTL"), key];
        let deadline = Instant::now() + PATIENCE;
        for connection in [&mut self.pairs[0].redis, &mut self.pairs[0].flin] {
            while let ms @ 0..SHORT_LIFE_MS = integer(&connection.ask(&left).await).unwrap_or(0) {
                assert!(Instant::now() < deadline, "{ms} ms are left");
                let rest = Duration::from_millis(ms.unsigned_abs() + 1);
                tokio::time::sleep(rest).await;
            }
        }
    }

    /// Walks over all keys with SCAN, on both sides to the end: the same keys, in whatever order.
    async fn walk(&mut self, options: &[Bytes]) {
        self.look_at_every_key().await;
        let which = self.requests.chance.random_range(0..self.pairs.len());
        let Pair { redis, flin } = &mut self.pairs[which];
        let (expected, found) = (walked(redis, options).await, walked(flin, options).await);
        self.compared += 1;
        if expected != found {
            let options = shown(options);
            self.undeclared
                .push(format!("SCAN with {options}\n  Redis: {expected:?}\n  Flin:  {found:?}"));
        }
    }

    async fn count(&mut self) {
        self.look_at_every_key().await;
        self.compare(vec![request(&["DBSIZE"])]).await;
    }

    /// Redis counts keys whose time has come until somebody looks at them.
    async fn look_at_every_key(&mut self) {
        let keys = KEYS.iter().map(|key| Bytes::from_static(key));
        let all = [Bytes::from("EXISTS")].into_iter().chain(keys).collect();
        self.compare(vec![all]).await;
    }
}

fn keys_of(request: &Request) -> Vec<Bytes> {
    let command = commands::find(&request[0]);
    command.map_or(Vec::new(), |command| command.keys(request).cloned().collect())
}

/// Whether two replies are the same, or as near as two clocks are.
fn alike(request: &[Bytes], redis: &Value, flin: &Value) -> bool {
    let apart = match name(request).as_str() {
        "ttl" | "expiretime" => MS_APART_MAX / 1_000,
        "pttl" | "pexpiretime" => MS_APART_MAX,
        _ => return redis == flin,
    };
    match (integer(redis), integer(flin)) {
        (Some(one @ 0..), Some(other @ 0..)) => (one - other).abs() <= apart,
        _ => redis == flin,
    }
}

async fn walked(connection: &mut Connection, options: &[Bytes]) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), Bytes::from("0"));
    loop {
        let scan = [&[Bytes::from("SCAN"), cursor], options].concat();
        let (next, keys) = match connection.ask(&scan).await {
            Value::Array(parts) => match <[Value; 2]>::try_from(parts) {
                Ok([Value::Bulk(next), Value::Array(keys)]) => (next, keys),
                other => panic!("no page of a walk: {other:?}"),
            },
            // The same words are as good as the same keys.
            error => return vec![error],
        };
        found.extend(keys);
        if next == "0" {
            break;
        }
        cursor = next;
    }
    found.sort_by_key(|key| format!("{key:?}"));
    found.dedup();
    found
}
