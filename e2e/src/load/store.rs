//! One connection to a store under load: Flin or etcd behind the same two verbs.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{ConnectOptions, Error, KvClient};

use super::report::System;
use crate::client::{Answer, Client, Mode, Target, Topology, Value};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of a write.
#[derive(Debug)]
pub(super) enum Put {
    Acknowledged,
    NotDone(String),
    Maybe(String),
}

/// Where the stores are.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    /// The Service of the Flin cluster, `host:6380`.
    pub(super) flin: String,
    pub(super) password: Option<String>,
    /// The members of etcd, as URLs; empty when there is no peer.
    pub(super) etcd: Vec<String>,
}

/// A connection, with one request in flight.
pub(super) enum Store {
    Flin(Client),
    Etcd(KvClient),
}

impl Addresses {
    /// The systems that can be driven.
    pub(super) fn systems(&self) -> Vec<System> {
        let flin = [System::FlinRouted, System::FlinProxied];
        flin.into_iter().chain((!self.etcd.is_empty()).then_some(System::Etcd)).collect()
    }

    /// The connection of one worker.
    ///
    /// # Errors
    /// When an etcd member cannot be reached; Flin is connected to at the first request.
    pub(super) async fn open(
        &self,
        system: System,
        worker: usize,
        topology: &Arc<Topology>,
    ) -> Result<Store, String> {
        let mode = match system {
            System::FlinRouted => Mode::Cluster,
            System::FlinProxied => Mode::Plain,
            System::Etcd => {
                let member = &self.etcd[worker % self.etcd.len()];
                return self.open_etcd(std::slice::from_ref(member)).await;
            }
        };
        let target = Target {
            address: self.flin.clone(),
            password: self.password.clone(),
            mode,
            patience: PATIENCE,
        };
        Ok(Store::Flin(Client::new(Arc::new(target), Arc::clone(topology))))
    }

    /// A connection to any of the members given: with several, one that fails is gone around.
    pub(super) async fn open_etcd(&self, members: &[String]) -> Result<Store, String> {
        let options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(1))
            .with_timeout(PATIENCE);
        let client = etcd_client::Client::connect(members, Some(options)).await;
        Ok(Store::Etcd(client.map_err(|e| format!("{members:?}: {e}"))?.kv_client()))
    }
}

impl Store {
    /// Tries once to write.
    pub(super) async fn put(&mut self, key: &str, value: &[u8]) -> Put {
        match self {
            Self::Flin(client) => {
                let request: [&[u8]; 3] = [b"SET", key.as_bytes(), value];
                match client.attempt(key.as_bytes(), &request).await {
                    Answer::Done(_) => Put::Acknowledged,
                    Answer::NotDone(why) | Answer::Refused(why) => Put::NotDone(why),
                    Answer::Unknown(why) => Put::Maybe(why),
                }
            }
            // Only a refusal before the proposal is certain, and etcd does not say which those are.
            Self::Etcd(client) => match client.put(key, value, None).await {
                Ok(_) => Put::Acknowledged,
                Err(error) => Put::Maybe(words(&error)),
            },
        }
    }

    /// Tries once to read, linearizably.
    ///
    /// # Errors
    /// Why there was no answer.
    pub(super) async fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::Flin(client) => {
                match client.attempt(key.as_bytes(), &[b"GET", key.as_bytes()]).await {
                    Answer::Done(Value::Nil) => Ok(None),
                    Answer::Done(value) => Ok(value.bytes().map(<[u8]>::to_vec)),
                    Answer::NotDone(why) | Answer::Refused(why) | Answer::Unknown(why) => Err(why),
                }
            }
            Self::Etcd(client) => match client.get(key, None).await {
                Ok(found) => Ok(found.kvs().first().map(|kv| kv.value().to_vec())),
                Err(error) => Err(words(&error)),
            },
        }
    }
}

fn words(error: &Error) -> String {
    error.to_string()
}
