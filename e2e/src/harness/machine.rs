//! The machines of the kind cluster, which are containers: stopped and started as with a power switch.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use tokio::process::Command;
use tokio::time::timeout;

use super::OPERATOR_NAMESPACE;
use super::condition::{Seen, await_condition};
use super::kubernetes::Kubernetes;

/// The label of a machine that Kubernetes itself runs on.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// How long the Docker daemon may take.
const SWITCHING: Duration = Duration::from_secs(90);
/// How long a machine may take to be ready, or what ran there to run elsewhere.
const READY: Duration = Duration::from_secs(180);

/// A machine.
pub(crate) struct Machine {
    kubernetes: Kubernetes,
    pub(crate) name: String,
}

impl Machine {
    /// The workers, by name.
    ///
    /// # Errors
    /// When the API server does not say.
    pub(crate) async fn workers(kubernetes: &Kubernetes) -> Result<Vec<Self>> {
        Self::labelled(kubernetes, &format!("!{CONTROL_PLANE}")).await
    }

    /// The machine that Kubernetes itself runs on.
    ///
    /// # Errors
    /// When the API server does not say, or there are several.
    pub(crate) async fn control_plane(kubernetes: &Kubernetes) -> Result<Self> {
        let mut machines = Self::labelled(kubernetes, CONTROL_PLANE).await?;
        ensure!(machines.len() == 1, "{} machines are control planes, not one", machines.len());
        machines.pop().context("there is one")
    }

    async fn labelled(kubernetes: &Kubernetes, selector: &str) -> Result<Vec<Self>> {
        let label = ListParams::default().labels(selector);
        let nodes = Api::<Node>::all(kubernetes.client.clone()).list(&label).await?.items;
        let names = nodes.into_iter().filter_map(|node| node.metadata.name);
        let of = |name| Self { kubernetes: kubernetes.clone(), name };
        let mut machines: Vec<_> = names.map(of).collect();
        machines.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(machines)
    }

    /// Moves the operator and Kubernetes' own servants elsewhere, and lets nothing new come here.
    ///
    /// # Errors
    /// When they do not run elsewhere in time.
    pub(crate) async fn clear(&self) -> Result<()> {
        self.cordon().await?;
        for namespace in [OPERATOR_NAMESPACE, "kube-system"] {
            let pods = self.kubernetes.api::<Pod>(namespace);
            for pod in pods.list(&ListParams::default()).await? {
                if self.hosts(&pod) && !belongs_to_daemon_set(&pod) {
                    let name = pod.metadata.name.unwrap_or_default();
                    pods.delete(&name, &DeleteParams::default()).await?;
                }
            }
            let what = format!("the pods of {namespace} run elsewhere");
            await_condition(&what, READY, async || {
                let all = pods.list(&ListParams::default()).await?.items;
                let missing = |pod: &&Pod| {
                    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                    !belongs_to_daemon_set(pod) && (self.hosts(pod) || phase != Some("Running"))
                };
                let missing = all.iter().filter(missing).count();
                Ok(Seen::when(missing == 0, format!("{missing} do not")))
            })
            .await?;
        }
        Ok(())
    }

    /// Freezes everything on the machine until it is thawed.
    ///
    /// # Errors
    /// When Docker does not.
    pub(crate) async fn freeze(&self) -> Result<()> {
        docker(&["pause", &self.name]).await
    }

    /// Lets everything on the machine go on.
    ///
    /// # Errors
    /// When Docker does not.
    pub(crate) async fn thaw(&self) -> Result<()> {
        docker(&["unpause", &self.name]).await
    }

    /// Switches the machine off.
    ///
    /// # Errors
    /// When Docker does not.
    pub(crate) async fn stop(&self) -> Result<()> {
        docker(&["stop", "--time", "1", &self.name]).await
    }

    /// Switches the machine on again, waits until it is ready, and lets pods come.
    ///
    /// # Errors
    /// When it does not become ready.
    pub(crate) async fn start(&self) -> Result<()> {
        docker(&["start", &self.name]).await?;
        let nodes = self.nodes();
        await_condition(&format!("{} is ready", self.name), READY, async || {
            let status = nodes.get(&self.name).await?.status.unwrap_or_default();
            let ready = status.conditions.into_iter().flatten().find(|c| c.type_ == "Ready");
            let words = ready.as_ref().and_then(|c| c.message.clone()).unwrap_or_default();
            Ok(Seen::when(ready.is_some_and(|c| c.status == "True"), words))
        })
        .await?;
        self.uncordon().await
    }

    /// Lets no pods come any more.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn cordon(&self) -> Result<()> {
        let done = self.nodes().cordon(&self.name).await;
        done.map(drop).with_context(|| format!("cordon {}", self.name))
    }

    /// Lets pods come again.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn uncordon(&self) -> Result<()> {
        let done = self.nodes().uncordon(&self.name).await;
        done.map(drop).with_context(|| format!("uncordon {}", self.name))
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.kubernetes.client.clone())
    }

    /// Runs a shell script on the machine; it ends with the first command that fails.
    ///
    /// # Errors
    /// When one fails.
    pub(super) async fn run(&self, script: &str) -> Result<()> {
        docker(&["exec", &self.name, "sh", "-ec", script]).await
    }

    /// Whether a pod runs here.
    pub(crate) fn hosts(&self, pod: &Pod) -> bool {
        pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&self.name)
    }
}

fn belongs_to_daemon_set(pod: &Pod) -> bool {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().any(|owner| owner.kind == "DaemonSet" || owner.kind == "Node")
}

async fn docker(args: &[&str]) -> Result<()> {
    let what = format!("docker {}", args.join(" "));
    let mut command = Command::new("docker");
    let command = command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(SWITCHING, command.output()).await;
    let output = output.with_context(|| format!("{what} takes too long"))?;
    let output = output.with_context(|| what.clone())?;
    ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
