//! Who the cluster is: its first state, and keeping up with it.
//!
//! A node that replicates the meta group reads the state from its own replica; any other follows one that
//! does. Either way it ends on the board, in the worker's mailbox (to host what is placed here), with the
//! peers, and in a file, so that a node restarted without a meta quorum still knows its cluster.

mod cache;
mod follow;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flin_state::cluster::{Change, ClusterState, Genesis};
use flin_state::ids::NodeId;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub(crate) use cache::load as load_cached;
pub(crate) use follow::follow;

use crate::front::requests::RequestError;
use crate::groups::Groups;
use crate::groups::board::Board;
use crate::groups::mailbox::Input;
use crate::transport::peers::Peers;

/// How often the first state is proposed until there is one.
const FORM_INTERVAL: Duration = Duration::from_millis(200);

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

/// Brings each new state to everybody on this node whom it concerns.
pub(crate) async fn spread(
    board: Arc<Board>,
    groups: Groups,
    peers: Arc<Peers>,
    cache: PathBuf,
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
