//! The doors of the demo cluster as somebody outside finds them: 127.0.0.1:6380 answers for every key, and
//! only to those who know the password.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use redis::AsyncCommands;

use crate::client::{Connection, Fault, Value};
use crate::harness::{DEMO_RESP, Kubernetes};
use crate::smoke;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Enough keys that every partition of the demo cluster is met.
const KEYS: u32 = 500;

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    let password = kubernetes.demo_password().await?;
    plain_client(&password).await.context("a plain Redis client")?;
    wrong_password(&password).await.context("a client with a wrong password")?;
    Ok(format!("{KEYS} keys of all partitions through one door"))
}

async fn plain_client(password: &str) -> Result<()> {
    let mut connection = smoke::connect(password).await?;
    for key in 0..KEYS {
        let (name, value) = (format!("doors:{key}"), format!("value {key}"));
        let () = connection.set(&name, &value).await.with_context(|| format!("SET {name}"))?;
    }
    let names: Vec<String> = (0..KEYS).map(|key| format!("doors:{key}")).collect();
    let found: Vec<Option<String>> = connection.mget(&names).await.context("MGET of them all")?;
    for (key, value) in found.into_iter().enumerate() {
        ensure!(value == Some(format!("value {key}")), "doors:{key} holds {value:?}");
    }
    let removed: u32 = connection.del(&names).await.context("DEL of them all")?;
    ensure!(removed == KEYS, "{removed} of {KEYS} keys were removed");
    Ok(())
}

async fn wrong_password(password: &str) -> Result<()> {
    match Connection::open(DEMO_RESP, Some("not the password")).await {
        Err(Fault::Unsent(why)) => ensure!(why.contains("WRONGPASS"), "it was told: {why}"),
        Err(Fault::Unanswered(why)) => bail!("it was told: {why}"),
        Ok(_) => bail!("it was let in"),
    }
    let mut nameless = open(None).await?;
    for request in [[b"GET".as_slice(), b"doors:0"], [b"DEL", b"doors:0"], [b"CLUSTER", b"SLOTS"]] {
        let reply = nameless.call(&request, PATIENCE).await.map_err(words)?;
        let refused = matches!(&reply, Value::Error(text) if text.starts_with("NOAUTH"));
        ensure!(refused, "without a password {:?} was answered {reply:?}", request[0]);
    }
    // The same connection may still name itself.
    let reply = nameless.call(&[b"AUTH", password.as_bytes()], PATIENCE).await.map_err(words)?;
    ensure!(reply.is_ok(), "the right password was answered {reply:?}");
    let reply = nameless.call(&[b"PING"], PATIENCE).await.map_err(words)?;
    ensure!(reply.text() == Some("PONG"), "PING was answered {reply:?}");
    Ok(())
}

async fn open(password: Option<&str>) -> Result<Connection> {
    Connection::open(DEMO_RESP, password).await.map_err(words)
}

fn words(fault: Fault) -> anyhow::Error {
    let (Fault::Unsent(why) | Fault::Unanswered(why)) = fault;
    anyhow::Error::msg(why)
}
