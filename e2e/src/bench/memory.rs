//! The memory of the operator and of nodes at rest, from the kubelets: what counts against a limit.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::harness::{DEMO, DEMO_NAMESPACE, Kubernetes, OPERATOR_NAMESPACE};

/// Resident memory, MiB, of each pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// The operator's pods.
    pub(crate) operator_mib: Vec<f64>,
    /// The nodes of the demo cluster, which nobody uses meanwhile.
    pub(crate) idle_node_mib: Vec<f64>,
}

/// Reads the memory of everything that is at rest.
///
/// # Errors
/// When a kubelet does not answer.
pub(super) async fn at_rest(kubernetes: &Kubernetes) -> Result<Memory> {
    let machines: Api<Node> = Api::all(kubernetes.client.clone());
    let mut memory = Memory::default();
    for machine in machines.list(&ListParams::default()).await? {
        let name = machine.metadata.name.context("a machine has a name")?;
        let path = format!("/api/v1/nodes/{name}/proxy/stats/summary");
        let summary = kubernetes.get(&path, "application/json").await?;
        for pod in summary["pods"].as_array().into_iter().flatten() {
            let (namespace, name) = (&pod["podRef"]["namespace"], &pod["podRef"]["name"]);
            let name = name.as_str().unwrap_or_default();
            if namespace == OPERATOR_NAMESPACE {
                memory.operator_mib.extend(resident_mib(pod));
            } else if namespace == DEMO_NAMESPACE && name.starts_with(&format!("{DEMO}-")) {
                memory.idle_node_mib.extend(resident_mib(pod));
            }
        }
    }
    Ok(memory)
}

impl Memory {
    /// The largest of each kind, in words.
    pub(super) fn words(&self) -> String {
        let largest = |all: &[f64]| {
            all.iter()
                .copied()
                .reduce(f64::max)
                .map_or("unknown".into(), |mib| format!("{mib:.0} MiB"))
        };
        let (operator, node) = (largest(&self.operator_mib), largest(&self.idle_node_mib));
        format!(
            "memory at rest (anonymous pages, by the kubelet): operator {operator}, node {node}"
        )
    }
}

/// The resident memory of a pod's containers.
fn resident_mib(pod: &Value) -> Option<f64> {
    let containers = pod["containers"].as_array()?;
    let bytes: u64 = containers.iter().filter_map(|c| c["memory"]["rssBytes"].as_u64()).sum();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    (bytes > 0).then_some(bytes as f64 / 1_048_576.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_pod_is_that_of_its_containers() {
        let pod = serde_json::json!({"containers": [
            {"memory": {"rssBytes": 10_485_760}}, {"memory": {"rssBytes": 1_048_576}},
        ]});
        assert_eq!(resident_mib(&pod), Some(11.0));
        assert_eq!(resident_mib(&serde_json::json!({"containers": []})), None);
    }
}
