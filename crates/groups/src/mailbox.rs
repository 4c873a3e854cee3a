//! What can be said to the raft worker, and the handle to say it with.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use flin_replica::Message;
use flin_state::cluster::{Change, ClusterState};
use flin_state::ids::{GroupId, LogIndex, NodeId, ReplicaId};
use flin_state::operation::{Read, Reply, Write};
use tokio::sync::oneshot;

use crate::requests::RequestError;

/// Inputs that may wait for the worker; beyond it requests are refused and raft messages dropped.
pub const INPUTS_MAX: usize = 16_384;

/// Where the replies of one run of operations go.
pub type Answer = oneshot::Sender<Result<Vec<Reply>, RequestError>>;

/// One thing for the worker to do.
#[expect(missing_docs, reason = "the names of the fields say it all")]
pub enum Input {
    /// Raft messages of one peer, in order.
    Messages(Vec<Message>),
    /// A run of writes of one partition.
    Write { group: GroupId, writes: Vec<Write>, answer: Answer },
    /// A run of reads of one partition.
    Read { group: GroupId, reads: Vec<Read>, answer: Answer },
    /// A change of the meta state.
    Change { change: Change, answer: oneshot::Sender<Result<(), RequestError>> },
    /// The applier has moved on; what it did is on the board.
    Applied,
    /// The content of a snapshot is staged; raft decides whether it is wanted.
    Staged { message: Message, done: oneshot::Sender<()> },
    /// A snapshot reached a follower, or did not.
    SnapshotSent { group: GroupId, to: ReplicaId, delivered: bool },
    /// Messages to this node are being lost.
    Unreachable(NodeId),
    /// The meta state changed: host what it places here.
    Cluster(Arc<ClusterState>),
    /// Whether a peer is leaving and should be given no leadership.
    Leaving { node: NodeId, leaving: bool },
    /// Up to which index each group's state is durable in the engine.
    Durable(Vec<(GroupId, LogIndex)>),
    /// Hand every leadership over and take none, or undo that.
    StepDown { undo: bool },
    /// End the worker.
    Stop,
}

/// Where the raft worker of a node is told what to do; it exists before the worker, so that those whom the worker
/// needs can hold the handle.
pub struct Mailbox {
    /// The handle.
    pub groups: Groups,
    pub(crate) inputs: Receiver<Input>,
}

impl Mailbox {
    /// An empty mailbox with room for [`INPUTS_MAX`].
    #[expect(clippy::new_without_default, reason = "it is not a value")]
    pub fn new() -> Self {
        let (sender, inputs) = sync_channel(INPUTS_MAX);
        Mailbox { groups: Groups { inputs: sender }, inputs }
    }
}

/// The handle to the raft worker: cheap to clone, never blocks.
#[derive(Clone)]
pub struct Groups {
    inputs: SyncSender<Input>,
}

impl Groups {
    /// A handle to a worker that is not there.
    pub(crate) fn nobody() -> Self {
        Mailbox::new().groups
    }

    /// Proposes a run of writes if this node leads the group.
    pub async fn write(
        &self,
        group: GroupId,
        writes: Vec<Write>,
    ) -> Result<Vec<Reply>, RequestError> {
        let (answer, replies) = oneshot::channel();
        self.ask(Input::Write { group, writes, answer })?;
        replies.await.unwrap_or_else(|_| {
            Err(RequestError::Unknown("the node stopped before it knew the outcome".into()))
        })
    }

    /// Answers a run of reads, linearizably, if this node leads the group.
    pub async fn read(&self, group: GroupId, reads: Vec<Read>) -> Result<Vec<Reply>, RequestError> {
        let (answer, replies) = oneshot::channel();
        self.ask(Input::Read { group, reads, answer })?;
        replies.await.unwrap_or_else(|_| Err(RequestError::TryLater("the node stopped".into())))
    }

    /// Proposes a change of the meta state if this node leads the meta group.
    pub async fn change(&self, change: Change) -> Result<(), RequestError> {
        let (answer, outcome) = oneshot::channel();
        self.ask(Input::Change { change, answer })?;
        outcome.await.unwrap_or_else(|_| {
            Err(RequestError::Unknown("the node stopped before it knew the outcome".into()))
        })
    }

    /// Says something that needs no answer. A full mailbox loses it, which raft and its callers survive;
    /// returns whether it was taken.
    pub fn tell(&self, input: Input) -> bool {
        self.inputs.try_send(input).is_ok()
    }

    /// Says something that must not be lost, off the reactor; returns false once the worker is gone.
    pub fn tell_blocking(&self, input: Input) -> bool {
        self.inputs.send(input).is_ok()
    }

    fn ask(&self, input: Input) -> Result<(), RequestError> {
        self.inputs.try_send(input).map_err(|error| match error {
            TrySendError::Full(_) => RequestError::TryLater(format!(
                "this node is overloaded: {INPUTS_MAX} requests are waiting"
            )),
            TrySendError::Disconnected(_) => RequestError::TryLater("the node is stopping".into()),
        })
    }
}
