//! Snapshots on their way in: one per group at a time, each staged beside the engine.
//!
//! Every group that receives has a [`Desk`]: a task that owns what is staged, takes one connection after the
//! other, and ends when there is nothing to keep. A connection that breaks leaves the stage at the desk for a
//! while; the sender's next connection is told how much of it is there. Another transfer of the same group takes
//! the desk over and begins anew, except while raft looks at what is complete: until it has decided, the stage
//! belongs to its message.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use flin_groups::snapshot::{Identity, Incoming, StageError, Step, discard, opened};
use flin_groups::{Groups, Input};
use flin_proto::peer::{SnapshotFrame, SnapshotResult};
use flin_replica::Message;
use flin_state::engine::Engine;
use flin_state::ids::{GroupId, NodeId};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tracing::{info, warn};

use super::Limits;

/// Connections that may wait for a desk, each of which takes the place of the one before.
const WAITING_MAX: usize = 4;
/// Answers that may wait for a connection.
const ANSWERS_MAX: usize = 8;

/// What a sender says on one connection.
pub(super) type Frames = BoxStream<'static, Result<SnapshotFrame, Status>>;
/// What it is answered, frame by frame.
type Answer = Result<SnapshotResult, Status>;
/// All of that.
pub(crate) type Answers = ReceiverStream<Answer>;
/// Shows raft the message of a complete snapshot, blocking; false once there is nobody to show it to.
pub(super) type Offer = dyn Fn(Message, oneshot::Sender<()>) -> bool + Send + Sync;

/// Takes snapshots in.
pub(crate) struct SnapshotReceiver {
    ground: Ground,
    desks: Desks,
    tasks: TaskTracker,
}

/// The desks that are open, and where their connections go.
type Desks = Arc<Mutex<BTreeMap<GroupId, mpsc::Sender<Connection>>>>;

/// What every desk stands on.
#[derive(Clone)]
struct Ground {
    engine: Arc<dyn Engine>,
    offer: Arc<Offer>,
    limits: Limits,
    /// Stages kept without a connection.
    held: Arc<Semaphore>,
    stop: CancellationToken,
}

/// One connection of a sender.
struct Connection {
    caller: Caller,
    frames: Frames,
}

/// What the sender on a connection wants, and how it is answered.
struct Caller {
    identity: Identity,
    /// Whether it counts on what is kept.
    resumed: bool,
    answers: mpsc::Sender<Answer>,
}

impl SnapshotReceiver {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        groups: Groups,
        limits: Limits,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let offer = move |message, done| groups.tell_blocking(Input::Staged { message, done });
        SnapshotReceiver::with_offer(engine, Arc::new(offer), limits, tasks, stop)
    }

    pub(super) fn with_offer(
        engine: Arc<dyn Engine>,
        offer: Arc<Offer>,
        limits: Limits,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let held = Arc::new(Semaphore::new(limits.held_max));
        let ground = Ground { engine, offer, limits, held, stop };
        SnapshotReceiver { ground, desks: Desks::default(), tasks }
    }

    /// Takes a connection of the node `sender`, whose answers end once raft has decided.
    ///
    /// # Errors
    /// If the first frame is not the head of a snapshot that can be read here.
    pub(crate) async fn receive(
        &self,
        sender: NodeId,
        frames: impl futures::Stream<Item = Result<SnapshotFrame, Status>> + Send + 'static,
    ) -> Result<Answers, Status> {
        let mut frames = frames.boxed();
        let first = tokio::select! {
            first = frames.next() => first.transpose()?,
            () = self.ground.stop.cancelled() => return Err(stopping()),
        };
        let opening = opened(sender, first).map_err(refusal)?;
        let (answers, stream) = mpsc::channel(ANSWERS_MAX);
        let caller = Caller { identity: opening.identity, resumed: opening.resumed, answers };
        self.bring(Connection { caller, frames })?;
        Ok(ReceiverStream::new(stream))
    }

    /// Brings a connection to the desk of its group, which is opened if it is not open.
    fn bring(&self, connection: Connection) -> Result<(), Status> {
        let group = connection.caller.identity.message.group;
        let mut desks = self.desks.lock().expect(POISON);
        let mailbox = desks.entry(group).or_insert_with(|| {
            let (mailbox, connections) = mpsc::channel(WAITING_MAX);
            let ground = self.ground.clone();
            let desk = Desk { ground, group, connections, desks: self.desks.clone() };
            self.tasks.spawn(desk.run());
            mailbox
        });
        mailbox.try_send(connection).map_err(|_| {
            Status::unavailable(
                "too many connections bring a snapshot of this group, or the node stops",
            )
        })
    }
}

