//! A node's snapshots on their way out: each read from a view of the engine of its own.

use std::sync::Arc;

use flin_groups::board::Board;
use flin_groups::metrics::CoreMetrics;
use flin_groups::snapshot::{TransferId, read_frames};
use flin_groups::{Groups, Input};
use flin_proto::peer::SnapshotFrame;
use flin_proto::peer::peer_client::PeerClient;
use flin_replica::Message;
use flin_state::engine::Engine;
use flin_state::ids::{GroupId, NodeId, ReplicaId};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{info, warn};

use super::Limits;
use super::delivery::{Answers, Delivery, OpenError, SendError, Way};
use super::slots::{Slot, Slots};
use crate::transport::MESSAGE_BYTES_MAX;
use crate::transport::pace::Pace;
use crate::transport::peers::Peers;

/// Frames read ahead of those that are kept.
const READ_AHEAD_MAX: usize = 2;

/// Sends snapshots, a few at a time, and all together no faster than the meta state allows.
pub(crate) struct SnapshotSender {
    engine: Arc<dyn Engine>,
    peers: Arc<Peers>,
    groups: Groups,
    board: Arc<Board>,
    pace: Pace,
    metrics: CoreMetrics,
    limits: Limits,
    slots: Slots,
}

impl SnapshotSender {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        peers: Arc<Peers>,
        groups: Groups,
        board: Arc<Board>,
        metrics: CoreMetrics,
        limits: Limits,
    ) -> Arc<Self> {
        let (pace, slots) = (Pace::new(board.clone()), Slots::new(&limits));
        Arc::new(SnapshotSender { engine, peers, groups, board, pace, metrics, limits, slots })
    }

    /// Sends the state of a group to the replica that `message` announces it to, which lives on `node`,
    /// and tells raft how that ended.
    pub(crate) async fn send(self: Arc<Self>, node: NodeId, message: Message) {
        let (group, to) = (message.group, message.to);
        let sent = match self.slot(group, node).await {
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

    /// The right to send. Whoever had to wait for it may have lost the reason to.
    async fn slot(&self, group: GroupId, node: NodeId) -> Result<Slot, SendError> {
        let slot = self.slots.take(node).await?;
        if slot.waited && !self.leads(group) {
            return Err(SendError::NotLeading);
        }
        Ok(slot)
    }

    fn leads(&self, group: GroupId) -> bool {
        self.board.leadership(group).leader == Some(self.board.node())
    }

    /// Raft waits for this report: it must not be lost to a full mailbox.
    async fn report(&self, group: GroupId, to: ReplicaId, delivered: bool) {
        let groups = self.groups.clone();
        let tell = move || groups.tell_blocking(Input::SnapshotSent { group, to, delivered });
        let _ = tokio::task::spawn_blocking(tell).await;
    }

    async fn transfer(&self, node: NodeId, message: Message) -> Result<(), SendError> {
        let (group, engine) = (message.group, self.engine.clone());
        let (read, frames) = mpsc::channel(READ_AHEAD_MAX);
        // A frame is not taken only when the delivery is over, which then says why. Until then the view of the
        // engine is kept, across connections.
        let mut feed = move |frame| read.blocking_send(frame).is_ok();
        let reading =
            tokio::task::spawn_blocking(move || read_frames(&*engine, &message, &mut feed));
        let delivery = Delivery {
            way: PeerWay { peers: self.peers.clone(), node },
            pace: &self.pace,
            metrics: &self.metrics,
            limits: &self.limits,
            group,
            node,
            is_wanted: || self.leads(group),
        };
        let sent = delivery.run(TransferId(rand::random()), frames).await;
        // A reading error ends the frames early; it explains more than what it causes.
        reading.await.map_err(|_| SendError::Lost)??;
        sent
    }
}

/// The way to a peer: a connection of its own, so that it is in nobody's way.
struct PeerWay {
    peers: Arc<Peers>,
    node: NodeId,
}

impl Way for PeerWay {
    async fn open(&self, frames: ReceiverStream<SnapshotFrame>) -> Result<Answers, OpenError> {
        let peer = self.peers.get(self.node).ok_or(OpenError::UnknownPeer)?;
        let channel = peer.whereabouts.connect().await?;
        let mut client = PeerClient::new(channel).max_encoding_message_size(MESSAGE_BYTES_MAX);
        let request = self.peers.credentials.request(self.node, frames);
        Ok(client.install_snapshot(request).await?.into_inner().boxed())
    }
}
