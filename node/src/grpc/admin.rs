//! Administration: what the operator and people ask of a node.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use flin_proto::admin::admin_server::Admin;
use flin_proto::admin::{
    Cluster, ConfigureRequest, ConfigureResponse, ConfirmFormedRequest, ConfirmFormedResponse,
    GetClusterRequest, GetNodeRequest, ListPartitionsRequest, ListPartitionsResponse, Node,
    RecoverRequest, RecoverResponse, RemoveMemberRequest, RemoveMemberResponse, SetDrainingRequest,
    SetDrainingResponse, StepDownRequest, StepDownResponse,
};
use flin_state::cluster::{MOVES_MAX, RebalanceSettings};
use flin_state::ids::{BadClusterId, ClusterId, NodeId};
use tonic::{Request, Response, Status};

/// What is to be different from now on; `None`: as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// 1, 3 or 5.
    pub replication_factor: Option<u8>,
    /// How replicas are moved.
    pub rebalance: Option<RebalanceSettings>,
}

/// Why an administrative request was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// It contradicts what is; asking again does not help. FAILED_PRECONDITION.
    #[error("{0}")]
    Refused(String),
    /// It cannot be done now. UNAVAILABLE.
    #[error("{0}")]
    TryLater(String),
}

/// What a node answers about itself and its cluster. The answers are the messages of `admin.proto`, whose
/// comments are the contract.
pub trait Administration: Send + Sync + 'static {
    /// The cluster as this node knows it.
    fn get_cluster(&self) -> impl Future<Output = Result<Cluster, AdminError>> + Send;

    /// Every partition, in order.
    fn list_partitions(
        &self,
    ) -> impl Future<Output = Result<ListPartitionsResponse, AdminError>> + Send;

    /// This node.
    fn get_node(&self) -> impl Future<Output = Result<Node, AdminError>> + Send;

    /// Declares the bootstrap recorded as done. Repeating it is no error.
    ///
    /// # Errors
    /// [`AdminError::Refused`] for another cluster's id, [`AdminError::TryLater`] while a partition has no
    /// leader.
    fn confirm_formed(
        &self,
        cluster_id: ClusterId,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// Hands every leadership over and leads no more, or may lead again with `undo`. Answers how many
    /// leaderships are still here.
    fn step_down(&self, undo: bool) -> impl Future<Output = Result<u32, AdminError>> + Send;

    /// Has exactly these nodes emptied.
    ///
    /// # Errors
    /// [`AdminError::Refused`] for another cluster's id, a stranger, or too few nodes that remain.
    fn set_draining(
        &self,
        cluster_id: ClusterId,
        nodes: BTreeSet<NodeId>,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// Takes an empty node out of the membership. Repeating it is no error.
    ///
    /// # Errors
    /// [`AdminError::Refused`] for another cluster's id, or while the node holds a replica.
    fn remove_member(
        &self,
        cluster_id: ClusterId,
        node: NodeId,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// Changes the replication factor and how replicas are moved.
    ///
    /// # Errors
    /// [`AdminError::Refused`] for another cluster's id, or more replicas than nodes that stay.
    fn configure(
        &self,
        cluster_id: ClusterId,
        wishes: Wishes,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// Finds out what is left without `lost`, which never come back, and unless not `accept`ed does the next
    /// step of going on with that.
    ///
    /// # Errors
    /// [`AdminError::Refused`] for another cluster's id, for a node named as lost that answers, and for one that
    /// is not named and does not; [`AdminError::TryLater`] while something is still settling.
    fn recover(
        &self,
        cluster_id: ClusterId,
        lost: BTreeSet<NodeId>,
        accept: bool,
    ) -> impl Future<Output = Result<RecoverResponse, AdminError>> + Send;
}

/// `flin.admin.v1.Admin` over an [`Administration`].
pub(crate) struct AdminService<A> {
    administration: Arc<A>,
}

impl<A> AdminService<A> {
    pub(crate) fn new(administration: Arc<A>) -> Self {
        AdminService { administration }
    }
}

impl From<AdminError> for Status {
    fn from(error: AdminError) -> Status {
        match error {
            AdminError::Refused(words) => Status::failed_precondition(words),
            AdminError::TryLater(words) => Status::unavailable(words),
        }
    }
}

#[tonic::async_trait]
impl<A: Administration> Admin for AdminService<A> {
    async fn get_cluster(
        &self,
        _: Request<GetClusterRequest>,
    ) -> Result<Response<Cluster>, Status> {
        Ok(Response::new(self.administration.get_cluster().await?))
    }

    async fn list_partitions(
        &self,
        _: Request<ListPartitionsRequest>,
    ) -> Result<Response<ListPartitionsResponse>, Status> {
        Ok(Response::new(self.administration.list_partitions().await?))
    }

    async fn get_node(&self, _: Request<GetNodeRequest>) -> Result<Response<Node>, Status> {
        Ok(Response::new(self.administration.get_node().await?))
    }

    async fn confirm_formed(
        &self,
        request: Request<ConfirmFormedRequest>,
    ) -> Result<Response<ConfirmFormedResponse>, Status> {
        let cluster_id = parse_cluster_id(&request.get_ref().cluster_id)?;
        self.administration.confirm_formed(cluster_id).await?;
        Ok(Response::new(ConfirmFormedResponse {}))
    }

    async fn step_down(
        &self,
        request: Request<StepDownRequest>,
    ) -> Result<Response<StepDownResponse>, Status> {
        let remaining = self.administration.step_down(request.get_ref().undo).await?;
        Ok(Response::new(StepDownResponse { remaining }))
    }

    async fn set_draining(
        &self,
        request: Request<SetDrainingRequest>,
    ) -> Result<Response<SetDrainingResponse>, Status> {
        let request = request.into_inner();
        let cluster_id = parse_cluster_id(&request.cluster_id)?;
        let nodes = request.node_ids.into_iter().map(parse_node_id);
        let nodes = nodes.collect::<Result<BTreeSet<_>, _>>()?;
        self.administration.set_draining(cluster_id, nodes).await?;
        Ok(Response::new(SetDrainingResponse {}))
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<RemoveMemberResponse>, Status> {
        let request = request.into_inner();
        let cluster_id = parse_cluster_id(&request.cluster_id)?;
        let node = parse_node_id(request.node_id)?;
        self.administration.remove_member(cluster_id, node).await?;
        Ok(Response::new(RemoveMemberResponse {}))
    }

    async fn configure(
        &self,
        request: Request<ConfigureRequest>,
    ) -> Result<Response<ConfigureResponse>, Status> {
        let request = request.into_inner();
        let cluster_id = parse_cluster_id(&request.cluster_id)?;
        self.administration.configure(cluster_id, parse_wishes(&request)?).await?;
        Ok(Response::new(ConfigureResponse {}))
    }

    async fn recover(
        &self,
        request: Request<RecoverRequest>,
    ) -> Result<Response<RecoverResponse>, Status> {
        let request = request.into_inner();
        let cluster_id = parse_cluster_id(&request.cluster_id)?;
        let lost = request.lost_node_ids.into_iter().map(parse_node_id);
        let lost = lost.collect::<Result<BTreeSet<_>, _>>()?;
        let accept = request.accept_data_loss;
        Ok(Response::new(self.administration.recover(cluster_id, lost, accept).await?))
    }
}

fn parse_cluster_id(text: &str) -> Result<ClusterId, Status> {
    text.parse().map_err(|error: BadClusterId| Status::invalid_argument(error.to_string()))
}

fn parse_node_id(number: u64) -> Result<NodeId, Status> {
    match number {
        0 => Err(Status::invalid_argument("0 is no node; ids are those that GetCluster tells")),
        number => Ok(NodeId(number)),
    }
}

fn parse_wishes(request: &ConfigureRequest) -> Result<Wishes, Status> {
    let invalid = |words: String| Err(Status::invalid_argument(words));
    let replication_factor = match request.replication_factor {
        0 => None,
        1 => Some(1),
        3 => Some(3),
        5 => Some(5),
        other => return invalid(format!("replication_factor must be 1, 3 or 5, not {other}")),
    };
    if let Some(wished) = &request.rebalance
        && !(1..=MOVES_MAX).contains(&wished.max_moves)
    {
        let max_moves = wished.max_moves;
        return invalid(format!("max_moves must be from 1 to {MOVES_MAX}, not {max_moves}"));
    }
    let rebalance = request.rebalance.as_ref().map(|wished| RebalanceSettings {
        paused: wished.paused,
        max_moves: wished.max_moves,
        bytes_per_second: wished.bytes_per_second,
        replace_after_seconds: wished.replace_after_seconds,
    });
    Ok(Wishes { replication_factor, rebalance })
}
