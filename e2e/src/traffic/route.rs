//! Whether clients that know the protocol of Redis Cluster can route themselves.
//!
//! Three things must be true inside the cluster: a Redis Cluster client finds every key; a client that goes
//! by `CLUSTER SLOTS` meets no `MOVED` while nothing moves; port 6384 of a node that does not lead a key
//! names the one that does, while port 6380 of any node answers for every key.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use redis::AsyncCommands;
use redis::cluster::ClusterClientBuilder;

use super::Options;
use super::note::{self, Note};
use crate::client::{
    Answer, Client, Connection, Fault, Mode, SLOTS, Topology, Value, parse_slots, slot_of,
};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks the three things.
///
/// # Errors
/// The first that is not true.
pub(super) async fn run(options: Options) -> Result<()> {
    let owners = owners(&options).await.context("ask for the topology")?;
    with_redis_cluster_client(&options).await.context("a Redis Cluster client")?;
    without_redirections(&options).await.context("a client that goes by CLUSTER SLOTS")?;
    every_door(&options, &owners).await.context("the doors of each node")
}

/// The owners of all slots, checked to be complete: (first slot, last slot, address).
async fn owners(options: &Options) -> Result<Vec<(u16, u16, String)>> {
    let target = options.target.target();
    let mut connection = open(&target.address, target.password.as_deref()).await?;
    let answer = call(&mut connection, &[b"CLUSTER", b"SLOTS"]).await?;
    let mut ranges = parse_slots(&answer).map_err(anyhow::Error::msg)?;
    ranges.sort();
    let mut next = 0;
    for (first, last, address) in &ranges {
        ensure!(*first == next, "slot {next} has no owner, or two, in {ranges:?}");
        ensure!(address.ends_with(":6384"), "{address} is advertised, not a port 6384");
        next = last + 1;
    }
    ensure!(next == SLOTS, "the slots from {next} have no owner");
    Ok(ranges)
}

async fn with_redis_cluster_client(options: &Options) -> Result<()> {
    let target = options.target.target();
    let mut builder = ClusterClientBuilder::new(vec![format!("redis://{}/", target.address)])
        .connection_timeout(PATIENCE)
        .response_timeout(PATIENCE)
        .retries(0);
    if let Some(password) = &target.password {
        builder = builder.password(password.clone());
    }
    let mut connection = builder.build()?.get_async_connection().await.context("connect")?;
    for key in 0..options.keys.keys {
        let (name, value) = (options.keys.name(key), format!("by a cluster client {key}"));
        let () = connection.set(&name, &value).await.with_context(|| format!("SET {name}"))?;
        let seen: Option<String> =
            connection.get(&name).await.with_context(|| format!("GET {name}"))?;
        ensure!(seen.as_deref() == Some(value.as_str()), "{name} holds {seen:?}, not {value:?}");
    }
    say(format!("a Redis Cluster client wrote and read {} keys", options.keys.keys));
    Ok(())
}

async fn without_redirections(options: &Options) -> Result<()> {
    let topology = Arc::new(Topology::default());
    let mut client = Client::new(options.target.in_mode(Mode::Cluster), topology);
    client.refresh().await.map_err(anyhow::Error::msg)?;
    for key in 0..options.keys.keys {
        let name = options.keys.name(key);
        match client.attempt(name.as_bytes(), &[b"GET", name.as_bytes()]).await {
            Answer::Done(Value::Bulk(_)) => {}
            other => bail!("GET {name} was answered {other:?}"),
        }
    }
    ensure!(client.redirections == 0, "{} redirections though nothing moved", client.redirections);
    say(format!("{} reads went straight to their owners", options.keys.keys));
    Ok(())
}

/// Port 6384 points elsewhere, port 6380 answers, whichever node it is and whoever owns the key.
async fn every_door(options: &Options, owners: &[(u16, u16, String)]) -> Result<()> {
    let password = options.target.target().password.clone();
    let mut nodes: Vec<&str> = owners.iter().map(|(_, _, address)| address.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let (mut moved, mut answered) = (0, 0);
    for node in &nodes {
        let mut routed = open(node, password.as_deref()).await?;
        let proxying = node.replace(":6384", ":6380");
        let mut proxied = open(&proxying, password.as_deref()).await?;
        for key in 0..options.keys.keys.min(200) {
            let name = options.keys.name(key);
            let request: [&[u8]; 2] = [b"GET", name.as_bytes()];
            let slot = slot_of(name.as_bytes());
            let owner = owners.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
            let owner =
                owner.map(|(_, _, address)| address.as_str()).context("every slot is owned")?;
            let reply = call(&mut routed, &request).await?;
            if owner == *node {
                ensure!(matches!(reply, Value::Bulk(_)), "{node} leads {name} and said {reply:?}");
            } else {
                let expected = Value::Error(format!("MOVED {slot} {owner}"));
                ensure!(reply == expected, "{node} said {reply:?} about {name}, not {expected:?}");
                moved += 1;
            }
            let reply = call(&mut proxied, &request).await?;
            ensure!(matches!(reply, Value::Bulk(_)), "{proxying} said {reply:?} about {name}");
            answered += 1;
        }
    }
    say(format!("{} nodes: 6384 moved {moved} requests, 6380 answered {answered}", nodes.len()));
    Ok(())
}

async fn open(address: &str, password: Option<&str>) -> Result<Connection> {
    Connection::open(address, password).await.map_err(words)
}

async fn call(connection: &mut Connection, parts: &[&[u8]]) -> Result<Value> {
    connection.call(parts, PATIENCE).await.map_err(words)
}

fn words(fault: Fault) -> anyhow::Error {
    let (Fault::Unsent(why) | Fault::Unanswered(why)) = fault;
    anyhow::Error::msg(why)
}

fn say(text: String) {
    note::print(&Note::Routed { text });
}