/// What a desk keeps between connections.
enum Kept {
    Nothing,
    /// A transfer that may go on.
    Unfinished(Incoming),
    /// Raft has decided, and the sender may not have heard of it.
    Decided(Identity),
}

/// The right to keep a stage; nothing else needs one.
type Place = Option<OwnedSemaphorePermit>;

/// What became of a connection: what is kept, and the connection that came in its place.
type Served = (Kept, Option<Connection>);

/// Where the snapshots of one group arrive.
struct Desk {
    ground: Ground,
    group: GroupId,
    connections: mpsc::Receiver<Connection>,
    desks: Desks,
}

impl Desk {
    async fn run(mut self) {
        let (mut kept, mut newcomer) = (Kept::Nothing, None);
        loop {
            let next = if newcomer.is_some() {
                newcomer.take()
            } else if matches!(kept, Kept::Nothing) {
                let Some(next) = self.next_or_close() else { return };
                Some(next)
            } else {
                let place = self.place(&kept);
                self.hold(place).await
            };
            // Opening the engine removes what is staged of a transfer that a stop interrupts.
            if self.ground.stop.is_cancelled() {
                return;
            }
            (kept, newcomer) = match next {
                Some(next) => self.serve(next, kept).await,
                None => (self.forget(kept).await, None),
            };
        }
    }

    /// The next connection. If there is none the desk is closed: whoever comes later opens another.
    fn next_or_close(&mut self) -> Option<Connection> {
        let mut desks = self.desks.lock().expect(POISON);
        let next = self.connections.try_recv().ok();
        if next.is_none() {
            desks.remove(&self.group);
        }
        next
    }

    /// The right to keep what there is without a connection; `None` if others keep too much already.
    fn place(&self, kept: &Kept) -> Option<Place> {
        match kept {
            Kept::Unfinished(_) => self.ground.held.clone().try_acquire_owned().ok().map(Some),
            Kept::Nothing | Kept::Decided(_) => Some(None),
        }
    }

    /// Waits for the next connection, for as long as what there is may be kept.
    async fn hold(&mut self, place: Option<Place>) -> Option<Connection> {
        let _place = place?;
        tokio::select! {
            () = self.ground.stop.cancelled() => None,
            next = timeout(self.ground.limits.hold_time, self.connections.recv()) => next.ok()?,
        }
    }

    /// Keeps nothing any more.
    async fn forget(&self, kept: Kept) -> Kept {
        if let Kept::Unfinished(incoming) = kept {
            info!(group = %self.group, taken = incoming.taken(), "forgot an unfinished snapshot");
            drop(incoming);
            self.discard().await;
        }
        Kept::Nothing
    }

    /// Frees the disk of what is not complete.
    async fn discard(&self) {
        let (engine, group) = (self.ground.engine.clone(), self.group);
        if let Err(error) = off_reactor(move || discard(&*engine, group)).await {
            warn!(group = %self.group, reason = %error.message(), "a stage was not removed");
        }
    }

    async fn serve(&mut self, connection: Connection, kept: Kept) -> Served {
        let Connection { caller, mut frames } = connection;
        let (kept, answer) = match self.admit(&caller, kept).await {
            Ok(incoming) => match self.take_in(&caller, &mut frames, incoming).await {
                Ok(served) => return served,
                Err(status) => (Kept::Nothing, Err(status)),
            },
            Err(refused) => refused,
        };
        if let Err(status) = &answer {
            let peer = caller.identity.sender;
            warn!(group = %self.group, %peer, reason = %status.message(), "a snapshot was not taken");
        }
        caller.answer(answer).await;
        (kept, None)
    }

    /// The transfer that a connection carries on or begins; otherwise what is kept all the same, and the answer.
    async fn admit(&self, caller: &Caller, kept: Kept) -> Result<Incoming, (Kept, Answer)> {
        match kept {
            Kept::Unfinished(incoming) if incoming.identity() == &caller.identity => Ok(incoming),
            Kept::Decided(identity) if identity == caller.identity => {
                Err((Kept::Decided(identity), Ok(decided())))
            }
            kept if caller.resumed => Err((kept, Err(unknown()))),
            kept => {
                self.forget(kept).await;
                let (engine, identity) = (self.ground.engine.clone(), caller.identity.clone());
                let begun = off_reactor(move || Incoming::begin(&*engine, identity)).await;
                begun.map_err(|status| (Kept::Nothing, Err(status)))
            }
        }
    }

