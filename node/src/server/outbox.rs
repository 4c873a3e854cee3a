//! The worker's way out: messages to the peers' tasks, snapshots to tasks of their own.

use std::sync::Arc;

use flin_groups::Outbox;
use flin_replica::Message;
use flin_state::ids::NodeId;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::transport::peers::Peers;
use crate::transport::snapshot::SnapshotSender;

/// Hands what the worker sends to the reactor, without ever waiting for it.
pub(super) struct PeerOutbox {
    pub(super) peers: Arc<Peers>,
    pub(super) snapshots: Arc<SnapshotSender>,
    pub(super) tasks: TaskTracker,
    pub(super) runtime: Handle,
    pub(super) stop: CancellationToken,
}

impl Outbox for PeerOutbox {
    fn post(&self, node: NodeId, messages: Vec<Message>) -> bool {
        self.peers.post(node, messages)
    }

    fn send_snapshot(&self, node: NodeId, message: Message) {
        let sending = self.snapshots.clone().send(node, message);
        let stop = self.stop.clone();
        let task = async move { stop.run_until_cancelled_owned(sending).await };
        self.tasks.spawn_on(task, &self.runtime);
    }
}
