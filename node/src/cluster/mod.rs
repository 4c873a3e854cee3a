//! Who the cluster is: its first state, becoming and being a member, and keeping up with it.
//!
//! A node that replicates the meta group reads the state from its own replica; any other follows one that
//! does. Either way it ends on the board, in the worker's mailbox (to host what is placed here), with the
//! peers, and in a file, so that a node restarted without a meta quorum still knows its cluster. A node that
//! finds itself to be a member no longer ends.

mod cache;
mod contacts;
mod describe;
mod follow;
mod join;
pub(crate) mod rebalance;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flin_state::cluster::{Change, ClusterState, Genesis, MemberState};
use flin_state::ids::NodeId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub(crate) use cache::{load as load_cached, store as store_cached};
pub(crate) use contacts::Contacts;
pub(crate) use describe::{Description, describe};
pub(crate) use follow::follow;
pub use join::JoinError;
pub(crate) use join::{Applicant, Joined, is_formed, random_nonce};

use crate::front::requests::RequestError;
use crate::groups::Groups;
use crate::groups::board::Board;
use crate::groups::mailbox::Input;
use crate::transport::peers::Peers;

/// How often the first state is proposed until there is one.
const FORM_INTERVAL: Duration = Duration::from_millis(200);

/// How a node's membership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The cluster let it go and has everything that it held: its data are superfluous.
    Removed,
    /// Another node took its name. The cluster makes its replicas anew elsewhere and has not done so for all.
    Replaced,
}

/// How the membership of `node` ended, if it did. A state from before the node joined says nothing.
pub(crate) fn farewell(state: &ClusterState, node: NodeId) -> Option<Farewell> {
    match state.members.get(&node) {
        None => (state.next_node_id > node).then_some(Farewell::Removed),
        Some(member) if member.state != MemberState::Replaced => None,
        Some(_) if state.holds(node) == 0 => Some(Farewell::Removed),
        Some(_) => Some(Farewell::Replaced),
    }
}

/// The nodes that replicate the meta group.
pub(crate) fn meta_nodes(genesis: &Genesis, state: Option<&ClusterState>) -> Vec<NodeId> {
    let begun = genesis.begin().ok();
    let meta = state.or(begun.as_ref()).map(|state| &state.meta);
    meta.into_iter().flatten().map(|placement| placement.node).collect()
}

/// Proposes the cluster's first state while there is none. Every meta node does; one of them leads, and
/// applying it twice changes nothing.
pub(crate) async fn form(
    genesis: Genesis,
    groups: Groups,
    board: Arc<Board>,
    stop: CancellationToken,
) {
    let mut state = board.cluster();
    loop {
        let known = tokio::select! {
            () = stop.cancelled() => return,
            known = state.wait_for(Option::is_some) => known.is_ok(),
            () = tokio::time::sleep(FORM_INTERVAL) => false,
        };
        if known {
            return;
        }
        match groups.change(Change::Form { genesis: genesis.clone() }).await {
            Ok(()) => info!("the cluster's first state is agreed"),
            Err(RequestError::NotHere { .. } | RequestError::TryLater(_)) => {}
            Err(error) => warn!(%error, "could not propose the cluster's first state"),
        }
    }
}

/// Brings each new state to everybody on this node whom it concerns, until one says that this node is a member
/// no longer: that goes to `farewells` instead.
pub(crate) async fn spread(
    board: Arc<Board>,
    groups: Groups,
    peers: Arc<Peers>,
    cache: PathBuf,
    farewells: mpsc::Sender<Farewell>,
    stop: CancellationToken,
) {
    let mut states = board.cluster();
    states.mark_changed();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = states.changed() => if changed.is_err() { return },
        }
        let Some(state) = states.borrow_and_update().clone() else { continue };
        if let Some(farewell) = farewell(&state, board.node()) {
            // There is room for one, and one is enough.
            let _ = farewells.try_send(farewell);
            return;
        }
        peers.meet_members(&state);
        let (groups, path) = (groups.clone(), cache.clone());
        let told = tokio::task::spawn_blocking(move || {
            if let Err(error) = cache::store(&path, &state) {
                warn!(%error, path = %path.display(), "could not keep the cluster's state for a restart");
            }
            groups.tell_blocking(Input::Cluster(state))
        });
        if !told.await.unwrap_or(false) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use flin_state::cluster::GenesisMember;
    use flin_state::ids::ClusterId;

    use super::*;

    fn state() -> ClusterState {
        let members = (1..=3).map(|id| GenesisMember {
            name: format!("n{id}"),
            node_id: NodeId(id),
            peer_address: format!("n{id}:6383"),
            client_address: format!("n{id}:6384"),
            zone: String::new(),
        });
        let genesis = Genesis {
            cluster_id: ClusterId(7),
            partitions: 1,
            replication_factor: 1,
            members: members.collect(),
        };
        genesis.begin().unwrap()
    }

    #[test]
    fn only_a_node_that_was_let_go_bids_farewell() {
        let mut state = state();
        let holder = state.meta[0].node;
        let idle = (1..=3).map(NodeId).find(|node| state.holds(*node) == 0).unwrap();
        assert_eq!(farewell(&state, holder), None);
        assert_eq!(farewell(&state, NodeId(4)), None, "a state from before it joined");
        for (member_state, of_holder, of_idle) in [
            (MemberState::Draining, None, None),
            (MemberState::Lost, None, None),
            (MemberState::Replaced, Some(Farewell::Replaced), Some(Farewell::Removed)),
        ] {
            for member in state.members.values_mut() {
                member.state = member_state;
            }
            assert_eq!(farewell(&state, holder), of_holder, "{member_state:?}");
            assert_eq!(farewell(&state, idle), of_idle, "{member_state:?}");
        }
        state.members.remove(&idle);
        assert_eq!(farewell(&state, idle), Some(Farewell::Removed));
    }
}
