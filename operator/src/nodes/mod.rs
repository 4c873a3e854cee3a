//! What the operator asks of the nodes, and what they say. [`RemoteNodes`] reaches them over their gRPC
//! administration service.

mod remote;

pub use remote::RemoteNodes;

use std::collections::BTreeSet;
use std::fmt;

use futures::future::BoxFuture;
use tonic::{Code, Status};

/// The clients' password of a cluster; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Wraps a password.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Password(hidden)")
    }
}

/// A cluster as one of its nodes knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The address that was asked, `host:port`.
    pub address: String,
    /// The cluster's identity.
    pub cluster_id: String,
    /// Whether clients are served.
    pub formed: bool,
    /// The number of partitions.
    pub partitions: u32,
    /// How many replicas of each partition there should be.
    pub replication_factor: u32,
    /// The revision of the meta state it is from.
    pub revision: u64,
    /// Partitions that miss a live, caught-up replica.
    pub under_replicated: u32,
    /// Partitions without a leader.
    pub leaderless: u32,
    /// Whether the meta group has a leader.
    pub meta_led: bool,
    /// The members.
    pub members: Vec<ReportedMember>,
    /// How replicas are being moved.
    pub rebalance: Rebalance,
    /// The version of the asked node.
    pub version: String,
}

/// A member as a node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedMember {
    /// The pod's name.
    pub name: String,
    /// Its number.
    pub node_id: u64,
    /// Whether the asked node hears from it.
    pub alive: bool,
    /// The replicas of partitions it holds.
    pub replicas: u32,
    /// The partitions it leads.
    pub leaders: u32,
    /// What is to become of it.
    pub state: MemberState,
    /// The zone it is in; empty when it does not know.
    pub zone: String,
    /// Replicas of any group, those being added or removed included; 0: it can be removed.
    pub holds: u32,
    /// The size of its data volume in bytes; 0 when unknown.
    pub disk_total_bytes: u64,
    /// What of it is free.
    pub disk_free_bytes: u64,
    /// Live data of its replicas in bytes, estimated.
    pub data_bytes: u64,
}

/// What is to become of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    /// It holds its share.
    #[default]
    Serving,
    /// It is being emptied.
    Draining,
    /// It was not heard of for too long and is being replaced by replicas elsewhere.
    Lost,
    /// Another node took its name with an empty disk; it never comes back.
    Replaced,
}

/// How replicas are being moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebalance {
    /// The settings in force.
    pub settings: RebalanceSettings,
    /// Moves under way.
    pub moving: u32,
    /// Replicas still to be moved, those under way included.
    pub replicas_left: u32,
    /// Their live data in bytes, estimated.
    pub bytes_left: u64,
    /// Why nothing is moved although something is left; empty otherwise.
    pub blocked: String,
    /// Whether every node holds its share of replicas and leads its share of partitions, within one.
    pub balanced: bool,
}

/// How replicas are to be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RebalanceSettings {
    /// Whether nothing new is moved.
    pub paused: bool,
    /// Moves at a time.
    pub max_moves: u32,
    /// What one node sends at most; 0: as fast as it goes.
    pub bytes_per_second: u64,
    /// A node not heard of for this long is replaced; 0: never.
    pub replace_after_seconds: u64,
}

/// What the nodes are told to do, together: any of them takes it. Repeating an order is no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Have so many replicas of each partition.
    SetReplicationFactor(u32),
    /// Move replicas like this.
    SetRebalance(RebalanceSettings),
    /// Empty exactly these nodes and fill every other one.
    SetDraining(BTreeSet<u64>),
    /// Take an empty node out of the membership.
    RemoveMember(u64),
}

/// A call that a node did not answer as hoped.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The address or password cannot be put into a request.
    #[error("prepare a call to {address}: {words}")]
    Prepare {
        /// The node's address.
        address: String,
        /// What is wrong.
        words: String,
    },
    /// Nobody answers there.
    #[error("connect to {address}")]
    Connect {
        /// The node's address.
        address: String,
        /// Why.
        source: Box<tonic::transport::Error>,
    },
    /// The node refused or failed.
    #[error("{call} at {address}: {}", status.message())]
    Call {
        /// The call.
        call: &'static str,
        /// The node's address.
        address: String,
        /// Its answer.
        status: Box<Status>,
    },
}

impl NodeError {
    /// The node's words when it refused for good what was asked: asking again does not help until something
    /// changes.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Call { status, .. }
                if matches!(status.code(), Code::FailedPrecondition | Code::InvalidArgument) =>
            {
                Some(status.message())
            }
            _ => None,
        }
    }
}

/// The nodes of clusters; a parameter, so that tests need none.
pub trait Nodes: Send + Sync {
    /// The cluster as the node at `address` knows it.
    fn report<'a>(
        &'a self,
        address: &'a str,
        password: &'a Password,
    ) -> BoxFuture<'a, Result<Report, NodeError>>;

    /// Tells the cluster, through the node at `address`, that its birth is recorded. Repeating it is no
    /// error.
    fn confirm_formed<'a>(
        &'a self,
        address: &'a str,
        password: &'a Password,
        cluster_id: &'a str,
    ) -> BoxFuture<'a, Result<(), NodeError>>;

    /// Tells the cluster, through the node at `address`, what to do; returns once that is agreed.
    fn order<'a>(
        &'a self,
        address: &'a str,
        password: &'a Password,
        cluster_id: &'a str,
        order: &'a Order,
    ) -> BoxFuture<'a, Result<(), NodeError>>;

    /// Has the node at `address` hand its leaderships to others, or take them again when `undo`; says how
    /// many it still has. It goes on handing over after the answer, so ask again.
    fn step_down<'a>(
        &'a self,
        address: &'a str,
        password: &'a Password,
        undo: bool,
    ) -> BoxFuture<'a, Result<u32, NodeError>>;
}
