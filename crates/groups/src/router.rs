//! Brings every request to the node that leads its partition, and tells honestly how that ended.
//!
//! A request is retried here only while it was surely not done: nobody led, the leader moved on, the
//! connection was not there. Reads are retried whatever happened. A write that may have been proposed and
//! whose outcome is lost ends in [`RequestError::Unknown`], once, and is never sent again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flin_mutant::{Bug, is};
use flin_proto::peer::forward_result::Result as Outcome;
use flin_state::cluster::Change;
use flin_state::ids::{GroupId, NodeId, PartitionId};
use flin_state::operation::{Read, Reply, Write};
use tokio::sync::oneshot;

use crate::board::Board;
use crate::clock::{Clock, within};
use crate::forward::{Forward, Forwarded, Lost, Run};
use crate::mailbox::Groups;
use crate::requests::{RequestError, Requests, View};

/// How long a request looks for a leader that takes it.
const SEARCH_TIME: Duration = Duration::from_secs(5);
/// How long a request may take once a leader has taken it.
const OUTCOME_TIME: Duration = Duration::from_secs(10);
/// The pause before a leader is looked for again, doubled each time up to the maximum.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// The way from a door to the leader of a partition. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    groups: Groups,
    board: Arc<Board>,
    peers: Arc<dyn Forward>,
    clock: Arc<dyn Clock>,
}

/// One attempt's end.
enum Attempt {
    Done(Result<Vec<Reply>, RequestError>),
    /// Surely not done; the leader as the one asked knows it.
    Retry(String),
}

/// A run of operations that can be sent more than once.
trait Operations: Clone + Send + 'static {
    /// Whether doing it twice does no harm.
    const IDEMPOTENT: bool;

    fn encoded(&self) -> Run;

    fn locally(
        self,
        groups: &Groups,
        group: GroupId,
    ) -> impl Future<Output = Result<Vec<Reply>, RequestError>> + Send;
}

impl Operations for Vec<Write> {
    const IDEMPOTENT: bool = false;

    fn encoded(&self) -> Run {
        Run::Writes(Write::encode_all(self))
    }

    async fn locally(self, groups: &Groups, group: GroupId) -> Result<Vec<Reply>, RequestError> {
        groups.write(group, self).await
    }
}

impl Operations for Vec<Read> {
    const IDEMPOTENT: bool = true;

    fn encoded(&self) -> Run {
        Run::Reads(Read::encode_all(self))
    }

    async fn locally(self, groups: &Groups, group: GroupId) -> Result<Vec<Reply>, RequestError> {
        groups.read(group, self).await
    }
}

/// A change of the meta state: proposing it again is refused or changes nothing.
impl Operations for Change {
    const IDEMPOTENT: bool = true;

    fn encoded(&self) -> Run {
        let json = serde_json::to_vec(self).expect("a change is plain data with string keys");
        Run::Change(json.into())
    }

    async fn locally(self, groups: &Groups, _meta: GroupId) -> Result<Vec<Reply>, RequestError> {
        groups.change(self).await.map(|()| vec![Reply::Ok])
    }
}

impl Requests for Router {
    async fn write(
        &self,
        partition: PartitionId,
        writes: Vec<Write>,
    ) -> Result<Vec<Reply>, RequestError> {
        self.served()?;
        self.anywhere(partition.group(), writes).await
    }

    async fn read(
        &self,
        partition: PartitionId,
        reads: Vec<Read>,
    ) -> Result<Vec<Reply>, RequestError> {
        self.served()?;
        self.anywhere(partition.group(), reads).await
    }

    async fn write_here(
        &self,
        partition: PartitionId,
        writes: Vec<Write>,
    ) -> Result<Vec<Reply>, RequestError> {
        self.here(partition, writes).await
    }

    async fn read_here(
        &self,
        partition: PartitionId,
        reads: Vec<Read>,
    ) -> Result<Vec<Reply>, RequestError> {
        self.here(partition, reads).await
    }

    fn view(&self) -> Arc<View> {
        self.board.view()
    }
}

impl Router {
    /// A router beside the groups of `board`'s node.
    pub fn new(
        groups: Groups,
        board: Arc<Board>,
        peers: Arc<dyn Forward>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Router { groups, board, peers, clock }
    }

    /// Brings a change of the meta state to the meta group's leader.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with the reason; everything else is worth another try.
    pub async fn change(&self, change: Change) -> Result<(), RequestError> {
        self.anywhere(GroupId::META, change).await.map(|_| ())
    }

    fn served(&self) -> Result<(), RequestError> {
        self.board.view().serving.clone().map_err(RequestError::TryLater)
    }

