//! What the operator does for a cluster in Kubernetes: see that it can serve, and declare it formed.

use std::time::Duration;

use flin_proto::admin::admin_client::AdminClient;
use flin_proto::admin::{ConfirmFormedRequest, GetNodeRequest, ListPartitionsRequest, Node};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::DevError;
use super::plan::{NodePlan, Plan};
use crate::bootstrap::Phase;

/// How often is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long a node may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Brings the cluster to where every node serves clients: forms it if it is new, then waits until each
/// node is ready.
///
/// # Errors
/// When the bootstrap file cannot be written, or a node answers that the cluster is not this one. What only
/// takes time is waited for without end.
pub(super) async fn bring_up(plan: &Plan) -> Result<(), DevError> {
    if plan.phase == Phase::Forming {
        while !all_led(plan).await {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        while let Err(status) = confirm(plan).await {
            if status.code() == Code::FailedPrecondition {
                let source = std::io::Error::other(status.message().to_owned());
                return Err(DevError::Io { act: "declare the cluster formed".into(), source });
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        plan.write_bootstrap(Phase::Formed)?;
    }
    for node in &plan.nodes {
        while not_ready(node).await.is_some() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
    Ok(())
}

/// What keeps the cluster from being ready, in words.
pub(super) async fn what_is_missing(plan: &Plan) -> String {
    let mut missing = Vec::new();
    for node in &plan.nodes {
        if let Some(reason) = not_ready(node).await {
            missing.push(format!("{}: {reason}", node.name));
        }
    }
    if missing.is_empty() { "the last step of forming".to_owned() } else { missing.join("; ") }
}

async fn all_led(plan: &Plan) -> bool {
    let partitions = async {
        let response = client(&plan.nodes[0])?.list_partitions(ListPartitionsRequest {}).await?;
        Ok::<_, Status>(response.into_inner().partitions)
    };
    partitions.await.is_ok_and(|partitions| {
        partitions.len() == usize::from(plan.genesis.partitions)
            && partitions.iter().all(|partition| partition.leader != 0)
    })
}

async fn confirm(plan: &Plan) -> Result<(), Status> {
    let cluster_id = plan.genesis.cluster_id.to_string();
    client(&plan.nodes[0])?.confirm_formed(ConfirmFormedRequest { cluster_id }).await?;
    Ok(())
}

/// Why `node` is not ready; `None` when it is.
async fn not_ready(node: &NodePlan) -> Option<String> {
    let asked = async { client(node)?.get_node(GetNodeRequest {}).await };
    match asked.await.map(|response| response.into_inner()) {
        Ok(Node { ready: true, .. }) => None,
        Ok(node) => Some(node.not_ready_reason),
        Err(status) => Some(format!("it does not answer: {}", status.message())),
    }
}

fn client(node: &NodePlan) -> Result<AdminClient<Channel>, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{}", node.grpc_address()))
        .map_err(|error| Status::internal(error.to_string()))?
        .connect_timeout(CALL_TIMEOUT)
        .timeout(CALL_TIMEOUT);
    Ok(AdminClient::new(endpoint.connect_lazy()))
}
