//! The state machine of the meta group: who the members are and where partitions live.
//!
//! A cluster begins with one [`Change::Form`] and serves clients after [`Change::ConfirmFormed`]. Every
//! change is pure and deterministic: it takes effect whole, or is [`Rejected`] and leaves no trace.

mod apply;
mod genesis;
mod placement;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use apply::apply_cluster;
pub use genesis::{BadGenesis, Genesis, GenesisMember, MEMBERS_MAX};
pub use placement::place;

use crate::codec::Malformed;
use crate::engine::{EngineError, Reader};
use crate::ids::{ClusterId, GroupId, NodeId, PartitionId, ReplicaId};
use crate::keys::EngineKey;
use crate::membership::Configuration;

/// The level of semantics that this build applies; a replicated number, so that mixed versions apply
/// alike.
pub const FEATURE_LEVEL: u32 = 1;

/// The version of the envelope of a [`Change`].
const CHANGE_VERSION: u8 = 1;

/// Everything that is not data, as of one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterState {
    /// Which cluster this is.
    pub cluster_id: ClusterId,
    /// The number of partitions, fixed for ever.
    pub partitions: u16,
    /// How many replicas each group has.
    pub replication_factor: u8,
    /// Whether the bootstrap is recorded as done and clients are served.
    pub formed: bool,
    /// Grows by one with each change.
    pub revision: u64,
    /// The nodes of the cluster.
    pub members: BTreeMap<NodeId, Member>,
    /// The id of the next node to join.
    pub next_node_id: NodeId,
    /// The id of the next replica to be placed.
    pub next_replica_id: ReplicaId,
    /// For each partition its replicas, the preferred leader first.
    pub placement: Vec<Vec<Placement>>,
    /// The replicas of the meta group.
    pub meta: Vec<Placement>,
    /// The level of semantics in force.
    pub feature_level: u32,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its name, for example that of its pod.
    pub name: String,
    /// Where other nodes reach it, `host:port`.
    pub peer_address: String,
    /// Where clients that route themselves reach it, `host:port`.
    pub client_address: String,
    /// Its failure zone; empty if unknown.
    pub zone: String,
}

/// A replica and the node that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The replica, never the id of another.
    pub replica: ReplicaId,
    /// Where it lives.
    pub node: NodeId,
}

/// A change of the cluster, one entry of the meta group's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Change {
    /// Begins the cluster. Repeating the same one is no error.
    Form {
        /// What it begins with.
        genesis: Genesis,
    },
    /// Declares the bootstrap recorded as done. Repeating it is no error.
    #[serde(rename_all = "camelCase")]
    ConfirmFormed {
        /// The cluster that is meant.
        cluster_id: ClusterId,
    },
    /// Says where a member is reached from now on.
    #[serde(rename_all = "camelCase")]
    SetMemberAddresses {
        /// The member.
        node: NodeId,
        /// Where other nodes reach it.
        peer_address: String,
        /// Where clients that route themselves reach it.
        client_address: String,
    },
}

/// Why a change did nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// There is no cluster yet.
    #[error("the cluster is not begun")]
    NotBegun,
    /// There is one already, and it did not begin like this.
    #[error("cluster {0} has begun already, with another genesis")]
    BegunOtherwise(ClusterId),
    /// The genesis breaks a rule.
    #[error(transparent)]
    BadGenesis(#[from] BadGenesis),
    /// Another cluster was meant.
    #[error("this is cluster {actual}, not {expected}")]
    OtherCluster {
        /// Which was meant.
        expected: ClusterId,
        /// Which this is.
        actual: ClusterId,
    },
    /// There is no such member.
    #[error("node {0} is no member")]
    UnknownMember(NodeId),
    /// An address is not `host:port`.
    #[error("`{0}` is not an address, `host:port`")]
    BadAddress(String),
}

impl Change {
    /// The binary form: a version byte, then JSON.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![CHANGE_VERSION];
        serde_json::to_writer(&mut out, self).expect("strings, numbers and lists are always JSON");
        Bytes::from(out)
    }

    /// The inverse of [`Change::encode`].
    ///
    /// # Errors
    /// [`Malformed`] for an unknown version, change or field, which stops the node: a newer build wrote
    /// it.
    pub fn decode(bytes: &[u8]) -> Result<Change, Malformed> {
        let malformed = |what, offset| Malformed { what, offset };
        match bytes.split_first() {
            Some((&CHANGE_VERSION, json)) => serde_json::from_slice(json)
                .map_err(|error| malformed("change of the cluster", error.column())),
            _ => Err(malformed("version", 0)),
        }
    }
}

impl ClusterState {
    /// What `reader` holds of the cluster; `None` before it has begun.
    ///
    /// # Errors
    /// Those of the reader, and a state that this build cannot read.
    pub fn load(reader: &dyn Reader) -> crate::engine::Result<Option<ClusterState>> {
        let Some(bytes) = reader.get(&ClusterState::key())? else { return Ok(None) };
        let state = ClusterState::from_json(&bytes)
            .map_err(|error| EngineError::new("read the cluster's state", error))?;
        Ok(Some(state))
    }

    /// The engine key of the state.
    pub fn key() -> Bytes {
        EngineKey::Cluster.to_bytes(GroupId::META)
    }

    /// The persisted form, which also goes from node to node.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and lists are always JSON")
    }

    /// The inverse of [`ClusterState::to_json`].
    ///
    /// # Errors
    /// Those of the JSON.
    pub fn from_json(json: &[u8]) -> Result<ClusterState, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The replicas of a group; empty for one that does not exist.
    pub fn replicas_of(&self, group: GroupId) -> &[Placement] {
        match group.partition() {
            None => &self.meta,
            Some(PartitionId(partition)) => {
                self.placement.get(usize::from(partition)).map_or(&[], Vec::as_slice)
            }
        }
    }

    /// The node that should lead `group`.
    pub fn preferred_leader(&self, group: GroupId) -> Option<NodeId> {
        self.replicas_of(group).first().map(|placement| placement.node)
    }

    /// The configuration that `group` begins with.
    pub fn first_configuration(&self, group: GroupId) -> Configuration {
        Configuration::of_voters(self.replicas_of(group).iter().map(|p| (p.replica, p.node)))
    }

    /// The groups that `node` holds a replica of, in order, the meta group first.
    pub fn groups_on(&self, node: NodeId) -> impl Iterator<Item = (GroupId, ReplicaId)> + '_ {
        std::iter::once(GroupId::META)
            .chain((0..self.partitions).map(|partition| PartitionId(partition).group()))
            .filter_map(move |group| {
                let here = self.replicas_of(group).iter().find(|p| p.node == node)?;
                Some((group, here.replica))
            })
    }
}
