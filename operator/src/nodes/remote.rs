//! The nodes as they are reached over the network.

use std::time::Duration;

use flin_proto::admin::admin_client::AdminClient;
use flin_proto::admin::{self, member};
use futures::FutureExt;
use futures::future::BoxFuture;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::{
    MemberState, NodeError, Nodes, Order, Password, Rebalance, RebalanceSettings, Report,
    ReportedMember,
};

/// How long a connection to a node may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a question may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an order may take: it returns once a majority of the meta group has it.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);

/// The nodes as they are reached over the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoteNodes;

impl Nodes for RemoteNodes {
    fn report<'a>(
        &'a self,
        address: &'a str,
        password: &'a Password,
    ) -> BoxFuture<'a, Result<Report, NodeError>> {
        async move {
            let (mut node, bearer) = connect(address, password, ASK_TIMEOUT).await?;
            let cluster = node
                .get_cluster(with_bearer(admin::GetClusterRequest {}, &bearer))
                .await
                .map_err(|status| failed("get cluster", address, status))?
                .into_inner();
            // A node that does not say its version is no less a witness of its cluster.
            let version = match node.get_node(with_bearer(admin::GetNodeRequest {}, &bearer)).await
            {
                Ok(node) => node.into_inner().version,
                Err(_) => String::new(),
            };
            Ok(report(address, cluster, version))
        }
        .boxed()
    }

    fn confirm_formed<'a>(
        &'a self,
        address: &'a str,
        password: &'a Password,
        cluster_id: &'a str,
    ) -> BoxFuture<'a, Result<(), NodeError>> {
        async move {
            let (mut node, bearer) = connect(address, password, ORDER_TIMEOUT).await?;
            let request = admin::ConfirmFormedRequest { cluster_id: cluster_id.to_owned() };
            node.confirm_formed(with_bearer(request, &bearer))
                .await
                .map(|_| ())
                .map_err(|status| failed("confirm formed", address, status))
        }
        .boxed()
    }

    fn order<'a>(
        &'a self,
        address: &'a str,
        password: &'a Password,
        cluster_id: &'a str,
        order: &'a Order,
    ) -> BoxFuture<'a, Result<(), NodeError>> {
        async move {
            let (node, bearer) = connect(address, password, ORDER_TIMEOUT).await?;
            let (call, answer) = send(node, &bearer, cluster_id.to_owned(), order).await;
            answer.map_err(|status| failed(call, address, status))
        }
        .boxed()
    }

    fn step_down<'a>(
        &'a self,
        address: &'a str,
        password: &'a Password,
        undo: bool,
    ) -> BoxFuture<'a, Result<u32, NodeError>> {
        async move {
            let (mut node, bearer) = connect(address, password, ASK_TIMEOUT).await?;
            node.step_down(with_bearer(admin::StepDownRequest { undo }, &bearer))
                .await
                .map(|answer| answer.into_inner().remaining)
                .map_err(|status| failed("step down", address, status))
        }
        .boxed()
    }
}

async fn send(
    mut node: AdminClient<Channel>,
    bearer: &MetadataValue<Ascii>,
    cluster_id: String,
    order: &Order,
) -> (&'static str, Result<(), Status>) {
    match order {
        Order::SetReplicationFactor(replication_factor) => {
            let replication_factor = *replication_factor;
            let request =
                admin::ConfigureRequest { cluster_id, replication_factor, rebalance: None };
            ("configure", node.configure(with_bearer(request, bearer)).await.map(|_| ()))
        }
        Order::SetRebalance(settings) => {
            let rebalance = Some(admin::RebalanceSettings {
                paused: settings.paused,
                max_moves: settings.max_moves,
                bytes_per_second: settings.bytes_per_second,
                replace_after_seconds: settings.replace_after_seconds,
            });
            let request = admin::ConfigureRequest { cluster_id, replication_factor: 0, rebalance };
            ("configure", node.configure(with_bearer(request, bearer)).await.map(|_| ()))
        }
        Order::SetDraining(nodes) => {
            let node_ids = nodes.iter().copied().collect();
            let request = admin::SetDrainingRequest { cluster_id, node_ids };
            ("set draining", node.set_draining(with_bearer(request, bearer)).await.map(|_| ()))
        }
        Order::RemoveMember(node_id) => {
            let request = admin::RemoveMemberRequest { cluster_id, node_id: *node_id };
            ("remove member", node.remove_member(with_bearer(request, bearer)).await.map(|_| ()))
        }
    }
}

fn report(address: &str, cluster: admin::Cluster, version: String) -> Report {
    Report {
        address: address.to_owned(),
        cluster_id: cluster.cluster_id,
        formed: cluster.formed,
        partitions: cluster.partitions,
        replication_factor: cluster.replication_factor,
        revision: cluster.revision,
        under_replicated: cluster.under_replicated,
        leaderless: cluster.leaderless,
        meta_led: cluster.meta_led,
        members: cluster.members.into_iter().map(reported_member).collect(),
        rebalance: rebalance(cluster.rebalance.unwrap_or_default()),
        version,
    }
}

fn reported_member(member: admin::Member) -> ReportedMember {
    ReportedMember {
        state: match member.state() {
            member::State::Serving => MemberState::Serving,
            member::State::Draining => MemberState::Draining,
            member::State::Lost => MemberState::Lost,
            member::State::Replaced => MemberState::Replaced,
        },
        name: member.name,
        zone: member.zone,
        node_id: member.node_id,
        alive: member.alive,
        replicas: member.replicas,
        leaders: member.leaders,
        holds: member.holds,
        disk_total_bytes: member.disk_total_bytes,
        disk_free_bytes: member.disk_free_bytes,
        data_bytes: member.data_bytes,
    }
}

fn rebalance(said: admin::Rebalance) -> Rebalance {
    let settings = said.settings.unwrap_or_default();
    Rebalance {
        settings: RebalanceSettings {
            paused: settings.paused,
            max_moves: settings.max_moves,
            bytes_per_second: settings.bytes_per_second,
            replace_after_seconds: settings.replace_after_seconds,
        },
        moving: said.moving,
        replicas_left: said.replicas_left,
        bytes_left: said.bytes_left,
        blocked: said.blocked,
        balanced: said.balanced,
    }
}

async fn connect(
    address: &str,
    Password(password): &Password,
    timeout: Duration,
) -> Result<(AdminClient<Channel>, MetadataValue<Ascii>), NodeError> {
    let prepare =
        |words: &str| NodeError::Prepare { address: address.to_owned(), words: words.to_owned() };
    let bearer = MetadataValue::try_from(format!("Bearer {password}"))
        .map_err(|_| prepare("the client password has characters that no header may have"))?;
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| prepare("this is no address"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .connect()
        .await
        .map_err(|source| NodeError::Connect {
            address: address.to_owned(),
            source: Box::new(source),
        })?;
    Ok((AdminClient::new(channel), bearer))
}

fn with_bearer<T>(message: T, bearer: &MetadataValue<Ascii>) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", bearer.clone());
    request
}

fn failed(call: &'static str, address: &str, status: Status) -> NodeError {
    NodeError::Call { call, address: address.to_owned(), status: Box::new(status) }
}
