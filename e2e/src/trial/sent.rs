//! How many bytes of keys and values nodes send each other in snapshots while something lasts.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use crate::harness::FlinCluster;

/// How often the nodes are asked: one that goes is there for longer than that after its last snapshot.
const ASK_EVERY: Duration = Duration::from_secs(2);
const METRIC: &str = "flin_snapshot_bytes_sent_total";

/// What each pod has sent, by its uid: a pod that is made anew or goes takes its count with it.
pub(super) struct Sent {
    cluster: FlinCluster,
    before: BTreeMap<String, u64>,
    last: BTreeMap<String, u64>,
}

impl Sent {
    /// Begins to count.
    ///
    /// # Errors
    /// When a node does not say what it has sent.
    pub(super) async fn begin(cluster: &FlinCluster) -> Result<Self> {
        let before = cluster.metric_by_pod(METRIC).await?;
        Ok(Self { cluster: cluster.clone(), last: before.clone(), before })
    }

    /// Counts while `work` lasts; returns what came of it.
    ///
    /// # Errors
    /// Those of `work`, and when a node does not say at the end what it has sent.
    pub(super) async fn count_during<T>(
        &mut self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let ask = async {
            loop {
                sleep(ASK_EVERY).await;
                // One that starts or ends does not answer; the next time will do.
                if let Ok(now) = self.cluster.metric_by_pod(METRIC).await {
                    self.last.extend(now);
                }
            }
        };
        let done = tokio::select! {
            done = work => done?,
            never = ask => never,
        };
        self.last.extend(self.cluster.metric_by_pod(METRIC).await?);
        Ok(done)
    }

    /// How many bytes were sent since the beginning.
    pub(super) fn bytes(&self) -> u64 {
        let before = |pod: &String| self.before.get(pod).copied().unwrap_or(0);
        self.last.iter().map(|(pod, sent)| sent.saturating_sub(before(pod))).sum()
    }
}
