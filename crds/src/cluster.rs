//! The root of the resource: the spec's fields, the rules that span them, and what `kubectl get`
//! shows.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::spec::{Auth, NodeSettings, Rebalance, Resources, Scheduling, Service, Storage};
use crate::status::FlinClusterStatus;

/// A Flin cluster: what it should be like.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "flin.io",
    version = "v1alpha1",
    kind = "FlinCluster",
    plural = "flinclusters",
    singular = "flincluster",
    shortname = "flin",
    namespaced,
    status = "FlinClusterStatus",
    derive = "PartialEq",
    doc = "A Flin cluster: keys, linearizable and durable, on several nodes.",
    cel,
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.ready",
        description = "Ready nodes of those there should be"
    ),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        json_path = ".spec.replicas",
        description = "Nodes asked for"
    ),
    printcolumn(
        name = "Partitions",
        type_ = "integer",
        json_path = ".spec.partitions",
        description = "Raft groups that share the keys"
    ),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "What the cluster is going through, in one word"
    ),
    printcolumn(
        name = "Scale",
        type_ = "string",
        json_path = ".status.scale.phase",
        description = "How far a change of the number of nodes or replicas is"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.version",
        description = "The version its nodes report"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Available\")].message",
        description = "Why it is available or not",
        priority = 1
    ),
    printcolumn(
        name = "Progress",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Progressing\")].message",
        description = "What the operator is about, or why it is not",
        priority = 1
    ),
    validation = Rule::new("size(self.metadata.name) <= 40")
        .message("the name of a FlinCluster may have at most 40 characters, so that the names and labels derived from it fit"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name of a FlinCluster must begin with a letter, end with a letter or digit and have only lower case letters, digits and '-', because Services are named after it")
)]
#[x_kube(
    validation = Rule::new("self.replicas >= self.replicationFactor")
        .message("replicas must be at least replicationFactor: each partition keeps its replicas on different nodes")
        .field_path(".replicas"),
    validation = Rule::new("has(self.auth) == has(oldSelf.auth)")
        .message("auth cannot be added or removed once the cluster exists")
)]
#[serde(rename_all = "camelCase")]
pub struct FlinClusterSpec {
    /// How many nodes (pods) the cluster has; at least `replicationFactor`. It may be changed at any time,
    /// also half way through another change: partitions move while clients are served. Fewer nodes than
    /// have room for the data are refused in the condition Progressing.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: i32,

    /// How many replicas of each partition there are, each on a node of its own: 1, 3 or 5. An
    /// acknowledged write is on the disks of a majority of them. It may be changed at any time; replicas are
    /// added or removed while clients are served.
    #[serde(default = "default_replication_factor")]
    #[schemars(extend("enum" = [1, 3, 5]))]
    pub replication_factor: i32,

    /// How many partitions (raft groups) share the 16384 hash slots. Fixed when the cluster is made.
    #[serde(default = "default_partitions")]
    #[schemars(range(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("partitions is fixed when the cluster is made: keys cannot be dealt out anew"))]
    pub partitions: i32,

    /// The image of the nodes; when absent that of the operator which made the cluster. A change restarts
    /// one node at a time, each only when the one before serves again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// The disk of each node.
    pub storage: Storage,

    /// What each node requests and may use. A change restarts one node at a time.
    #[serde(default)]
    pub resources: Resources,

    /// The Service that clients connect to. It may be changed at any time.
    #[serde(default)]
    pub service: Service,

    /// Where the passwords come from; when absent the operator generates them into the Secret
    /// `<name>-auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,

    /// Settings of the nodes; each one absent is the node's default. A change restarts one node at a time.
    #[serde(default, skip_serializing_if = "NodeSettings::is_empty")]
    pub config: NodeSettings,

    /// Where the pods may run. Nodes are spread over hosts and zones as far as there are any. A change
    /// restarts one node at a time.
    #[serde(default, skip_serializing_if = "Scheduling::is_empty")]
    pub scheduling: Scheduling,

    /// How replicas of partitions are moved between nodes. It may be changed at any time.
    #[serde(default)]
    pub rebalance: Rebalance,

    /// Take over the volumes that an earlier cluster of this name left behind, with the data on them.
    /// Without it such volumes stop the cluster from forming (phase FoundExistingData).
    #[serde(default)]
    pub adopt: bool,
}

const fn default_replicas() -> i32 {
    3
}

const fn default_replication_factor() -> i32 {
    3
}

const fn default_partitions() -> i32 {
    64
}
