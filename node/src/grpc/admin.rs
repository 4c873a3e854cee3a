//! Administration: what the operator and people ask of a node.

use std::future::Future;
use std::sync::Arc;

use flin_proto::admin::admin_server::Admin;
use flin_proto::admin::{
    Cluster, ConfirmFormedRequest, ConfirmFormedResponse, GetClusterRequest, GetNodeRequest,
    ListPartitionsRequest, ListPartitionsResponse, Node, StepDownRequest, StepDownResponse,
};
use flin_state::ids::ClusterId;
use tonic::{Request, Response, Status};

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
        let cluster_id: ClusterId = (request.get_ref().cluster_id.parse()).map_err(
            |error: flin_state::ids::BadClusterId| Status::invalid_argument(error.to_string()),
        )?;
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
}
