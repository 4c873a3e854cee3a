//! The state of one group on its way to a follower that the log no longer reaches.
//!
//! The sender streams every pair of the group from one view of the engine, so that the raft index in the
//! head and the content agree. The receiver stages the pairs beside its engine, checks count and checksum,
//! makes the stage durable, and only then lets raft see the message: raft decides whether it is wanted.
//!
//! Raft sends a follower nothing else until it is told how its snapshot ended, so that is always said.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use flin_proto::peer::peer_client::PeerClient;
use flin_proto::peer::snapshot_frame::Frame;
use flin_proto::peer::{SnapshotEnd, SnapshotFrame, SnapshotHead, SnapshotPairs};
use flin_replica::{Message, snapshot_message};
use flin_state::engine::{Engine, EngineError, Reader, Stage};
use flin_state::ids::{GroupId, NodeId, ReplicaId};
use flin_state::keys::{GroupState, group_range};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit, TryAcquireError, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::{info, warn};

use super::MESSAGE_BYTES_MAX;
use super::connecting::ConnectError;
use super::pace::Pace;
use super::peers::Peers;
use super::raft::{unwire, wire};
use crate::groups::Groups;
use crate::groups::board::Board;
use crate::groups::mailbox::Input;

/// The version of the frames; a receiver refuses one it does not know.
const FORMAT: u32 = 1;
/// Pairs are sent in frames of about this size.
const FRAME_BYTES: usize = 256 << 10;
/// Frames that may wait for the network or the disk.
const FRAMES_MAX: usize = 4;
/// Snapshots a node sends at a time; more wait their turn.
const SENDING_MAX: usize = 4;
/// A receiver that takes nothing for this long is given up; its snapshot is begun anew.
const STALL_TIME: Duration = Duration::from_secs(30);
/// How long a receiver that was sent everything may take to make it durable and to decide.
const DECISION_TIME: Duration = Duration::from_secs(120);

