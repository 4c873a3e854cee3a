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

    /// The conditions Available, Progressing and Degraded.
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
    /// Every partition is led and every copy is there.
    Running,
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

    /// The number of copies of each partition it began with.
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

    /// How many copies of partitions it holds.
    #[serde(default)]
    pub replicas: i32,

    /// How many partitions it leads.
    #[serde(default)]
    pub leaders: i32,

    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The partitions, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartitionsStatus {
    /// How many there are.
    pub total: i32,

    /// How many have fewer live and caught-up copies than `replicationFactor`.
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
    /// Something is missing: a node, a copy, a Secret.
    pub const DEGRADED: &str = "Degraded";
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
    /// Every node is there, and every copy.
    pub const ALL_NODES_HEALTHY: &str = "AllNodesHealthy";
    /// Some partitions have no leader.
    pub const PARTITIONS_LEADERLESS: &str = "PartitionsLeaderless";
    /// Some partitions miss a copy.
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
    /// Changing the number of nodes is not supported yet.
    pub const SCALING_NOT_SUPPORTED: &str = "ScalingNotSupported";
    /// Changing the volumes' size is not supported yet.
    pub const STORAGE_RESIZE_NOT_SUPPORTED: &str = "StorageResizeNotSupported";
    /// Changing what runs in the pods is not supported yet.
    pub const ROLLOUT_NOT_SUPPORTED: &str = "RolloutNotSupported";
}
