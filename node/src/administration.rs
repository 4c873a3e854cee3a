//! What a node tells about itself and its cluster, and the little it can be told to do.

use std::sync::Arc;

use flin_proto::admin::{Cluster, ListPartitionsResponse, Member, Node, Partition};
use flin_state::cluster::{Change, ClusterState};
use flin_state::ids::{ClusterId, GroupId, PartitionId};
use flin_state::log::Log;
use flin_state::slot::slots_of;

use crate::clock::Clock;
use crate::front::requests::RequestError;
use crate::groups::Groups;
use crate::groups::board::{Board, Leadership, SILENCE_MS_MAX};
use crate::groups::mailbox::Input;
use crate::grpc::admin::{AdminError, Administration};
use crate::http::Health;
use crate::router::Router;

/// Answers administrative requests from the board.
pub(crate) struct Office {
    pub(crate) name: String,
    pub(crate) board: Arc<Board>,
    pub(crate) groups: Groups,
    pub(crate) router: Router,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: Arc<dyn Log>,
}

impl Health for Board {
    fn ready(&self) -> Result<(), String> {
        Board::ready(self)
    }
}

impl Administration for Office {
    async fn get_cluster(&self) -> Result<Cluster, AdminError> {
        let state = self.state()?;
        let now_ms = self.clock.monotonic_ms();
        let groups = (0..state.partitions).map(|partition| PartitionId(partition).group());
        let known: Vec<(GroupId, Leadership)> =
            groups.map(|group| (group, self.board.leadership(group))).collect();
        let led = |of: &Leadership| is_fresh(of, now_ms) && of.leader.is_some();
        let full = |of: &Leadership| led(of) && of.healthy >= u32::from(state.replication_factor);
        let members = state.members.iter().map(|(node, member)| Member {
            node_id: node.0,
            name: member.name.clone(),
            peer_address: member.peer_address.clone(),
            client_address: member.client_address.clone(),
            alive: self.board.is_alive(*node, now_ms),
            replicas: count(
                state.groups_on(*node).filter(|(group, _)| group.partition().is_some()),
            ),
            leaders: count(known.iter().filter(|(_, of)| led(of) && of.leader == Some(*node))),
        });
        Ok(Cluster {
            cluster_id: state.cluster_id.to_string(),
            formed: state.formed,
            partitions: u32::from(state.partitions),
            replication_factor: u32::from(state.replication_factor),
            revision: state.revision,
            under_replicated: count(known.iter().filter(|(_, of)| !full(of))),
            leaderless: count(known.iter().filter(|(_, of)| !led(of))),
            members: members.collect(),
            meta_leader: self.board.leadership(GroupId::META).leader.map_or(0, |node| node.0),
        })
    }

    async fn list_partitions(&self) -> Result<ListPartitionsResponse, AdminError> {
        let state = self.state()?;
        let now_ms = self.clock.monotonic_ms();
        let partitions = (0..state.partitions).map(PartitionId).map(|partition| {
            let known = self.board.leadership(partition.group());
            let slots = slots_of(partition, state.partitions);
            let fresh = is_fresh(&known, now_ms);
            Partition {
                partition: u32::from(partition.0),
                first_slot: u32::from(slots.start),
                last_slot: u32::from(slots.end - 1),
                leader: known.leader.filter(|_| fresh).map_or(0, |node| node.0),
                term: known.term.0,
                nodes: state.replicas_of(partition.group()).iter().map(|p| p.node.0).collect(),
                healthy: if fresh { known.healthy } else { 0 },
            }
        });
        Ok(ListPartitionsResponse { partitions: partitions.collect() })
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
        let cluster = self.get_cluster().await?;
        if cluster.cluster_id != cluster_id.to_string() {
            return Err(AdminError::Refused(format!(
                "this is cluster {}, not {cluster_id}",
                cluster.cluster_id
            )));
        }
        if cluster.leaderless > 0 && !cluster.formed {
            return Err(AdminError::TryLater(format!(
                "{} of {} partitions have no leader yet",
                cluster.leaderless, cluster.partitions
            )));
        }
        self.router.change(Change::ConfirmFormed { cluster_id }).await.map_err(
            |error| match error {
                RequestError::Refused(words) => AdminError::Refused(words),
                error => AdminError::TryLater(error.to_string()),
            },
        )
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
}

/// Whether what a leader said of itself is recent enough to be called true.
fn is_fresh(known: &Leadership, now_ms: u64) -> bool {
    known.reported_ms.is_some_and(|at| now_ms.saturating_sub(at) <= SILENCE_MS_MAX)
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
