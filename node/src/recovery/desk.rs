//! Asking what is left, deciding, and giving orders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flin_groups::board::Board;
use flin_groups::requests::RequestError;
use flin_groups::router::Router;
use flin_proto::admin::RecoverResponse;
use flin_proto::admin::recover_response::Meta;
use flin_proto::peer::peer_client::PeerClient;
use flin_proto::peer::{GoOnAloneRequest, SurveyRequest, SurveyResponse};
use flin_state::cluster::{Change, ClusterState, Member, MemberState, Sighting, Verdict, judge};
use flin_state::engine::Engine;
use flin_state::ids::{GroupId, NodeId, PartitionId, Term};
use flin_state::log::Log;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;
use tracing::{info, warn};

use super::{Alone, Order, store, survey};
use crate::grpc::admin::AdminError;
use crate::transport::MESSAGE_BYTES_MAX;
use crate::transport::peers::Peers;

/// How long a node that is left may take to say what it has.
const SURVEY_TIME: Duration = Duration::from_secs(10);
/// How long a node that is said to be lost is given to prove otherwise.
const PROOF_TIME: Duration = Duration::from_secs(3);
/// How long a node may take to write an order down.
const ORDER_TIME: Duration = Duration::from_secs(10);

/// Surveys, decides and orders.
pub(crate) struct Desk {
    pub(crate) board: Arc<Board>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) router: Router,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) log: Arc<dyn Log>,
    /// The node's data directory.
    pub(crate) directory: PathBuf,
    /// Has the node start again.
    pub(crate) restart: CancellationToken,
}

/// What a survey found, for all nodes that are left.
type Seen = BTreeMap<GroupId, Vec<Sighting>>;

impl Desk {
    /// What this node has, for a peer.
    pub(crate) async fn survey(&self) -> Result<SurveyResponse, Status> {
        let seen = self.look().await?;
        Ok(survey::wire(seen, self.board.view().cluster.as_deref()))
    }

    /// Takes an order from a peer. The node starts again soon after this returns.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for one that cannot be read, `FAILED_PRECONDITION` when this node is not as it says.
    pub(crate) async fn take_order(&self, json: &[u8]) -> Result<(), Status> {
        let order: Order = serde_json::from_slice(json)
            .map_err(|error| Status::invalid_argument(format!("not a recovery order: {error}")))?;
        self.check(&order).await?;
        let (directory, written) = (self.directory.clone(), order.clone());
        let writing = tokio::task::spawn_blocking(move || store(&directory, &written));
        let written = writing.await.map_err(|error| Status::internal(error.to_string()))?;
        written.map_err(|error| Status::internal(format!("write the order down: {error}")))?;
        warn!(groups = order.alone.len(), "ordered to go on alone; starting again");
        self.restart.cancel();
        Ok(())
    }

    /// Does the next step of a recovery from the loss of `lost`, or only says what would become of the cluster
    /// unless `accept`.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when a node named as lost answers or one that is not does not,
    /// [`AdminError::TryLater`] while something is still settling.
    pub(crate) async fn recover(
        &self,
        state: &ClusterState,
        lost: BTreeSet<NodeId>,
        accept: bool,
    ) -> Result<RecoverResponse, AdminError> {
        self.check_lost(state, &lost).await?;
        let is_gone = |(node, member): &(&NodeId, &Member)| {
            lost.contains(node) || member.state == MemberState::Replaced
        };
        let gone = state.members.iter().filter(is_gone).map(|(node, _)| *node).collect();
        let (seen, newest) = self.survey_all(state, &gone).await?;
        let verdicts = judge(&newest, &gone, &seen);
        let mut answer = answer(&verdicts);
        if !accept {
            return Ok(answer);
        }
        refuse_led(&verdicts, &seen)?;
        let orders = self.orders(&verdicts, &newest);
        if orders.is_empty() {
            self.agree(&newest, gone, &verdicts).await?;
            answer.done = true;
        } else {
            self.give(orders).await?;
        }
        Ok(answer)
    }

    /// Whether everybody in `lost` is or was a member, and is silent. Who is none any more was let go, perhaps by a
    /// recovery that this one repeats.
    async fn check_lost(
        &self,
        state: &ClusterState,
        lost: &BTreeSet<NodeId>,
    ) -> Result<(), AdminError> {
        if lost.is_empty() {
            return Err(AdminError::Refused("name the nodes that are lost for good".into()));
        }
        if let Some(stranger) = lost.iter().find(|node| **node >= state.next_node_id) {
            return Err(AdminError::Refused(format!("node {stranger} is no member")));
        }
        let asked = lost.iter().map(|node| async move {
            let answers = *node == self.board.node()
                || matches!(
                    tokio::time::timeout(PROOF_TIME, self.survey_peer(*node)).await,
                    Ok(Ok(_))
                );
            answers.then_some(*node)
        });
        match join_all(asked).await.into_iter().flatten().next() {
            Some(alive) => {
                let words = format!(
                    "{} answers: it is not lost. Drain it if it is to go",
                    label(state, alive)
                );
                Err(AdminError::Refused(words))
            }
            None => Ok(()),
        }
    }

