//! What a node tells about itself and its cluster, and the little it can be told to do.

mod overview;

use std::collections::BTreeSet;
use std::sync::Arc;

use flin_groups::board::Board;
use flin_groups::clock::Clock;
use flin_groups::rebalance::RebalanceMetrics;
use flin_groups::requests::RequestError;
use flin_groups::router::Router;
use flin_groups::{Groups, Input};
use flin_proto::admin::{Cluster, ListPartitionsResponse, Node, RecoverResponse};
use flin_state::cluster::{Change, ClusterState};
use flin_state::ids::{ClusterId, NodeId};
use flin_state::log::Log;

use crate::grpc::admin::{AdminError, Administration, Wishes};
use crate::http::Health;
use crate::recovery::Desk;
use overview::Overview;

/// Answers administrative requests from the board.
pub(crate) struct Office {
    pub(crate) name: String,
    pub(crate) board: Arc<Board>,
    pub(crate) groups: Groups,
    pub(crate) router: Router,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) rebalance: RebalanceMetrics,
    pub(crate) recovery: Arc<Desk>,
}

impl Health for Board {
    fn ready(&self) -> Result<(), String> {
        Board::ready(self)
    }
}

impl Administration for Office {
    async fn get_cluster(&self) -> Result<Cluster, AdminError> {
        let state = self.state()?;
        Ok(self.overview(&state).cluster(&self.rebalance))
    }

    async fn list_partitions(&self) -> Result<ListPartitionsResponse, AdminError> {
        let state = self.state()?;
        Ok(ListPartitionsResponse { partitions: self.overview(&state).partitions() })
    }

    async fn get_node(&self) -> Result<Node, AdminError> {
        let ready = Board::ready(&self.board);
        Ok(Node {
            node_id: self.board.node().0,
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            ready: ready.is_ok(),
            not_ready_reason: ready.err().unwrap_or_default(),
            replicas: u32::try_from(self.board.replicas()).unwrap_or(u32::MAX),
            leaders: u32::try_from(self.board.led_here()).unwrap_or(u32::MAX),
            log_bytes: self.log.size_bytes(),
        })
    }

    async fn confirm_formed(&self, cluster_id: ClusterId) -> Result<(), AdminError> {
        let state = self.state_of(cluster_id)?;
        let leaderless = self.overview(&state).leaderless();
        if leaderless > 0 && !state.formed {
            return Err(AdminError::TryLater(format!(
                "{leaderless} of {} partitions have no leader yet",
                state.partitions
            )));
        }
        self.change(Change::ConfirmFormed { cluster_id }).await
    }

    async fn set_draining(
        &self,
        cluster_id: ClusterId,
        nodes: BTreeSet<NodeId>,
    ) -> Result<(), AdminError> {
        self.state_of(cluster_id)?;
        self.change(Change::SetDraining { nodes }).await
    }

    async fn remove_member(&self, cluster_id: ClusterId, node: NodeId) -> Result<(), AdminError> {
        self.state_of(cluster_id)?;
        self.change(Change::RemoveMember { node }).await
    }

    async fn configure(&self, cluster_id: ClusterId, wishes: Wishes) -> Result<(), AdminError> {
        self.state_of(cluster_id)?;
        // What can be refused comes first: then nothing is changed.
        if let Some(replication_factor) = wishes.replication_factor {
            self.change(Change::SetReplicationFactor { replication_factor }).await?;
        }
        if let Some(settings) = wishes.rebalance {
            self.change(Change::SetRebalance { settings }).await?;
        }
        Ok(())
    }

    async fn recover(
        &self,
        cluster_id: ClusterId,
        lost: BTreeSet<NodeId>,
        accept: bool,
    ) -> Result<RecoverResponse, AdminError> {
        let state = self.state_of(cluster_id)?;
        self.recovery.recover(&state, lost, accept).await
    }

    async fn step_down(&self, undo: bool) -> Result<u32, AdminError> {
        if !self.groups.tell(Input::StepDown { undo }) {
            return Err(AdminError::TryLater("the node is overloaded or stopping".into()));
        }
        Ok(u32::try_from(self.board.led_here()).unwrap_or(u32::MAX))
    }
}

impl Office {
    fn state(&self) -> Result<Arc<ClusterState>, AdminError> {
        self.board
            .view()
            .cluster
            .clone()
            .ok_or_else(|| AdminError::TryLater("the cluster's state is not known here yet".into()))
    }

    /// The state, if the caller means this very cluster.
    fn state_of(&self, cluster_id: ClusterId) -> Result<Arc<ClusterState>, AdminError> {
        let state = self.state()?;
        if state.cluster_id != cluster_id {
            let actual = state.cluster_id;
            return Err(AdminError::Refused(format!("this is cluster {actual}, not {cluster_id}")));
        }
        Ok(state)
    }

    fn overview<'a>(&'a self, state: &'a ClusterState) -> Overview<'a> {
        Overview { board: &self.board, state, now_ms: self.clock.monotonic_ms() }
    }

    /// Has a change agreed, wherever the meta group is led.
    async fn change(&self, change: Change) -> Result<(), AdminError> {
        self.router.change(change).await.map_err(|error| match error {
            RequestError::Refused(words) => AdminError::Refused(words),
            error => AdminError::TryLater(error.to_string()),
        })
    }
}
