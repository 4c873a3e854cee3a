//! The operator: whether it works, and its death.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::ListParams;
use serde_json::Value;

use super::condition::{Seen, await_condition};
use super::kubernetes::Kubernetes;
use super::namespace::Space;
use super::{OPERATOR, OPERATOR_NAMESPACE};

/// How long the operator may take to come back or to go on after a kill: its lease must run out first.
pub(crate) const RESUMED: Duration = Duration::from_secs(90);
/// A lease that was not renewed for this long has no holder that works, seconds.
const LEASE_SECONDS: i64 = 15;

/// The spec of the operator's lease: its holder and when it was last renewed.
///
/// # Errors
/// When nobody holds it.
pub(super) async fn lease(kubernetes: &Kubernetes) -> Result<Value> {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/leases");
    let mut lease = kubernetes.get(&format!("{path}/{OPERATOR}"), "application/json").await?;
    let lease = lease["spec"].take();
    let holder = lease["holderIdentity"].as_str().unwrap_or_default();
    ensure!(!holder.is_empty(), "no operator holds the lease: {lease}");
    Ok(lease)
}

/// The pod of the operator that works at this moment: one that runs and holds a lease that was renewed lately.
///
/// # Errors
/// When the API server does not answer.
pub(super) async fn at_work(kubernetes: &Kubernetes) -> Result<Option<Pod>> {
    let Ok(lease) = lease(kubernetes).await else { return Ok(None) };
    let renewed = lease["renewTime"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    let age = renewed.map(|renewed| Timestamp::now().as_second() - renewed.as_second());
    if age.is_none_or(|age| age > LEASE_SECONDS) {
        return Ok(None);
    }
    let holder = lease["holderIdentity"].as_str().unwrap_or_default();
    let pods = kubernetes.api::<Pod>(OPERATOR_NAMESPACE).list(&ListParams::default()).await?;
    let mut running = pods.items.into_iter().filter(runs);
    Ok(running.find(|pod| pod.metadata.name.as_deref() == Some(holder)))
}

impl Space {
    /// Kills the operator that runs; after an earlier kill the next one must have started first.
    ///
    /// # Errors
    /// When none starts.
    pub(crate) async fn kill_operator(&self) -> Result<()> {
        let api = self.kubernetes.api::<Pod>(OPERATOR_NAMESPACE);
        let pods = await_condition("an operator runs", RESUMED, async || {
            let pods = api.list(&ListParams::default()).await?.items;
            let count = pods.len();
            Ok(if pods.iter().any(runs) {
                Seen::Yes(pods)
            } else {
                Seen::NotYet(format!("{count} pods"))
            })
        });
        self.delete_by_force(&pods.await?).await.context("kill the operator")
    }
}

/// Whether what is in a pod runs, and does not wait to be started again.
fn runs(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_deref());
    let is_up = |container: &ContainerStatus| {
        container.state.as_ref().is_some_and(|state| state.running.is_some())
    };
    pod.metadata.deletion_timestamp.is_none()
        && status.and_then(|status| status.phase.as_deref()) == Some("Running")
        && containers.is_some_and(|containers| containers.iter().all(is_up))
}
