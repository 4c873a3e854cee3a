//! A client that talks to one address, or to the owner of each key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use tokio::time::Instant;

use super::answer::{Answer, Moved};
use super::connection::{Connection, Fault};
use super::resp::Value;
use super::topology::{Topology, slot_of};

/// How many redirections one request follows.
const REDIRECTIONS_MAX: usize = 5;
/// How long an address that failed is left alone while the target can pass requests on instead.
const SUSPICION: Duration = Duration::from_millis(1_000);

/// How requests find their node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Everything goes to the target, which passes it on.
    Plain,
    /// Everything goes to the owner of the key's slot, as a Redis Cluster client does it.
    Cluster,
}

/// Where and how to talk.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `host:port` of the client Service or of one node.
    pub(crate) address: String,
    pub(crate) password: Option<String>,
    pub(crate) mode: Mode,
    /// How long a request may go unanswered.
    pub(crate) patience: Duration,
}

/// One worker's connections: one in plain mode, one per owner in cluster mode, made when needed.
pub(crate) struct Client {
    target: Arc<Target>,
    topology: Arc<Topology>,
    connections: BTreeMap<Arc<str>, Connection>,
    suspects: BTreeMap<Arc<str>, Instant>,
    /// How often a node said `MOVED`.
    pub(crate) redirections: u64,
}

impl Client {
    /// A client that has not connected yet. Clients of one run share the topology.
    pub(crate) fn new(target: Arc<Target>, topology: Arc<Topology>) -> Self {
        let (connections, suspects) = (BTreeMap::new(), BTreeMap::new());
        Self { target, topology, connections, suspects, redirections: 0 }
    }

    /// Tries once to have `parts` done, a command about `key`; follows redirections.
    pub(crate) async fn attempt(&mut self, key: &[u8], parts: &[&[u8]]) -> Answer {
        let slot = slot_of(key);
        let mut address = self.address_of(slot).await;
        for _ in 0..=REDIRECTIONS_MAX {
            match self.exchange(&address, parts).await {
                Ok(Value::Error(text)) => match Moved::parse(&text) {
                    Some(moved) => {
                        self.redirections += 1;
                        self.topology.moved(moved.slot, &moved.address);
                        address = moved.address.into();
                    }
                    None => return Answer::of(Value::Error(text)),
                },
                Ok(value) => return Answer::Done(value),
                Err(fault) => {
                    self.topology.forget(&address);
                    self.suspects.insert(address, Instant::now());
                    return match fault {
                        Fault::Unsent(why) => Answer::NotDone(why),
                        Fault::Unanswered(why) => Answer::Unknown(why),
                    };
                }
            }
        }
        Answer::NotDone(format!("redirected more than {REDIRECTIONS_MAX} times"))
    }

    /// Asks the target for a fresh topology; without one, requests go to the target and are passed on.
    pub(crate) async fn refresh(&mut self) -> Result<(), String> {
        let address: Arc<str> = self.target.address.as_str().into();
        match self.exchange(&address, &[b"CLUSTER", b"SLOTS"]).await {
            Ok(Value::Error(why)) => Err(why),
            Ok(answer) => self.topology.learn(&answer),
            Err(Fault::Unsent(why) | Fault::Unanswered(why)) => Err(why),
        }
    }

    async fn address_of(&mut self, slot: u16) -> Arc<str> {
        let target = self.target.address.as_str().into();
        if self.target.mode == Mode::Plain {
            return target;
        }
        if self.topology.owner(slot).is_none() {
            // Asked once; if nobody can say, the target passes the request on.
            self.refresh().await.ok();
        }
        let owner = self.topology.owner(slot);
        owner.filter(|address| !self.suspected(address)).unwrap_or(target)
    }

    fn suspected(&self, address: &str) -> bool {
        self.suspects.get(address).is_some_and(|since| since.elapsed() < SUSPICION)
    }

    async fn exchange(&mut self, address: &Arc<str>, parts: &[&[u8]]) -> Result<Value, Fault> {
        let mut connection = match self.connections.remove(address) {
            Some(connection) => connection,
            None => Connection::open(address, self.target.password.as_deref()).await?,
        };
        // Kept only after an answer: a connection that owes one must not be used again.
        let answer = connection.call(parts, self.target.patience).await?;
        self.connections.insert(Arc::clone(address), connection);
        Ok(answer)
    }
}
