//! The Kubernetes objects of a cluster as they should be, one file each; pure functions of the plan.

pub mod bootstrap_config;
mod client_service;
mod config;
mod disruption_budget;
mod headless_service;
mod pod;
mod secret;
mod service_account;
mod statefulset;

pub use secret::secret;

use flin_crds::names;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::ObjectMeta;

use crate::plan::Settle;
use crate::validate::ValidatedCluster;

/// Everything that is applied for a cluster, in the order in which it is applied. The Secret is not
/// among it: it is created once and never touched again.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The pods' identity.
    pub service_account: ServiceAccount,
    /// The bootstrap record for the nodes.
    pub bootstrap_config: ConfigMap,
    /// The nodes' settings.
    pub config: ConfigMap,
    /// The Service that names the pods.
    pub headless_service: Service,
    /// The Service for clients.
    pub client_service: Service,
    /// The limit on voluntary disruptions.
    pub disruption_budget: PodDisruptionBudget,
    /// The nodes; absent while there are no passwords for them.
    pub statefulset: Option<StatefulSet>,
}

/// What should be there.
///
/// # Errors
/// If a part cannot be written as JSON or TOML, which no spec that the schema takes brings about.
pub fn desired(cluster: &ValidatedCluster, settle: &Settle) -> Result<Desired, Unwritable> {
    Ok(Desired {
        service_account: service_account::service_account(cluster),
        bootstrap_config: bootstrap_config::bootstrap_config(cluster, settle)?,
        config: config::config(cluster, settle),
        headless_service: headless_service::headless_service(cluster),
        client_service: client_service::client_service(cluster),
        disruption_budget: disruption_budget::disruption_budget(cluster, settle),
        statefulset: settle.has_passwords().then(|| statefulset::statefulset(cluster, settle)),
    })
}

/// A part of an object could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write {what}")]
pub struct Unwritable {
    /// The part.
    pub what: &'static str,
    /// Why.
    pub source: serde_json::Error,
}

/// The metadata every object of a cluster has.
fn metadata(cluster: &ValidatedCluster, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(cluster.namespace.clone()),
        labels: Some(names::labels(&cluster.name)),
        owner_references: Some(vec![cluster.owner.clone()]),
        ..ObjectMeta::default()
    }
}
