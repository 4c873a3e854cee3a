//! The other nodes: where they are, and the mailboxes of the tasks that talk to them.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use flin_groups::Groups;
use flin_groups::board::Board;
use flin_groups::forward::{Forward, Forwarded};
use flin_replica::Message;
use flin_state::cluster::{ClusterState, MemberState};
use flin_state::ids::NodeId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use super::connecting::Whereabouts;
use super::forward;
use super::handshake::Credentials;
use super::raft;

/// Rounds of raft messages that may wait for one peer; a full outbox loses messages, as raft allows.
const OUTBOX_ROUNDS_MAX: usize = 256;

/// The peers of a node. Tasks start when a node is first named and end when it is named no more, or with the
/// token.
pub(crate) struct Peers {
    pub(crate) credentials: Arc<Credentials>,
    board: Arc<Board>,
    groups: Groups,
    known: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    runtime: tokio::runtime::Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// One other node.
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) whereabouts: Whereabouts,
    outbox: mpsc::Sender<Vec<Message>>,
    forward: mpsc::Sender<Forwarded>,
    /// Ends the tasks that talk to it.
    stop: CancellationToken,
}

impl Peers {
    pub(crate) fn new(
        credentials: Arc<Credentials>,
        board: Arc<Board>,
        groups: Groups,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let runtime = tokio::runtime::Handle::current();
        Arc::new(Peers {
            credentials,
            board,
            groups,
            known: RwLock::default(),
            runtime,
            tasks,
            stop,
        })
    }

    /// Learns the addresses of `members`, and starts to talk to those not known before.
    pub(crate) fn meet(&self, members: impl IntoIterator<Item = (NodeId, String)>) {
        for (node, address) in members {
            if node == self.credentials.node {
                continue;
            }
            let mut known = self.known.write().expect(POISON);
            if let Some(peer) = known.get(&node) {
                peer.whereabouts.set(address);
                continue;
            }
            let (outbox, messages) = mpsc::channel(OUTBOX_ROUNDS_MAX);
            let (forward, requests) = mpsc::channel(forward::WAITING_MAX);
            let stop = self.stop.child_token();
            let whereabouts = Whereabouts::new(address);
            let peer = Arc::new(Peer { node, whereabouts, outbox, forward, stop: stop.clone() });
            known.insert(node, peer.clone());
            let link = Link {
                peer,
                credentials: self.credentials.clone(),
                board: self.board.clone(),
                groups: self.groups.clone(),
                stop,
            };
            self.tasks.spawn_on(raft::carry(link.clone(), messages), &self.runtime);
            self.tasks.spawn_on(forward::carry(link, requests), &self.runtime);
        }
    }

    /// Learns the members of a meta state, and parts with every node that is none. Nor is there anything to say
    /// to one that was replaced: another node listens at its address.
    pub(crate) fn meet_members(&self, state: &ClusterState) {
        let stays = |node: &NodeId| {
            state.members.get(node).is_some_and(|member| member.state != MemberState::Replaced)
        };
        self.known.write().expect(POISON).retain(|node, peer| {
            let stays = stays(node);
            if !stays {
                info!(peer = %node, "parted with a node that is no member any more");
                peer.stop.cancel();
            }
            stays
        });
        let members = state.members.iter().filter(|(node, _)| stays(node));
        self.meet(members.map(|(node, member)| (*node, member.peer_address.clone())));
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<Arc<Peer>> {
        self.known.read().expect(POISON).get(&node).cloned()
    }

    /// Queues a round of raft messages for `node`; returns false when they are lost.
    pub(crate) fn post(&self, node: NodeId, messages: Vec<Message>) -> bool {
        self.get(node).is_some_and(|peer| peer.outbox.try_send(messages).is_ok())
    }
}

impl Forward for Peers {
    fn forward(&self, node: NodeId, request: Forwarded) -> Result<(), Forwarded> {
        match self.get(node) {
            Some(peer) => peer.forward.try_send(request).map_err(|error| match error {
                mpsc::error::TrySendError::Full(request)
                | mpsc::error::TrySendError::Closed(request) => request,
            }),
            None => Err(request),
        }
    }
}

/// What a task that talks to one peer needs.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) peer: Arc<Peer>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) board: Arc<Board>,
    pub(crate) groups: Groups,
    pub(crate) stop: CancellationToken,
}

const POISON: &str = "no thread panics while it holds the peers";
