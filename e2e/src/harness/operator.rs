//! The operator: whether it works, and its death.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
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

/// Whether an operator works at this moment: the holder of a lease that was renewed lately is a pod that runs.
///
/// # Errors
/// When the API server does not answer.
pub(super) async fn is_at_work(kubernetes: &Kubernetes) -> Result<bool> {
    let Ok(lease) = lease(kubernetes).await else { return Ok(false) };
    let renewed = lease["renewTime"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    let age = renewed.map(|renewed| Timestamp::now().as_second() - renewed.as_second());
    let holder = lease["holderIdentity"].as_str().unwrap_or_default();
    let pods = kubernetes.api::<Pod>(OPERATOR_NAMESPACE).list(&ListParams::default()).await?;
    let mut running = pods.items.iter().filter(|pod| runs(pod));
    let is_there = running.any(|pod| pod.metadata.name.as_deref() == Some(holder));
    Ok(is_there && age.is_some_and(|age| age <= LEASE_SECONDS))
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

fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && phase == Some("Running")
}
