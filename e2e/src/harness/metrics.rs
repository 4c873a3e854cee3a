//! What the nodes of a cluster count, as a collector of metrics reads it; the API server leads to each pod.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;

use super::flincluster::FlinCluster;

/// Where the nodes answer over HTTP.
const PORT: u16 = 6382;

impl FlinCluster {
    /// The sum of a metric over all pods.
    ///
    /// # Errors
    /// When a pod does not answer, or does not count that.
    pub(crate) async fn metric(&self, name: &str) -> Result<u64> {
        Ok(self.metric_by_pod(name).await?.into_values().sum())
    }

    /// A metric of each pod, by the uid of the pod.
    ///
    /// # Errors
    /// As [`FlinCluster::metric`].
    pub(crate) async fn metric_by_pod(&self, name: &str) -> Result<BTreeMap<String, u64>> {
        let pods = self.pods().await?;
        let found = try_join_all(pods.into_iter().map(|pod| self.metric_of(pod, name))).await?;
        Ok(found.into_iter().collect())
    }

    async fn metric_of(&self, pod: Pod, name: &str) -> Result<(String, u64)> {
        let (namespace, pod) = (&self.space.name, pod.metadata);
        let (uid, pod) = pod.uid.zip(pod.name).context("a pod has a uid and a name")?;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{PORT}/proxy/metrics");
        let request = http::Request::get(path).body(Vec::new()).context("the path of a pod")?;
        let text = self.space.kubernetes.client.request_text(request).await;
        let text = text.with_context(|| format!("read the metrics of {pod}"))?;
        let value = value(&text, name).with_context(|| format!("{pod} does not count {name}"))?;
        Ok((uid, value))
    }
}

/// The value of a metric without labels.
fn value(text: &str, name: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# TYPE flin_raft_replicas gauge\nflin_raft_replicas_all 7\nflin_raft_replicas 65\n# EOF\n";
        assert_eq!(value(text, "flin_raft_replicas"), Some(65));
        assert_eq!(value(text, "flin_raft"), None);
    }
}
