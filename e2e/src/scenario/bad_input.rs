//! What no proper client sends, to a real node: each gets its error, the next client is served.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::client::{Connection, Fault, Value};
use crate::harness::{DEMO, DEMO_NAMESPACE, DEMO_RESP, FlinCluster, Kubernetes, Space};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request and words that its error must contain.
type Case = (&'static [&'static [u8]], &'static str);

const COMMANDS: [Case; 9] = [
    (&[b"NOSUCHCOMMAND", b"a"], "unknown command"),
    (&[b"GET"], "wrong number of arguments"),
    (&[b"SET", b"bad:input", b"v", b"EX", b"0"], "invalid expire time"),
    (&[b"SET", b"bad:input", b"v", b"EX", b"soon"], "not an integer"),
    (&[b"SET", b"bad:input", b"v", b"NX", b"XX"], "syntax error"),
    (&[b"INCR", b"bad:input"], "not an integer"),
    (&[b"EXPIRE", b"bad:input", b"never"], "not an integer"),
    (&[b"CLUSTER", b"NOSUCH"], "unknown subcommand"),
    (&[b"SCAN", b"minus one"], "invalid cursor"),
];

/// Bytes that are no request, and words that the error must contain.
const FRAMES: [(&[u8], &str); 4] = [
    (b"*1\r\n$x\r\n", "Protocol error"),
    (b"*1\r\n:1\r\n", "Protocol error"),
    (b"*99999999999\r\n", "Protocol error"),
    (b"*2\r\n$3\r\nGET\r\n$99999999999\r\n", "Protocol error"),
];

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    let space = Space { kubernetes: kubernetes.clone(), name: DEMO_NAMESPACE.to_owned() };
    let demo = FlinCluster::named(&space, DEMO);
    let restarts = restarts(&demo).await?;
    let password = kubernetes.demo_password().await?;
    let mut client = open(&password).await?;
    let set = call(&mut client, &[b"SET", b"bad:input", b"no number"]).await?;
    ensure!(set.is_ok(), "SET was answered {set:?}");
    for (request, words) in COMMANDS {
        let reply = call(&mut client, request).await?;
        expect_error(&String::from_utf8_lossy(&request.join(&b' ')), &reply, words)?;
    }
    for (bytes, words) in FRAMES {
        // The server may close a connection that speaks nonsense: each gets its own.
        let reply = open(&password).await?.send_raw(bytes, PATIENCE).await;
        expect_error(
            &format!("{:?}", String::from_utf8_lossy(bytes)),
            &reply.map_err(told)?,
            words,
        )?;
    }
    // What is unusual but right.
    let binary: &[u8] = &[0, 255, b'\r', b'\n', 128];
    for key in [binary, b""] {
        let set = call(&mut client, &[b"SET", key, binary]).await?;
        ensure!(set.is_ok(), "SET of the key {key:?} was answered {set:?}");
        let found = call(&mut client, &[b"GET", key]).await?;
        ensure!(found.bytes() == Some(binary), "the key {key:?} holds {found:?}");
        call(&mut client, &[b"DEL", key]).await?;
    }
    call(&mut client, &[b"DEL", b"bad:input"]).await?;
    let after = self::restarts(&demo).await?;
    ensure!(after == restarts, "nodes restarted: {restarts:?} before, {after:?} after");
    Ok(format!("{} requests refused in words", COMMANDS.len() + FRAMES.len()))
}

fn expect_error(request: &str, reply: &Value, words: &str) -> Result<()> {
    match reply {
        Value::Error(text) if text.to_lowercase().contains(&words.to_lowercase()) => Ok(()),
        other => bail!("{request} was answered {other:?}, not an error about {words:?}"),
    }
}

async fn restarts(demo: &FlinCluster) -> Result<Vec<i32>> {
    let statuses = demo.pods().await?.into_iter().filter_map(|pod| pod.status);
    Ok(statuses.flat_map(|s| s.container_statuses).flatten().map(|c| c.restart_count).collect())
}

async fn open(password: &str) -> Result<Connection> {
    Connection::open(DEMO_RESP, Some(password)).await.map_err(told)
}

async fn call(client: &mut Connection, request: &[&[u8]]) -> Result<Value> {
    client.call(request, PATIENCE).await.map_err(told)
}

fn told(fault: Fault) -> anyhow::Error {
    let (Fault::Unsent(why) | Fault::Unanswered(why)) = fault;
    anyhow::Error::msg(why)
}