    fn leader_of(&self, group: GroupId) -> Option<NodeId> {
        match group.partition() {
            Some(partition) => {
                self.board.view().leaders.get(usize::from(partition.0)).copied().flatten()
            }
            None => self.board.leadership(group).leader,
        }
    }

    async fn here(
        &self,
        partition: PartitionId,
        operations: impl Operations,
    ) -> Result<Vec<Reply>, RequestError> {
        self.served()?;
        let leader = self.leader_of(partition.group());
        if leader != Some(self.board.node()) {
            return Err(RequestError::NotHere { leader });
        }
        self.on_this_node(partition.group(), operations).await
    }

    async fn anywhere(
        &self,
        group: GroupId,
        operations: impl Operations,
    ) -> Result<Vec<Reply>, RequestError> {
        let begun_us = self.clock.monotonic_us();
        let mut pause = PAUSE_MIN;
        loop {
            let attempt = match self.leader_of(group) {
                Some(leader) if leader == self.board.node() => {
                    settle(self.on_this_node(group, operations.clone()).await)
                }
                Some(leader) => self.on_peer(leader, group, &operations).await,
                None => Attempt::Retry("no leader is known".into()),
            };
            let reason = match attempt {
                Attempt::Done(result) => return result,
                Attempt::Retry(reason) => reason,
            };
            let searched = self.clock.monotonic_us().saturating_sub(begun_us);
            if Duration::from_micros(searched) + pause > SEARCH_TIME {
                return Err(RequestError::TryLater(format!(
                    "{} could not be reached within {} s: {reason}",
                    name(group),
                    SEARCH_TIME.as_secs()
                )));
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn on_this_node<O: Operations>(
        &self,
        group: GroupId,
        operations: O,
    ) -> Result<Vec<Reply>, RequestError> {
        let work = operations.locally(&self.groups, group);
        within(&*self.clock, OUTCOME_TIME, work).await.unwrap_or_else(|| Err(lost::<O>(TOO_LATE)))
    }

    async fn on_peer<O: Operations>(
        &self,
        leader: NodeId,
        group: GroupId,
        operations: &O,
    ) -> Attempt {
        let (answer, outcome) = oneshot::channel();
        let request = Forwarded { group, run: operations.encoded(), answer };
        if self.peers.forward(leader, request).is_err() {
            return Attempt::Retry(format!("node {leader} takes no more requests"));
        }
        let outcome = match within(&*self.clock, OUTCOME_TIME, outcome).await {
            Some(Ok(Ok(outcome))) => outcome,
            // A request whose answer was dropped never left its queue.
            Some(Err(_) | Ok(Err(Lost::NotSent))) => {
                return Attempt::Retry(format!("node {leader} cannot be reached"));
            }
            Some(Ok(Err(Lost::Sent))) => return broken::<O>("the connection to the leader broke"),
            None => return broken::<O>(TOO_LATE),
        };
        settle(match outcome {
            Outcome::Reply(bytes) => decode::<O>(bytes),
            Outcome::NotLeader(0) => Err(RequestError::NotHere { leader: None }),
            Outcome::NotLeader(node) => Err(RequestError::NotHere { leader: Some(NodeId(node)) }),
            Outcome::TryLater(words) => Err(RequestError::TryLater(words)),
            Outcome::Unknown(words) => Err(RequestError::Unknown(words)),
            Outcome::Refused(words) => Err(RequestError::Refused(words)),
        })
    }
}

const TOO_LATE: &str = "no majority confirmed it within 10 s";

fn name(group: GroupId) -> String {
    match group.partition() {
        Some(partition) => format!("partition {partition}"),
        None => "the meta group".into(),
    }
}

fn settle(result: Result<Vec<Reply>, RequestError>) -> Attempt {
    match result {
        Err(RequestError::NotHere { leader }) => Attempt::Retry(match leader {
            Some(node) => format!("its leadership moved to node {node}"),
            None => "it has no leader".into(),
        }),
        result => Attempt::Done(result),
    }
}

fn broken<O: Operations>(what: &str) -> Attempt {
    if O::IDEMPOTENT || is(Bug::RetryWrites) {
        Attempt::Retry(what.to_owned())
    } else {
        Attempt::Done(Err(lost::<O>(what)))
    }
}

fn lost<O: Operations>(what: &str) -> RequestError {
    if O::IDEMPOTENT || is(Bug::CallUnknownUndone) {
        RequestError::TryLater(what.to_owned())
    } else {
        RequestError::Unknown(what.to_owned())
    }
}

fn decode<O: Operations>(bytes: Bytes) -> Result<Vec<Reply>, RequestError> {
    Reply::decode_all(bytes)
        .map_err(|error| lost::<O>(&format!("the answer is malformed: {error}")))
}
