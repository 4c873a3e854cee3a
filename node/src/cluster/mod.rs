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

use std::path::PathBuf;
use std::sync::Arc;

use flin_groups::board::Board;
use flin_groups::{Groups, Input};
use flin_state::cluster::{ClusterState, Farewell, Genesis};
use flin_state::ids::NodeId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub(crate) use cache::{load as load_cached, store as store_cached};
pub(crate) use contacts::Contacts;
pub(crate) use describe::{Description, describe};
pub(crate) use follow::follow;
pub use join::JoinError;
pub(crate) use join::{Applicant, Joined, is_formed, random_nonce};

use crate::transport::peers::Peers;

/// The nodes that replicate the meta group.
pub(crate) fn meta_nodes(genesis: &Genesis, state: Option<&ClusterState>) -> Vec<NodeId> {
    let begun = genesis.begin().ok();
    let meta = state.or(begun.as_ref()).map(|state| &state.meta);
    meta.into_iter().flatten().map(|placement| placement.node).collect()
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
        if let Some(farewell) = state.farewell(board.node()) {
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
