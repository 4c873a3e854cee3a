//! The program `flin` inside a node's pod, as `kubectl exec` runs it: it finds the node and the password by itself.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::flincluster::FlinCluster;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(30);

impl FlinCluster {
    /// What `flin` prints in the pod of this cluster's first node.
    ///
    /// # Errors
    /// When it cannot be run or ends with another exit code than 0; with its words.
    pub(crate) async fn flin(&self, arguments: &[&str]) -> Result<String> {
        self.flin_within(PATIENCE, arguments).await
    }

    /// As [`FlinCluster::flin`], for what takes longer.
    ///
    /// # Errors
    /// As [`FlinCluster::flin`].
    pub(crate) async fn flin_within(
        &self,
        patience: Duration,
        arguments: &[&str],
    ) -> Result<String> {
        let command = [&["flin"], arguments].concat();
        let what = format!("`{}` in {}-0", command.join(" "), self.name);
        let said = timeout(patience, self.exec(&command)).await;
        said.with_context(|| format!("{what} takes too long"))?.context(what)
    }

    /// As [`FlinCluster::flin`], with an answer for programs.
    ///
    /// # Errors
    /// As [`FlinCluster::flin`].
    pub(crate) async fn flin_json(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.flin(&[arguments, &["-o", "json"]].concat()).await?;
        serde_json::from_str(&said).with_context(|| format!("no JSON: {said}"))
    }

    async fn exec(&self, command: &[&str]) -> Result<String> {
        let (pods, pod) = (self.space.api::<Pod>(), format!("{}-0", self.name));
        let mut process = pods.exec(&pod, command.to_vec(), &AttachParams::default()).await?;
        let mut out = process.stdout().context("it has an output")?;
        let mut error = process.stderr().context("it has an output for errors")?;
        let ended = process.take_status().context("nobody else asks how it ended")?;
        let (mut said, mut complaint) = (String::new(), String::new());
        let read = (out.read_to_string(&mut said), error.read_to_string(&mut complaint));
        futures::try_join!(read.0, read.1)?;
        let ended = ended.await.context("nobody says how it ended")?;
        let words = ended.message.unwrap_or_default();
        ensure!(ended.status.as_deref() == Some("Success"), "{words}: {}", complaint.trim());
        Ok(said)
    }
}