    /// What every node but those in `gone` has, and the newest state that any of them knows.
    async fn survey_all(
        &self,
        state: &ClusterState,
        gone: &BTreeSet<NodeId>,
    ) -> Result<(Seen, ClusterState), AdminError> {
        let left: Vec<NodeId> =
            state.members.keys().copied().filter(|node| !gone.contains(node)).collect();
        let asked = left.iter().map(|node| async move {
            let asking = async {
                if *node == self.board.node() {
                    return Ok((self.look().await?, Some(state.clone())));
                }
                let answer = self.survey_peer(*node).await?;
                survey::unwire(*node, answer).map_err(|error| Status::data_loss(error.to_string()))
            };
            let answer = tokio::time::timeout(SURVEY_TIME, asking).await;
            (*node, answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))))
        });
        let (mut seen, mut newest) = (Seen::new(), state.clone());
        for (node, answer) in join_all(asked).await {
            let (sightings, known) = answer.map_err(|status| {
                AdminError::Refused(format!(
                    "{} is not named as lost and does not answer ({}): bring it back first, or name it too",
                    label(state, node),
                    status.message()
                ))
            })?;
            for (group, sighting) in sightings {
                seen.entry(group).or_default().push(sighting);
            }
            newest = known.filter(|known| known.revision > newest.revision).unwrap_or(newest);
        }
        if newest.members.keys().any(|node| !state.members.contains_key(node)) {
            self.board.set_cluster(Arc::new(newest));
            let words = "this node had not heard of every member; ask again";
            return Err(AdminError::TryLater(words.into()));
        }
        Ok((seen, newest))
    }

    /// The order for each node that has one to get.
    fn orders(
        &self,
        verdicts: &BTreeMap<GroupId, Verdict>,
        newest: &ClusterState,
    ) -> BTreeMap<NodeId, Order> {
        let mut orders: BTreeMap<NodeId, Order> = BTreeMap::new();
        let blank = |node| Order {
            cluster_id: newest.cluster_id,
            node,
            alone: BTreeMap::new(),
            meta: None,
        };
        for (group, verdict) in verdicts {
            if let Verdict::Alone { node, replica, last, term } = *verdict {
                let alone = Alone { replica, last, term: Term(term.0 + 1) };
                let order = orders.entry(node).or_insert_with(|| blank(node));
                order.alone.insert(*group, alone);
            }
        }
        let meta = match verdicts.get(&GroupId::META) {
            Some(Verdict::Alone { node, .. }) => Some(*node),
            Some(Verdict::Empty) => Some(self.board.node()),
            Some(Verdict::Keeps) | None => None,
        };
        if let Some(node) = meta {
            orders.entry(node).or_insert_with(|| blank(node)).meta = Some(newest.clone());
        }
        orders
    }

    /// Gives every node its order; this one is the last to start again.
    async fn give(&self, mut orders: BTreeMap<NodeId, Order>) -> Result<(), AdminError> {
        let own = orders.remove(&self.board.node());
        let given = orders.iter().map(|(node, order)| async move {
            let giving = async {
                let order = serde_json::to_vec(order).expect("an order is always JSON");
                let request = GoOnAloneRequest { order: order.into() };
                let request = self.peers.credentials.request(*node, request);
                self.client(*node).await?.go_on_alone(request).await.map(drop)
            };
            let given = tokio::time::timeout(ORDER_TIME, giving).await;
            let given =
                given.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
            given.map_err(|status| format!("node {node}: {}", status.message()))
        });
        let failed: Vec<String> =
            join_all(given).await.into_iter().filter_map(Result::err).collect();
        if !failed.is_empty() {
            return Err(AdminError::TryLater(failed.join("; ")));
        }
        if let Some(own) = own {
            let json = serde_json::to_vec(&own).expect("an order is always JSON");
            let taken = self.take_order(&json).await;
            taken.map_err(|status| AdminError::TryLater(status.message().to_owned()))?;
        }
        Ok(())
    }

    /// Has the cluster agree on what is gone, once it can.
    async fn agree(
        &self,
        newest: &ClusterState,
        gone: BTreeSet<NodeId>,
        verdicts: &BTreeMap<GroupId, Verdict>,
    ) -> Result<(), AdminError> {
        let serving: Vec<NodeId> = (newest.members.keys().copied())
            .filter(|node| newest.serves(*node) && !gone.contains(node))
            .collect();
        let empty: Vec<GroupId> =
            verdicts.iter().filter(|(_, v)| **v == Verdict::Empty).map(|(g, _)| *g).collect();
        if serving.is_empty() && !empty.is_empty() {
            let words = "no node that is left serves: undo the draining of one first";
            return Err(AdminError::Refused(words.into()));
        }
        let empty = empty.into_iter().zip(serving.into_iter().cycle()).collect();
        info!(?gone, ?empty, "the loss is accepted");
        let change = Change::AcceptLoss { gone, empty };
        self.router.change(change).await.map_err(|error| match error {
            RequestError::Refused(words) => AdminError::Refused(words),
            error => AdminError::TryLater(error.to_string()),
        })
    }

    /// Whether this node is as `order` says: nothing may have come into the logs since.
    async fn check(&self, order: &Order) -> Result<(), Status> {
        let (own, cluster) = (self.board.node(), self.peers.credentials.cluster);
        if (order.node, order.cluster_id) != (own, cluster) {
            let words = format!("the order is for node {} of {}", order.node, order.cluster_id);
            return Err(Status::failed_precondition(words));
        }
        let seen = self.look().await?;
        let other = order.alone.iter().find(|(group, alone)| {
            seen.get(group).is_none_or(|one| (one.replica, one.last) != (alone.replica, alone.last))
        });
        match other {
            Some((group, _)) => Err(Status::failed_precondition(format!(
                "group {group} is not as it was surveyed; ask again"
            ))),
            None => Ok(()),
        }
    }

    async fn look(&self) -> Result<BTreeMap<GroupId, Sighting>, Status> {
        let (engine, log, board) = (self.engine.clone(), self.log.clone(), self.board.clone());
        let looking = tokio::task::spawn_blocking(move || survey::look(&*engine, &*log, &board));
        let seen = looking.await.map_err(|error| Status::internal(error.to_string()))?;
        seen.map_err(|error| Status::internal(error.to_string()))
    }

    async fn survey_peer(&self, node: NodeId) -> Result<SurveyResponse, Status> {
        let request = self.peers.credentials.request(node, SurveyRequest {});
        Ok(self.client(node).await?.survey(request).await?.into_inner())
    }

    async fn client(&self, node: NodeId) -> Result<PeerClient<Channel>, Status> {
        let peer = self.peers.get(node).ok_or_else(|| Status::unavailable("it is not known"))?;
        let channel = peer.whereabouts.connect().await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(PeerClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }
}

