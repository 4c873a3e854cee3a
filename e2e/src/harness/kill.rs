//! Ways to end a pod that ask nobody.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;

use super::job::JobOptions;
use super::namespace::Space;
use crate::traffic::recorder::unix_us;

/// How long the killer may take, its own start included.
const PATIENCE: Duration = Duration::from_secs(90);

impl Space {
    /// Kills the processes of pods with `SIGKILL`, all about the same moment; the kubelet starts them
    /// again. The pods may be in any namespace.
    ///
    /// # Errors
    /// When one has no process that can be killed.
    pub(crate) async fn sigkill(&self, pods: &[Pod]) -> Result<()> {
        try_join_all(pods.iter().map(|pod| self.sigkill_one(pod))).await?;
        Ok(())
    }

    async fn sigkill_one(&self, pod: &Pod) -> Result<()> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        self.signal(pod, "kill").await.with_context(|| format!("kill {name}"))
    }

    /// Asks the processes of a pod of ours to come to their end.
    ///
    /// # Errors
    /// When it has none.
    pub(crate) async fn terminate(&self, pod: &Pod) -> Result<()> {
        self.signal(pod, "term").await.context("end a pod of ours")
    }

    async fn signal(&self, pod: &Pod, signal: &str) -> Result<()> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let uid = pod.metadata.uid.clone().context("a pod has a uid")?;
        let machine = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let args = ["traffic", "signal", "--pod-uid", &uid, "--signal", signal];
        let options = JobOptions {
            name: format!("sig{signal}-{name}-{}", unix_us() % 1_000_000_000),
            args: args.map(str::to_owned).into(),
            machine: Some(machine.with_context(|| format!("{name} runs nowhere"))?),
            sees_processes: true,
            ..JobOptions::default()
        };
        self.run_job(options, PATIENCE).await?;
        Ok(())
    }

    /// Deletes pods without grace: their names are free at once, their addresses are gone.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn delete_by_force(&self, pods: &[Pod]) -> Result<()> {
        for pod in pods {
            let name = pod.metadata.name.as_deref().context("a pod has a name")?;
            let namespace = pod.metadata.namespace.as_deref().unwrap_or(&self.name);
            let api = self.kubernetes.api::<Pod>(namespace);
            let deleted = api.delete(name, &DeleteParams::default().grace_period(0)).await;
            deleted.with_context(|| format!("delete pod {name}"))?;
        }
        Ok(())
    }
}