/// Sends snapshots, a few at a time, and all together no faster than the meta state allows.
pub(crate) struct SnapshotSender {
    engine: Arc<dyn Engine>,
    peers: Arc<Peers>,
    groups: Groups,
    board: Arc<Board>,
    pace: Pace,
    bytes_sent: Counter,
    slots: Semaphore,
}

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the peer is not known")]
    UnknownPeer,
    #[error("this node does not lead the group any more")]
    NotLeading,
    #[error("read the state")]
    Read(#[from] EngineError),
    #[error("rewrite the message: {0}")]
    Message(String),
    #[error("connect")]
    Connect(#[from] ConnectError),
    #[error("the peer refused it: {}", .0.message())]
    Refused(#[from] Status),
    #[error("the peer took nothing for {} s", STALL_TIME.as_secs())]
    Stalled,
    #[error("the peer was sent everything and did not decide within {} s", DECISION_TIME.as_secs())]
    Undecided,
    #[error("the reader of the state was lost")]
    Lost,
    #[error("the node is stopping")]
    Stopping(#[from] AcquireError),
}

impl SnapshotSender {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        peers: Arc<Peers>,
        groups: Groups,
        board: Arc<Board>,
        bytes_sent: Counter,
    ) -> Arc<Self> {
        let (pace, slots) = (Pace::new(board.clone()), Semaphore::new(SENDING_MAX));
        Arc::new(SnapshotSender { engine, peers, groups, board, pace, bytes_sent, slots })
    }

    /// Sends the state of a group to the replica that `message` announces it to, which lives on `node`,
    /// and tells raft how that ended.
    pub(crate) async fn send(self: Arc<Self>, node: NodeId, message: Message) {
        let (group, to) = (message.group, message.to);
        let sent = match self.slot(group).await {
            Ok(_slot) => self.transfer(node, message).await,
            Err(error) => Err(error),
        };
        match &sent {
            Ok(()) => info!(%group, %node, "sent a snapshot"),
            Err(error) => {
                warn!(%group, %node, error = error as &dyn std::error::Error, "snapshot not delivered")
            }
        }
        self.report(group, to, sent.is_ok()).await;
    }

    /// The right to send, in the order of asking. Whoever had to wait for it may have lost the reason to.
    async fn slot(&self, group: GroupId) -> Result<SemaphorePermit<'_>, SendError> {
        match self.slots.try_acquire() {
            Ok(slot) => return Ok(slot),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {}
        }
        let slot = self.slots.acquire().await?;
        if self.board.leadership(group).leader == Some(self.board.node()) {
            Ok(slot)
        } else {
            Err(SendError::NotLeading)
        }
    }

    /// Raft waits for this report: it must not be lost to a full mailbox.
    async fn report(&self, group: GroupId, to: ReplicaId, delivered: bool) {
        let groups = self.groups.clone();
        let tell = move || groups.tell_blocking(Input::SnapshotSent { group, to, delivered });
        let _ = tokio::task::spawn_blocking(tell).await;
    }

    async fn transfer(&self, node: NodeId, message: Message) -> Result<(), SendError> {
        let peer = self.peers.get(node).ok_or(SendError::UnknownPeer)?;
        let channel = peer.whereabouts.connect().await?;
        let (read, frames) = mpsc::channel(FRAMES_MAX);
        let engine = self.engine.clone();
        let reading = tokio::task::spawn_blocking(move || read_state(&*engine, &message, &read));
        let (out, stream) = mpsc::channel(1);
        let mut client = PeerClient::new(channel).max_encoding_message_size(MESSAGE_BYTES_MAX);
        let request = self.peers.credentials.request(node, ReceiverStream::new(stream));
        let sent = self.deliver(frames, out, client.install_snapshot(request)).await;
        // A reading error ends the stream early; it explains more than the refusal it causes.
        reading.await.map_err(|_| SendError::Lost)??;
        sent
    }

    /// Feeds `frames` to the `call` through `out` until the receiver has decided or is given up.
    async fn deliver<T>(
        &self,
        frames: mpsc::Receiver<SnapshotFrame>,
        out: mpsc::Sender<SnapshotFrame>,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<(), SendError> {
        tokio::pin!(call);
        let answer = tokio::select! {
            answer = &mut call => answer,
            fed = self.feed(frames, out) => {
                fed?;
                let decided = tokio::time::timeout(DECISION_TIME, call).await;
                decided.map_err(|_| SendError::Undecided)?
            }
        };
        answer?;
        Ok(())
    }

    async fn feed(
        &self,
        mut frames: mpsc::Receiver<SnapshotFrame>,
        out: mpsc::Sender<SnapshotFrame>,
    ) -> Result<(), SendError> {
        while let Some(frame) = frames.recv().await {
            let bytes = pair_bytes(&frame);
            if bytes > 0 {
                self.pace.pass(bytes).await;
            }
            match tokio::time::timeout(STALL_TIME, out.send(frame)).await {
                Ok(Ok(())) => drop(self.bytes_sent.inc_by(bytes)),
                // The call is over and says why.
                Ok(Err(_)) => return Ok(()),
                Err(_) => return Err(SendError::Stalled),
            }
        }
        Ok(())
    }
}

/// The keys and values of a frame.
fn pair_bytes(frame: &SnapshotFrame) -> u64 {
    let Some(Frame::Pairs(pairs)) = &frame.frame else { return 0 };
    pairs.keys.iter().chain(&pairs.values).map(|part| part.len() as u64).sum()
}

/// Streams a group's pairs and the message that announces them into `frames`.
fn read_state(
    engine: &dyn Engine,
    message: &Message,
    frames: &mpsc::Sender<SnapshotFrame>,
) -> Result<(), SendError> {
    let mut outcome = Ok(());
    engine.with_snapshot(&mut |reader| {
        outcome = read_view(reader, message, frames);
        Ok(())
    })?;
    outcome
}

fn read_view(
    reader: &dyn Reader,
    message: &Message,
    frames: &mpsc::Sender<SnapshotFrame>,
) -> Result<(), SendError> {
    let group = message.group;
    let state = GroupState::load(reader, group)?
        .ok_or_else(|| SendError::Message(format!("group {group} has no state here")))?;
    let head = flin_replica::SnapshotHead {
        index: state.applied,
        term: state.applied_term,
        configuration: state.configuration,
    };
    let message =
        snapshot_message(message, &head).map_err(|error| SendError::Message(error.to_string()))?;
    // A send fails only when the receiver is gone; its own error is the one worth telling.
    let send = |frame| frames.blocking_send(SnapshotFrame { frame: Some(frame) }).is_ok();
    if !send(Frame::Head(SnapshotHead { message: Some(wire(message)), format: FORMAT })) {
        return Ok(());
    }
    let mut pairs = SnapshotPairs::default();
    let (mut bytes, mut count, mut checksum) = (0, 0, Checksum::default());
    let (from, to) = group_range(group);
    let mut gone = false;
    reader.scan(&from, &to, &mut |key, value| {
        checksum.add(key, value);
        count += 1;
        bytes += key.len() + value.len();
        pairs.keys.push(Bytes::copy_from_slice(key));
        pairs.values.push(Bytes::copy_from_slice(value));
        if bytes >= FRAME_BYTES {
            bytes = 0;
            gone = !send(Frame::Pairs(std::mem::take(&mut pairs)));
        }
        if gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if !gone && send(Frame::Pairs(pairs)) {
        send(Frame::End(SnapshotEnd { pairs: count, checksum: checksum.value() }));
    }
    Ok(())
}

/// Takes snapshots in, one per group at a time.
pub(crate) struct SnapshotReceiver {
    engine: Arc<dyn Engine>,
    groups: Groups,
    staging: Arc<Mutex<BTreeSet<GroupId>>>,
}

impl SnapshotReceiver {
    pub(crate) fn new(engine: Arc<dyn Engine>, groups: Groups) -> Self {
        SnapshotReceiver { engine, groups, staging: Arc::default() }
    }

    /// Stages what `frames` bring and shows the message to raft; returns once raft has decided.
    pub(crate) async fn receive(&self, mut frames: Streaming<SnapshotFrame>) -> Result<(), Status> {
        let Some(SnapshotFrame { frame: Some(Frame::Head(head)) }) = frames.message().await? else {
            return Err(Status::invalid_argument("a snapshot begins with its head"));
        };
        if head.format != FORMAT {
            return Err(Status::unimplemented(format!(
                "snapshot format {} is not known here, only {FORMAT}; upgrade this node first",
                head.format
            )));
        }
        let message = head
            .message
            .and_then(unwire)
            .filter(Message::is_snapshot)
            .ok_or_else(|| Status::invalid_argument("the head carries no snapshot message"))?;
        let _slot = Slot::take(&self.staging, message.group)?;
        self.stage(message.group, frames).await?;
        let (done, decided) = oneshot::channel();
        if !self.groups.tell(Input::Staged { message, done }) {
            return Err(Status::unavailable("the node is overloaded or stopping"));
        }
        decided.await.map_err(|_| Status::unavailable("the node is stopping"))
    }

    async fn stage(
        &self,
        group: GroupId,
        mut frames: Streaming<SnapshotFrame>,
    ) -> Result<(), Status> {
        let (feed, fed) = mpsc::channel(FRAMES_MAX);
        let engine = self.engine.clone();
        let staging = tokio::task::spawn_blocking(move || write_stage(&*engine, group, fed));
        while let Some(SnapshotFrame { frame }) = frames.message().await? {
            let Some(frame) = frame else { continue };
            if feed.send(frame).await.is_err() {
                break;
            }
        }
        drop(feed);
        staging.await.map_err(|error| Status::internal(error.to_string()))?
    }
}

fn write_stage(
    engine: &dyn Engine,
    group: GroupId,
    mut frames: mpsc::Receiver<Frame>,
) -> Result<(), Status> {
    let failed = |error: EngineError| Status::internal(format!("stage a snapshot: {error}"));
    let (from, to) = group_range(group);
    let mut stage: Box<dyn Stage + Send> = engine.stage(&stage_name(group)).map_err(failed)?;
    let (mut count, mut checksum) = (0, Checksum::default());
    while let Some(frame) = frames.blocking_recv() {
        match frame {
            Frame::Pairs(SnapshotPairs { keys, values }) if keys.len() == values.len() => {
                for (key, value) in keys.iter().zip(&values) {
                    if **key < from[..] || **key >= to[..] {
                        return Err(Status::invalid_argument("a key outside the group"));
                    }
                    checksum.add(key, value);
                    count += 1;
                    stage.put(key, value).map_err(failed)?;
                }
            }
            Frame::End(end) if end.pairs == count && end.checksum == checksum.value() => {
                return stage.finish().map_err(failed);
            }
            Frame::End(_) => return Err(Status::data_loss("the snapshot arrived damaged")),
            Frame::Pairs(_) | Frame::Head(_) => {
                return Err(Status::invalid_argument("a malformed snapshot frame"));
            }
        }
    }
    Err(Status::aborted("the snapshot ended early"))
}

/// The name under which a group's snapshot is staged in the engine.
pub(crate) fn stage_name(group: GroupId) -> String {
    format!("group-{group}")
}

/// The right to stage a group's snapshot; dropped, it is free again.
struct Slot<'a> {
    staging: &'a Mutex<BTreeSet<GroupId>>,
    group: GroupId,
}

impl<'a> Slot<'a> {
    fn take(staging: &'a Mutex<BTreeSet<GroupId>>, group: GroupId) -> Result<Self, Status> {
        if staging.lock().expect(POISON).insert(group) {
            Ok(Slot { staging, group })
        } else {
            Err(Status::already_exists("a snapshot of this group is being received"))
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.staging.lock().expect(POISON).remove(&self.group);
    }
}

const POISON: &str = "no thread panics while it holds the staging slots";

/// CRC-32 over every key and value, each behind its length.
#[derive(Default)]
struct Checksum(crc32fast::Hasher);

impl Checksum {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            let length = u32::try_from(part.len()).expect("keys and values are far below 4 GiB");
            self.0.update(&length.to_le_bytes());
            self.0.update(part);
        }
    }

    fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}
