//! What scenarios stand on: a client for the kind cluster, namespaces that come and go, conditions with a
//! deadline and a story, FlinClusters, Jobs of our own image, small disks, ways to kill, failpoints of the operator,
//! and somebody who watches.

mod condition;
mod exec;
mod failpoints;
mod flincluster;
mod job;
mod kill;
mod kubernetes;
mod machine;
mod metrics;
mod namespace;
mod operator;
mod rest;
mod small_disk;
mod story;
mod watch;

pub(crate) use condition::{Seen, await_condition};
pub(crate) use failpoints::{Failpoints, with_failpoints};
pub(crate) use flincluster::{FlinCluster, condition, flinclusters, small_spec, small_spec_with};
pub(crate) use job::{Job, JobOptions, Output};
pub(crate) use kubernetes::Kubernetes;
pub(crate) use machine::Machine;
pub(crate) use namespace::{Space, await_all_removed, with_namespace};
pub(crate) use operator::RESUMED;
pub(crate) use rest::Rest;
pub(crate) use small_disk::SmallDisks;
pub(crate) use story::events_since;
pub(crate) use watch::{Passed, Sight, View, Watch, WatchOptions};

/// The namespace and name of the FlinCluster that `cargo xtask up` makes.
pub(crate) const DEMO_NAMESPACE: &str = "flin";
pub(crate) const DEMO: &str = "demo";
/// Where the operator runs, and its name.
pub(crate) const OPERATOR_NAMESPACE: &str = "flin-system";
pub(crate) const OPERATOR: &str = "flin-operator";
/// Where the demo cluster answers outside Kubernetes.
pub(crate) const DEMO_RESP: &str = "127.0.0.1:6380";
pub(crate) const DEMO_GRPC: &str = "http://127.0.0.1:6381";
