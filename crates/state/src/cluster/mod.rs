//! The state machine of the meta group: who the members are and where partitions live.
//!
//! A cluster begins with one [`Change::Form`] and serves clients after [`Change::ConfirmFormed`]. Every
//! change is pure and deterministic: it takes effect whole, or is [`Rejected`] and leaves no trace.
//! [`plan_moves`] says from the state alone which replicas should go where.

mod apply;
mod balance;
mod change;
mod genesis;
mod leadership;
mod placement;
mod recovery;
mod rejected;
mod whereabouts;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use apply::apply_cluster;
pub use balance::{ADDITIONS_PER_NODE_MAX, Plan, Sight, plan_moves};
pub use change::{Change, Move};
pub use genesis::{BadGenesis, Genesis, GenesisMember, MEMBERS_MAX};
pub use placement::place;
pub use recovery::{Sighting, Verdict, judge};
pub use rejected::Rejected;
pub use whereabouts::Farewell;

use crate::engine::{EngineError, Reader};
use crate::ids::{ClusterId, GroupId, NodeId, ReplicaId};
use crate::keys::EngineKey;

/// The level of semantics that this build applies; a replicated number, so that mixed versions apply
/// alike.
pub const FEATURE_LEVEL: u32 = 1;

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
    /// The first replica id that the genesis did not mint: a replica with an earlier one may begin with the
    /// configuration of its group's genesis, a later one begins blank and waits for a snapshot.
    pub first_later_replica: ReplicaId,
    /// The groups that began anew after all their replicas were lost, and the replica that each began with.
    #[serde(default)]
    pub begun_anew: BTreeMap<GroupId, ReplicaId>,
    /// The moves under way, at most one per group. `placement` and `meta` are as before them.
    pub jobs: BTreeMap<GroupId, Job>,
    /// The id of the next job.
    pub next_job_id: u64,
    /// How replicas are moved.
    pub rebalance: RebalanceSettings,
    /// What was moved since the cluster was made.
    pub moved: Moved,
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
    /// What it joined with; empty for a first member.
    pub nonce: String,
    /// What is to become of it.
    pub state: MemberState,
}

/// What is to become of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MemberState {
    /// It holds its share.
    #[default]
    Serving,
    /// It is being emptied on request.
    Draining,
    /// It was not heard of for too long: others get what it holds, until it comes back.
    Lost,
    /// Another node took its name with an empty disk, or it was declared gone for good: it never comes back.
    Replaced,
}

/// A move of one replica of one group, until the group's configuration says that it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its id, never that of another.
    pub id: u64,
    /// The replica to be added; none when the group has too many.
    pub add: Option<Placement>,
    /// The replica to be removed; none when the group has too few.
    pub remove: Option<Placement>,
    /// Whether it is to be taken back, as far as it is not done.
    pub undo: bool,
}

/// The most moves at a time that can be asked for.
pub const MOVES_MAX: u32 = 64;

/// How replicas are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RebalanceSettings {
    /// Whether nothing new is moved.
    pub paused: bool,
    /// Moves at a time in the whole cluster, 1 to 64.
    pub max_moves: u32,
    /// What one node sends at most for moves; 0: as fast as it goes.
    pub bytes_per_second: u64,
    /// A node not heard of for this long is replaced; 0: never.
    pub replace_after_seconds: u64,
}

impl Default for RebalanceSettings {
    fn default() -> Self {
        RebalanceSettings {
            paused: false,
            max_moves: 4,
            bytes_per_second: 0,
            replace_after_seconds: 600,
        }
    }
}

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// Replicas added by moves that are done.
    pub replicas: u64,
    /// Their live data, as estimated when each was done.
    pub bytes: u64,
}

/// A replica and the node that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The replica, never the id of another.
    pub replica: ReplicaId,
    /// Where it lives.
    pub node: NodeId,
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
}
