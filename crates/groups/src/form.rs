//! The first state of a cluster.

use std::sync::Arc;
use std::time::Duration;

use flin_state::cluster::{Change, Genesis};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::board::Board;
use crate::clock::Clock;
use crate::mailbox::Groups;
use crate::requests::RequestError;

/// How often the first state is proposed until there is one.
const FORM_INTERVAL: Duration = Duration::from_millis(200);

/// Proposes the cluster's first state while there is none. Every meta node does; one of them leads, and
/// applying it twice changes nothing.
pub async fn form(
    genesis: Genesis,
    groups: Groups,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let mut state = board.cluster();
    loop {
        let known = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            known = state.wait_for(Option::is_some) => known.is_ok(),
            () = clock.sleep(FORM_INTERVAL) => false,
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
