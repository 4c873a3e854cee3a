//! The RESP server: Redis clients on port 6380, topology-aware ones on 6384.
//!
//! One task per connection ([`connection`]) decodes everything that has arrived into one pipeline. Commands
//! about the connection or the node are answered on the spot ([`commands`]); those about keys become
//! operations ([`keys`]) that are gathered by partition ([`lanes`]), run concurrently, and answered in the
//! order of the requests with as few writes to the socket as possible.
//!
//! Nothing here retries a write or guesses an outcome: [`errors`] says what [`requests`] said.

mod commands;
mod connection;
mod errors;
mod keys;
mod lanes;
mod pipeline;
mod registry;
mod scan;
mod session;
mod stats;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flin_groups::clock::Clock;
use flin_groups::requests::Requests;
use flin_resp::{Limits, Protocol, Value};
use rustix::net::sockopt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub use stats::{CommandCounts, LATENCY_BOUNDS_US, LatencyCounts, Stats};

use crate::settings::Secret;
use registry::Registry;

/// How a port answers for keys that another node leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Port 6380: every command for every key is answered, wherever the key is led.
    Proxy,
    /// Port 6384: keys led elsewhere are answered with MOVED, as in Redis Cluster.
    Here,
}

/// What a RESP port is told.
#[derive(Clone)]
pub struct FrontOptions {
    /// How it answers for keys that another node leads.
    pub mode: Mode,
    /// What clients must prove; `None`: nothing.
    pub password: Option<Secret>,
    /// The limits of one request.
    pub limits: Limits,
    /// How many clients may be connected to this port; one more is told so and turned away.
    pub connections_max: usize,
    /// A client that takes nothing of its replies for this long is disconnected.
    pub output_timeout: Duration,
    /// What CONFIG GET shows: names and values, none of them secret.
    pub settings: Arc<Vec<(String, String)>>,
    /// What TIME tells.
    pub clock: Arc<dyn Clock>,
    /// What is counted; the ports of a node share it.
    pub stats: Arc<Stats>,
}

/// What all connections of a port share.
struct Port<R> {
    requests: R,
    options: FrontOptions,
    registry: Registry,
    address: SocketAddr,
    started: Instant,
}

/// How long to wait when the system has no descriptor left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An idle connection is probed after this long, this often, and given up after this many probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// How long one who is turned away may take to read why.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// How many are being turned away at once; others are just dropped.
const REFUSALS_MAX: usize = 64;

/// Serves clients on `listener` until `shutdown`: then it accepts no more, lets each connection answer what
/// it has begun, and returns when all are closed. Dropping the future closes them at once.
///
/// # Errors
/// Only when the listener itself cannot tell its address.
pub async fn serve<R: Requests>(
    listener: TcpListener,
    requests: R,
    options: FrontOptions,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let registry = Registry::default();
    let port = Arc::new(Port { requests, options, registry, address, started: Instant::now() });
    let mut connections = JoinSet::new();
    let mut refusals = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                report_panic(ended);
                continue;
            }
            Some(_) = refusals.join_next(), if !refusals.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, %address, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if connections.len() >= port.options.connections_max {
            port.options.stats.connection_refused();
            if refusals.len() < REFUSALS_MAX {
                refusals.spawn(turn_away(stream, port.options.connections_max));
            }
            continue;
        }
        prepare(&stream);
        debug!(%peer, %address, "client connected");
        connections.spawn(connection::run(port.clone(), stream, peer, shutdown.child_token()));
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        report_panic(ended);
    }
    Ok(())
}

/// Sends replies at once, and lets the system notice a peer that vanished without a word: an idle client may
/// stay as long as it likes, a dead one must not keep its place.
fn prepare(stream: &TcpStream) {
    let prepared = stream.set_nodelay(true).and_then(|()| {
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
        Ok(())
    });
    if let Err(error) = prepared {
        debug!(%error, "a socket option is not available");
    }
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked; the connection is closed");
    }
}

async fn turn_away(mut stream: TcpStream, connections_max: usize) {
    let words = format!("ERR max number of clients reached (max_connections is {connections_max})");
    let mut out = bytes::BytesMut::new();
    Value::error(words).encode(Protocol::Resp2, &mut out);
    let _ = tokio::time::timeout(REFUSAL_TIME, stream.write_all(&out)).await;
}
