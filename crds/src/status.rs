//! What the operator says about a FlinCluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator has seen of a cluster. Nothing in it changes while the cluster does not.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlinClusterStatus {
    /// The generation of the spec this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// What the cluster is going through, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// Ready nodes of those there should be, for example `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,

    /// How many nodes there are.
    #[serde(default)]
    pub replicas: i32,

    /// How many nodes are ready.
    #[serde(default)]
    pub ready_replicas: i32,

    /// The label selector of the nodes' pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// The version the nodes report; while they differ, the lowest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// The conditions Available, Progressing, Degraded and Rebalancing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The cluster's birth: written before anything else is made, never changed but for its phase.
    /// Removing it makes the operator forget that the cluster exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,

    /// The nodes, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub members: Vec<MemberStatus>,

    /// The partitions, summed up, as the nodes last reported them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<PartitionsStatus>,

    /// How far a change of the number of nodes or replicas is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleStatus>,

    /// How far a change of what runs in the pods is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
}

/// What a cluster is going through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Nothing is made yet; the condition Available says why.
    Pending,
    /// Volumes of an earlier cluster are in the way.
    FoundExistingData,
    /// The first nodes start and agree.
    Forming,
    /// Every partition is led and every replica is there.
    Running,
    /// Clients are served while nodes or replicas are added or removed: `status.scale` says how far it is.
    Scaling,
    /// Clients are served while nodes are restarted one at a time: `status.rollout` says how far it is.
    RollingOut,
    /// Every partition is led, but something is missing.
    Degraded,
    /// Some partitions are not led, or the nodes cannot be asked.
    Unavailable,
    /// The volumes of every node are empty or not this cluster's.
    DataLost,
}

/// How a cluster began.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrap {
    /// The identity of the cluster, a random UUID.
    pub cluster_id: String,

    /// How far the bootstrap is.
    pub phase: BootstrapPhase,

    /// The number of partitions it began with.
    pub partitions: i32,

    /// The number of replicas of each partition it began with.
    pub replication_factor: i32,

    /// The nodes it began with, by name.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub members: Vec<BootstrapMember>,
}

/// How far a bootstrap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BootstrapPhase {
    /// Nodes with an empty disk take part in making the cluster.
    Forming,
    /// The cluster exists; a node with an empty disk has lost its data.
    Formed,
}

/// A node that a cluster began with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapMember {
    /// The pod's name.
    pub name: String,

    /// Its number in the cluster.
    pub node_id: i64,

    /// Where other nodes reach it.
    pub peer_address: String,

    /// Where topology-aware clients reach it.
    pub client_address: String,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// The pod's name.
    pub name: String,

    /// Its number in the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<i64>,

    /// Whether its pod is ready: it serves clients.
    #[serde(default)]
    pub ready: bool,

    /// Whether the other nodes hear from it.
    #[serde(default)]
    pub alive: bool,

    /// How many replicas of partitions it holds.
    #[serde(default)]
    pub replicas: i32,

    /// How many partitions it leads.
    #[serde(default)]
    pub leaders: i32,

    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A change of the number of nodes or replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleStatus {
    /// The step that is under way.
    pub phase: ScalePhase,

    /// How many nodes there were when it began; absent when nothing is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<i32>,

    /// How many nodes there are to be; absent when nothing is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<i32>,

    /// Nodes that start for the first time, by name: they are awaited and do not count as missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joining: Vec<String>,

    /// How many replicas are still to be moved; while nodes are emptied, how many these still hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas_left: Option<i64>,

    /// How many bytes of live data these replicas have, estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_left: Option<i64>,

    /// What is waited for, or why a change that the spec asks for does not begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The steps of a change of the number of nodes. Up: Joining, Rebalancing. Down: Draining, Removing,
/// Shrinking, and Rebalancing where the nodes that stay are not yet level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScalePhase {
    /// Nothing is under way.
    #[default]
    Idle,
    /// New nodes start and become members.
    Joining,
    /// Replicas and leaders move until every node has its share.
    Rebalancing,
    /// The nodes that go hand their replicas to those that stay.
    Draining,
    /// The nodes that go, empty now, are taken out of the membership.
    Removing,
    /// Their pods go.
    Shrinking,
}

/// A change of what runs in the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// Whether it goes on.
    pub phase: RolloutPhase,

    /// How many pods are as the spec asks.
    #[serde(default)]
    pub updated: i32,

    /// How many pods there are to be.
    #[serde(default)]
    pub total: i32,

    /// The pod whose turn it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,

    /// What is being done with it. Recorded before it is begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<RolloutStep>,

    /// What is waited for, or what stands in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Whether a change of what runs in the pods goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutPhase {
    /// Every pod is as the spec asks.
    #[default]
    Idle,
    /// Nodes are restarted one at a time.
    Rolling,
    /// A restarted node does not become ready: no other one is touched until it does, or the spec is changed.
    Blocked,
}

/// What is being done with one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutStep {
    /// Its node hands its leaderships to others.
    HandingOver,
    /// It was deleted and comes back.
    Restarting,
}

/// The partitions, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartitionsStatus {
    /// How many there are.
    pub total: i32,

    /// How many have fewer live and caught-up replicas than they should.
    pub under_replicated: i32,

    /// How many have no leader.
    pub leaderless: i32,
}

/// The types of the conditions.
pub mod condition {
    /// Clients are served: every partition has a leader.
    pub const AVAILABLE: &str = "Available";
    /// The operator is at work to bring about what the spec asks for. False with a reason when the spec
    /// asks for what cannot be done.
    pub const PROGRESSING: &str = "Progressing";
    /// Something is missing: a node, a replica, a Secret.
    pub const DEGRADED: &str = "Degraded";
    /// Replicas or leaderships are yet to move until every node has its share.
    pub const REBALANCING: &str = "Rebalancing";
}

