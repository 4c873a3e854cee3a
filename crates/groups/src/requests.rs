//! What every door of a node (RESP, gRPC) asks of the cluster behind it.

use std::future::Future;
use std::sync::Arc;

use flin_state::cluster::ClusterState;
use flin_state::ids::{NodeId, PartitionId};
use flin_state::operation::{Read, Reply, Write};

/// Why a request was not answered with a reply, split by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Surely not done: another node leads the partition, or nobody does.
    #[error("this node does not lead the partition")]
    NotHere {
        /// Who does, as far as known.
        leader: Option<NodeId>,
    },
    /// Surely not done: overload, a cluster that is still forming, or no leader in time.
    #[error("{0}")]
    TryLater(String),
    /// A write that may or may not take effect: read before sending it again.
    #[error("{0}")]
    Unknown(String),
    /// The request itself is wrong; sending it again cannot help.
    #[error("{0}")]
    Refused(String),
}

/// The cluster as this node sees it at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// This node.
    pub node: NodeId,
    /// The meta state; `None` until this node has heard of it.
    pub cluster: Option<Arc<ClusterState>>,
    /// The leading node of each partition, as far as known.
    pub leaders: Vec<Option<NodeId>>,
    /// Whether clients are served, or why not in words for them.
    pub serving: Result<(), String>,
}

/// A cluster that answers requests: [`crate::router::Router`] in production, memory in tests.
///
/// Each call is one run of operations of one partition: writes are applied in order and together, reads
/// are linearizable and answered at one moment. There is one reply per operation.
pub trait Requests: Clone + Send + Sync + 'static {
    /// Applies `writes`, wherever the partition is led.
    ///
    /// # Errors
    /// [`RequestError::Unknown`] when the writes may yet take effect; every other error says that
    /// nothing was done.
    fn write(
        &self,
        partition: PartitionId,
        writes: Vec<Write>,
    ) -> impl Future<Output = Result<Vec<Reply>, RequestError>> + Send;

    /// Answers `reads`, wherever the partition is led.
    fn read(
        &self,
        partition: PartitionId,
        reads: Vec<Read>,
    ) -> impl Future<Output = Result<Vec<Reply>, RequestError>> + Send;

    /// Like [`Requests::write`], but [`RequestError::NotHere`] at once unless this node leads.
    fn write_here(
        &self,
        partition: PartitionId,
        writes: Vec<Write>,
    ) -> impl Future<Output = Result<Vec<Reply>, RequestError>> + Send;

    /// Like [`Requests::read`], but [`RequestError::NotHere`] at once unless this node leads.
    fn read_here(
        &self,
        partition: PartitionId,
        reads: Vec<Read>,
    ) -> impl Future<Output = Result<Vec<Reply>, RequestError>> + Send;

    /// What this node knows of the cluster; cheap.
    fn view(&self) -> Arc<View>;
}
