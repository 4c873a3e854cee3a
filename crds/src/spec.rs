//! The parts of a FlinCluster's spec.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::Quantity;

/// The disk of each node.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
        .message("storage.storageClassName is fixed when the cluster is made"),
    validation = Rule::new("quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0")
        .message("storage.size never shrinks: a volume cannot be made smaller"),
    validation = Rule::new("quantity(self.size).compareTo(quantity('1Gi')) >= 0")
        .message("storage.size must be at least 1Gi")
)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// The size of each node's volume, for example `10Gi`; at least `1Gi`. It never shrinks; growing it
    /// is not supported yet and is refused in the condition Progressing.
    #[schemars(
        length(max = 20),
        regex(pattern = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$")
    )]
    pub size: String,

    /// The StorageClass of the volumes; the default class of the Kubernetes cluster when absent. Fixed
    /// when the cluster is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,

    /// What becomes of the volumes when the FlinCluster is deleted: `Retain` keeps them (and the data)
    /// for `spec.adopt`, `Delete` deletes them for ever.
    #[serde(default)]
    pub retain: RetainPolicy,

    /// What becomes of the volume of a node that is scaled away, after its data has moved to the others:
    /// `Retain` keeps it, `Delete` deletes it.
    #[serde(default)]
    pub on_scale_down: RetainPolicy,
}

/// What becomes of volumes that are not needed any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RetainPolicy {
    /// They stay, with the data.
    #[default]
    Retain,
    /// They are deleted, for ever.
    Delete,
}

/// What each node requests and may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    // Written even if empty: absent is the default, and no amounts at all is a wish.
    /// What the scheduler sets aside.
    #[serde(default = "default_requests")]
    pub requests: BTreeMap<String, Quantity>,

    /// What may not be exceeded.
    #[serde(default = "default_limits")]
    pub limits: BTreeMap<String, Quantity>,
}

impl Default for Resources {
    fn default() -> Self {
        Self { requests: default_requests(), limits: default_limits() }
    }
}

fn default_requests() -> BTreeMap<String, Quantity> {
    [("cpu", "100m"), ("memory", "256Mi")].map(|(k, v)| (k.to_owned(), Quantity::from(v))).into()
}

fn default_limits() -> BTreeMap<String, Quantity> {
    [("memory", "1Gi")].map(|(k, v)| (k.to_owned(), Quantity::from(v))).into()
}

/// The Service that clients connect to.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("!has(self.nodePorts) || self.type != 'ClusterIP'")
        .message("service.nodePorts needs service.type NodePort or LoadBalancer")
)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// How it is reached: inside the Kubernetes cluster, on a port of every machine, or through a load
    /// balancer.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// Fixed ports on every machine; Kubernetes chooses those that are absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_ports: Option<NodePorts>,

    /// Annotations of the Service, for load balancer controllers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The type of the client Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Reached inside the Kubernetes cluster only.
    #[default]
    ClusterIP,
    /// Reached on a port of every machine too.
    NodePort,
    /// Reached through a load balancer too.
    LoadBalancer,
}

/// Fixed ports on every machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePorts {
    /// For the Redis protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub resp: Option<i32>,

    /// For gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub grpc: Option<i32>,
}

/// Where the passwords come from.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// A Secret in the same namespace with the keys `client-password` and `peer-secret`. The operator
    /// reads it and never writes it. Fixed when the cluster is made.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("auth.secretName is fixed when the cluster is made"))]
    pub secret_name: String,
}

/// Settings of the nodes, within the bounds that the node itself holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSettings {
    /// How much the nodes write to their logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,

    /// How many client connections one node accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub max_connections: Option<i32>,

    /// The largest request one client may send, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 65536, max = 50331648))]
    pub max_request_bytes: Option<i64>,

    /// The memory for blocks read from disk, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1048576, max = 1099511627776_i64))]
    pub block_cache_bytes: Option<i64>,

    /// The memory for writes not yet on disk as tables, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1048576, max = 68719476736_i64))]
    pub write_buffer_bytes: Option<i64>,

    /// How much disk the raft log may take before it is cut, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 67108864, max = 1099511627776_i64))]
    pub log_budget_bytes: Option<i64>,
}

impl NodeSettings {
    /// Whether every setting is left to the node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How much a node writes to its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only failures.
    Error,
    /// Failures and what may become one.
    Warn,
    /// The events of a normal life too.
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// How replicas of partitions are moved between nodes.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebalance {
    /// Nothing new is moved while true; what is under way is finished. A change of `replicas` then waits.
    #[serde(default)]
    pub paused: bool,

    /// How many replicas are moved at a time in the whole cluster.
    #[serde(default = "default_max_moves")]
    #[schemars(range(min = 1, max = 64))]
    pub max_moves: i32,

    /// What one node sends at most for moves in a second, for example `50Mi`; as fast as it goes when
    /// absent. At least `64Ki`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), regex(pattern = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$"))]
    #[x_kube(validation = Rule::new("quantity(self).compareTo(quantity('64Ki')) >= 0").message("rebalance.bytesPerSecond must be at least 64Ki; leave it out for no limit"))]
    pub bytes_per_second: Option<String>,

    /// A node not heard of for this many seconds is replaced by replicas on others if there is room; 0:
    /// never.
    #[serde(default = "default_replace_after_seconds")]
    #[schemars(range(min = 0, max = 31536000))]
    pub replace_after_seconds: i32,
}

impl Default for Rebalance {
    fn default() -> Self {
        Self {
            paused: false,
            max_moves: default_max_moves(),
            bytes_per_second: None,
            replace_after_seconds: default_replace_after_seconds(),
        }
    }
}

const fn default_max_moves() -> i32 {
    4
}

const fn default_replace_after_seconds() -> i32 {
    600
}

/// Where the pods may run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Labels that a machine must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints that the pods accept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,

    /// The PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// Secrets with which the image may be pulled, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<String>,
}

impl Scheduling {
    /// Whether the pods may run anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