    /// Takes in what a connection brings, until all is there or it ends.
    async fn take_in(
        &mut self,
        caller: &Caller,
        frames: &mut Frames,
        mut incoming: Incoming,
    ) -> Result<Served, Status> {
        caller.answer(Ok(taken(incoming.taken()))).await;
        loop {
            let frame = tokio::select! {
                biased;
                () = self.ground.stop.cancelled() => return Ok((Kept::Unfinished(incoming), None)),
                Some(newcomer) = self.connections.recv() => {
                    // One that counts on another transfer has nothing to take this one's place with.
                    if newcomer.caller.resumed && newcomer.caller.identity != *incoming.identity() {
                        newcomer.caller.answer(Err(unknown())).await;
                        continue;
                    }
                    caller.answer(Err(Status::aborted("another connection took its place"))).await;
                    return Ok((Kept::Unfinished(incoming), Some(newcomer)));
                }
                frame = frames.next() => frame,
            };
            // The sender hung up, or the connection broke: it may come back.
            let Some(Ok(frame)) = frame else { return Ok((Kept::Unfinished(incoming), None)) };
            let sequence = frame.sequence;
            let step = off_reactor(move || incoming.take(frame)).await;
            if step.is_err() {
                self.discard().await;
            }
            let step = step?;
            caller.answer(Ok(taken(sequence))).await;
            match step {
                Step::More(more) => incoming = more,
                Step::Complete(identity) => {
                    return self.decide(caller, identity, sequence).await;
                }
            }
        }
    }

    /// Lets raft decide about what is complete, all its `frames`. The stage is raft's meanwhile, so that another
    /// transfer waits; but the sender may lose its connection, and come back to hear the decision.
    async fn decide(
        &mut self,
        caller: &Caller,
        identity: Identity,
        frames: u64,
    ) -> Result<Served, Status> {
        let (done, mut decision) = oneshot::channel();
        let (offer, message) = (self.ground.offer.clone(), identity.message.clone());
        let offering = spawn_blocking(move || offer(message, done));
        let (mut back, mut waiting) = (None, None);
        loop {
            let newcomer = tokio::select! {
                biased;
                decision = &mut decision => {
                    decision.map_err(|_| stopping())?;
                    break;
                }
                Some(newcomer) = self.connections.recv() => newcomer,
            };
            if newcomer.caller.identity == identity {
                newcomer.caller.answer(Ok(taken(frames))).await;
                back = Some(newcomer.caller);
            } else if newcomer.caller.resumed {
                newcomer.caller.answer(Err(unknown())).await;
            } else {
                waiting = Some(newcomer);
            }
        }
        let _ = offering.await;
        back.as_ref().unwrap_or(caller).answer(Ok(decided())).await;
        Ok((Kept::Decided(identity), waiting))
    }
}

impl Caller {
    /// Says something to the sender; nobody is there any more if it hung up.
    async fn answer(&self, answer: Answer) {
        let _ = self.answers.send(answer).await;
    }
}

fn taken(taken: u64) -> SnapshotResult {
    SnapshotResult { taken, decided: false }
}

fn decided() -> SnapshotResult {
    SnapshotResult { taken: 0, decided: true }
}

fn unknown() -> Status {
    Status::not_found("the transfer is not known here any more")
}

fn stopping() -> Status {
    Status::unavailable("the node is stopping")
}

/// Does what may wait for a disk.
async fn off_reactor<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StageError> + Send + 'static,
) -> Result<T, Status> {
    let done = spawn_blocking(work).await.map_err(|error| Status::internal(error.to_string()))?;
    done.map_err(refusal)
}

fn refusal(error: StageError) -> Status {
    match error {
        StageError::Format(_) => Status::unimplemented(error.to_string()),
        StageError::Damaged => Status::data_loss(error.to_string()),
        StageError::Engine(source) => Status::internal(format!("stage a snapshot: {source}")),
        StageError::NoHead
        | StageError::NoMessage
        | StageError::OutOfOrder { .. }
        | StageError::Malformed
        | StageError::Foreign => Status::invalid_argument(error.to_string()),
    }
}

const POISON: &str = "no thread panics while it holds the desks";
