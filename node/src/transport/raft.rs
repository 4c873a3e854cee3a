//! The stream of raft messages to one peer.

use std::time::Duration;

use flin_groups::Input;
use flin_groups::wire::wire;
use flin_proto::peer::peer_client::PeerClient;
use flin_proto::peer::{LeaderReport, RaftBatch};
use flin_replica::Message;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;
use tracing::{debug, info};

use super::peers::Link;
use super::{MESSAGE_BYTES_MAX, RECONNECT_DELAY};

/// Rounds gathered into one batch.
const ROUNDS_PER_BATCH: usize = 64;
/// Batches that may wait for the connection.
const BATCHES_MAX: usize = 8;
/// A batch is cut once its messages exceed this.
const BATCH_BYTES: usize = 4 << 20;

/// Carries raft messages to the peer of `link` until it is told to stop, connecting as often as it takes.
/// What cannot be sent is dropped and the peer reported unreachable: raft sends anew.
pub(crate) async fn carry(link: Link, mut outbox: mpsc::Receiver<Vec<Message>>) {
    let mut reports = link.board.reports();
    let mut connected_before = false;
    while !link.stop.is_cancelled() {
        let address = link.peer.whereabouts.address();
        match link.peer.whereabouts.connect().await {
            Ok(channel) => {
                info!(peer = %link.peer.node, %address, "connected to peer");
                connected_before = true;
                let end = stream(&link, channel, &mut outbox, &mut reports).await;
                match end {
                    Some(status) => {
                        info!(peer = %link.peer.node, reason = %status.message(), "lost peer")
                    }
                    None => return,
                }
            }
            Err(error) if connected_before => {
                info!(peer = %link.peer.node, %address, %error, "cannot reach peer");
                connected_before = false;
            }
            Err(error) => debug!(peer = %link.peer.node, %address, %error, "cannot reach peer"),
        }
        link.groups.tell(Input::Unreachable(link.peer.node));
        drain_for(&link, &mut outbox, RECONNECT_DELAY).await;
    }
}

/// Drops what comes for a peer that cannot be reached.
async fn drain_for(link: &Link, outbox: &mut mpsc::Receiver<Vec<Message>>, delay: Duration) {
    let end = tokio::time::sleep(delay);
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return,
            () = link.stop.cancelled() => return,
            Some(_) = outbox.recv() => {}
        }
    }
}

/// Sends until the stream breaks (`Some`) or the node stops (`None`).
async fn stream(
    link: &Link,
    channel: Channel,
    outbox: &mut mpsc::Receiver<Vec<Message>>,
    reports: &mut watch::Receiver<LeaderReport>,
) -> Option<Status> {
    let (batches, stream) = mpsc::channel(BATCHES_MAX);
    let mut client = PeerClient::new(channel).max_encoding_message_size(MESSAGE_BYTES_MAX);
    let call = client.raft(link.credentials.request(link.peer.node, ReceiverStream::new(stream)));
    tokio::pin!(call);
    let mut rounds = Vec::with_capacity(ROUNDS_PER_BATCH);
    reports.mark_changed();
    loop {
        let mut batch = RaftBatch::default();
        tokio::select! {
            () = link.stop.cancelled() => return None,
            end = &mut call => return Some(ended(end.err())),
            Ok(()) = reports.changed() => batch.report = Some(reports.borrow_and_update().clone()),
            _ = outbox.recv_many(&mut rounds, ROUNDS_PER_BATCH) => {}
        }
        let mut bytes = 0;
        for message in rounds.drain(..).flatten() {
            bytes += message.bytes.len();
            batch.messages.push(wire(message));
            if bytes > BATCH_BYTES {
                bytes = 0;
                let full = std::mem::take(&mut batch);
                tokio::select! {
                    sent = batches.send(full) => if sent.is_err() { break },
                    end = &mut call => return Some(ended(end.err())),
                }
            }
        }
        tokio::select! {
            sent = batches.send(batch) => if sent.is_err() {
                return Some(ended(call.await.err()));
            },
            end = &mut call => return Some(ended(end.err())),
        }
    }
}

fn ended(error: Option<Status>) -> Status {
    error.unwrap_or_else(|| Status::unavailable("the peer ended the stream"))
}
