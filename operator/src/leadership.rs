//! Only one operator works at a time: the one that holds the lease. The lease is no fence (a holder may
//! be late to learn that it lost it); what must not be done twice is guarded by the resource version of
//! the FlinCluster it is recorded in.

use std::future::Future;

use anyhow::Context;
use kube::Client;
use kube_lease_manager::LeaseManagerBuilder;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::Metrics;

/// The name of the lease.
const LEASE: &str = "flin-operator";
/// After this long without a renewal another operator may take over.
const LEASE_SECONDS: u64 = 15;
/// A renewal is tried this long before the end.
const LEASE_GRACE_SECONDS: u64 = 5;

/// Who stands for leadership, and where.
pub(crate) struct Candidate {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) identity: String,
}

/// Runs `work` whenever this operator holds the lease, until `stop`. Work is dropped where it is when the
/// lease is lost: every pass can be broken off at any point.
///
/// # Errors
/// If the lease can be neither read nor made at the start.
pub(crate) async fn lead<W, F>(
    candidate: Candidate,
    metrics: &Metrics,
    stop: &CancellationToken,
    mut work: W,
) -> anyhow::Result<()>
where
    W: FnMut() -> F,
    F: Future<Output = ()>,
{
    let manager = LeaseManagerBuilder::new(candidate.client, LEASE)
        .with_namespace(candidate.namespace)
        .with_identity(candidate.identity)
        .with_duration(LEASE_SECONDS)
        .with_grace(LEASE_GRACE_SECONDS)
        .build()
        .await
        .context("read or make the lease")?;
    let (mut held, renewal) = manager.watch().await;
    info!("waiting for the lease");
    while wait_until(&mut held, true, stop).await {
        info!("holding the lease");
        metrics.leads(true);
        tokio::select! {
            () = work() => warn!("the controller ended by itself"),
            _ = wait_until(&mut held, false, stop) => info!("not holding the lease any more"),
        }
        metrics.leads(false);
    }
    // The renewal ends when nobody listens any more, and gives the lease back for the next one.
    drop(held);
    renewal.await.context("renew the lease")?.context("give the lease back")?;
    Ok(())
}

/// Waits until the lease is held, or not; false when told to stop.
async fn wait_until(
    held: &mut watch::Receiver<bool>,
    wanted: bool,
    stop: &CancellationToken,
) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        seen = held.wait_for(|held| *held == wanted) => seen.is_ok(),
    }
}