/// A leader that has lost its followers takes a moment to notice; until then it may still append.
fn refuse_led(verdicts: &BTreeMap<GroupId, Verdict>, seen: &Seen) -> Result<(), AdminError> {
    let led = verdicts.iter().find(|(group, verdict)| {
        matches!(verdict, Verdict::Alone { .. })
            && seen.get(group).is_some_and(|seen| seen.iter().any(|one| one.leads))
    });
    match led {
        Some((group, _)) => Err(AdminError::TryLater(format!(
            "the leader of group {group} has not noticed yet that its followers are gone; ask again"
        ))),
        None => Ok(()),
    }
}

fn answer(verdicts: &BTreeMap<GroupId, Verdict>) -> RecoverResponse {
    let partitions = |wanted: fn(&Verdict) -> bool| {
        let wanted = verdicts.iter().filter(move |(_, verdict)| wanted(verdict));
        wanted.filter_map(|(group, _)| group.partition()).map(|PartitionId(p)| u32::from(p))
    };
    let kept = partitions(|verdict| *verdict == Verdict::Keeps).count();
    let meta = match verdicts.get(&GroupId::META) {
        Some(Verdict::Alone { .. }) => Meta::Alone,
        Some(Verdict::Empty) => Meta::Rebuilt,
        Some(Verdict::Keeps) | None => Meta::Kept,
    };
    RecoverResponse {
        kept: u32::try_from(kept).unwrap_or(u32::MAX),
        alone: partitions(|verdict| matches!(verdict, Verdict::Alone { .. })).collect(),
        empty: partitions(|verdict| *verdict == Verdict::Empty).collect(),
        meta: meta.into(),
        done: false,
    }
}

fn label(state: &ClusterState, node: NodeId) -> String {
    match state.members.get(&node) {
        Some(member) => format!("node {node} ({})", member.name),
        None => format!("node {node}"),
    }
}
