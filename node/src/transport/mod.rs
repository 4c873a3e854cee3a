//! What nodes say to each other, over gRPC on the peer port.
//!
//! One stream per pair of nodes and direction carries the raft messages of all groups ([`raft`]), another
//! the commands that one node takes in for another ([`forward`]); snapshots travel on connections of their
//! own ([`snapshot`]) at the rate that the cluster allows ([`pace`]). Names are looked up at every connection
//! ([`connecting`]). Every call names cluster, sender and
//! receiver and proves the peer secret ([`handshake`]); [`server`] answers them. Only a node that wants to
//! become a member has no name yet ([`joining`]).

pub(crate) mod connecting;
pub(crate) mod forward;
pub(crate) mod handshake;
pub(crate) mod joining;
mod pace;
pub(crate) mod peers;
pub(crate) mod raft;
pub(crate) mod server;
pub(crate) mod snapshot;

use std::time::Duration;

/// Largest gRPC message between nodes: a batch of writes of 16 MiB values must fit.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The windows of HTTP/2 are opened wide: tonic's defaults throttle bulk transfer.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// All streams of a connection together.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// How long to wait before a lost peer is called again.
pub(crate) const RECONNECT_DELAY: Duration = Duration::from_millis(200);

/// Both ends of a connection find out by themselves that the other is gone.
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// How long the other end may take to answer a sign of life.
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(4);
