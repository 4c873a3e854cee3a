//! The `FlinCluster` custom resource, `flinclusters.flin.io/v1alpha1`: what a person asks for
//! ([`FlinClusterSpec`]), what the operator answers ([`FlinClusterStatus`]) and how everything made
//! for it is called ([`names`]).
//!
//! The rules a spec must obey are CEL in the schema, so the API server refuses a bad spec with a
//! sentence and no webhook is needed. `crds/flinclusters.yaml` is generated from these types by the
//! `flin-crds` binary and committed; a test holds the two together.

mod cluster;
mod manifest;
pub mod names;
mod quantity;
mod spec;
mod status;

pub use cluster::{FlinCluster, FlinClusterSpec};
pub use manifest::{chart_template, crd, manifest};
pub use quantity::Quantity;
pub use spec::{
    Auth, LogLevel, NodePorts, NodeSettings, Rebalance, Resources, RetainPolicy, Scheduling,
    Service, ServiceType, Storage,
};
pub use status::{
    Bootstrap, BootstrapMember, BootstrapPhase, FlinClusterStatus, MemberStatus, PartitionsStatus,
    Phase, RolloutPhase, RolloutStatus, RolloutStep, ScalePhase, ScaleStatus, condition, gate,
    reason,
};