/// The reasons in conditions: stable words that programs may compare.
pub mod reason {
    /// Every partition has a leader and some node serves clients.
    pub const ALL_PARTITIONS_LED: &str = "AllPartitionsLed";
    /// The cluster is being made.
    pub const FORMING: &str = "Forming";
    /// The spec is what is there.
    pub const SETTLED: &str = "Settled";
    /// Nodes are starting.
    pub const NODES_STARTING: &str = "NodesStarting";
    /// Every node is there, and every replica.
    pub const ALL_NODES_HEALTHY: &str = "AllNodesHealthy";
    /// Some partitions have no leader.
    pub const PARTITIONS_LEADERLESS: &str = "PartitionsLeaderless";
    /// Some partitions miss a replica.
    pub const PARTITIONS_UNDER_REPLICATED: &str = "PartitionsUnderReplicated";
    /// Some nodes are not ready or not heard of.
    pub const NODES_MISSING: &str = "NodesMissing";
    /// No node answered the operator.
    pub const NODES_UNREACHABLE: &str = "NodesUnreachable";
    /// No node is ready to serve clients.
    pub const NO_NODE_READY: &str = "NoNodeReady";
    /// Volumes of an earlier cluster are in the way.
    pub const FOUND_EXISTING_DATA: &str = "FoundExistingData";
    /// `spec.adopt` is set, but the volumes do not make the cluster that the spec asks for.
    pub const ADOPTION_REFUSED: &str = "AdoptionRefused";
    /// No node has this cluster's data any more.
    pub const DATA_LOST: &str = "DataLost";
    /// Some nodes refuse their disk: it is empty or not this cluster's.
    pub const MEMBER_DATA_LOST: &str = "MemberDataLost";
    /// The spec breaks a rule that the API server should have held.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// An object of the name that is needed exists and is not this cluster's.
    pub const OBJECT_NOT_OURS: &str = "ObjectNotOurs";
    /// Objects of an earlier cluster of this name are still being deleted.
    pub const WAITING_FOR_DELETION: &str = "WaitingForDeletion";
    /// The Secret with the passwords is missing.
    pub const SECRET_MISSING: &str = "SecretMissing";
    /// The Secret with the passwords lacks a key.
    pub const SECRET_INCOMPLETE: &str = "SecretIncomplete";
    /// Changing the volumes' size is not supported yet.
    pub const STORAGE_RESIZE_NOT_SUPPORTED: &str = "StorageResizeNotSupported";
    /// The nodes that would remain have no room for the data.
    pub const INSUFFICIENT_CAPACITY: &str = "InsufficientCapacity";
    /// The nodes refused what a change of scale needs; the message repeats their words.
    pub const REFUSED_BY_NODES: &str = "RefusedByNodes";
    /// A change of scale is asked for and waits; the message says for what.
    pub const SCALE_WAITING: &str = "ScaleWaiting";
    /// New nodes start and become members.
    pub const JOINING: &str = "Joining";
    /// Replicas and leaders move until every node has its share.
    pub const REBALANCING: &str = "Rebalancing";
    /// Every node holds its share of replicas and leads its share of partitions.
    pub const BALANCED: &str = "Balanced";
    /// Every node has its share, but some partitions have several replicas in one zone.
    pub const ZONES_SHARED: &str = "ZonesShared";
    /// Replicas are being moved.
    pub const REPLICAS_MOVING: &str = "ReplicasMoving";
    /// Every replica is in its place, and leaderships are handed over.
    pub const LEADERS_MOVING: &str = "LeadersMoving";
    /// Replicas are yet to be moved, and the spec says to pause.
    pub const MOVES_PAUSED: &str = "MovesPaused";
    /// Replicas are yet to be moved and cannot be; the message says why.
    pub const MOVES_BLOCKED: &str = "MovesBlocked";
    /// The nodes that go hand their replicas to those that stay.
    pub const DRAINING: &str = "Draining";
    /// The nodes that go are taken out of the membership.
    pub const REMOVING: &str = "Removing";
    /// The pods of nodes that are no members any more go.
    pub const SHRINKING: &str = "Shrinking";
    /// Nodes are restarted one at a time, as the spec asks.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// A restarted node does not become ready; no other one is restarted.
    pub const ROLLOUT_BLOCKED: &str = "RolloutBlocked";
    /// One node is away because the operator restarts it.
    pub const NODE_RESTARTING: &str = "NodeRestarting";
    /// The meta group has no leader: clients are served, but nothing can be moved and nobody can join.
    pub const META_LEADERLESS: &str = "MetaLeaderless";
}

/// What must hold before the next node is restarted, by name: a message that waits for one begins with it.
pub mod gate {
    /// No change of the number of nodes or replicas is under way.
    pub const NO_SCALE_UNDER_WAY: &str = "NoScaleUnderWay";
    /// Every pod is there and ready.
    pub const ALL_PODS_READY: &str = "AllPodsReady";
    /// Some node answers.
    pub const NODES_ANSWER: &str = "NodesAnswer";
    /// Every member is heard of by the others and holds its share.
    pub const ALL_MEMBERS_SERVE: &str = "AllMembersServe";
    /// Every partition has a leader, and so has the meta group.
    pub const ALL_PARTITIONS_LED: &str = "AllPartitionsLed";
    /// Every partition has all its replicas, alive and caught up.
    pub const FULL_STRENGTH: &str = "FullStrength";
    /// No replica is being moved.
    pub const NOTHING_MOVES: &str = "NothingMoves";
}
