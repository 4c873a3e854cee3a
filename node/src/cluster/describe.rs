//! Telling the cluster where this node is, when that is not what the cluster knows.

use std::sync::Arc;
use std::time::Duration;

use flin_groups::board::Board;
use flin_groups::router::Router;
use flin_state::cluster::{Change, ClusterState};
use flin_state::ids::NodeId;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::settings::Settings;

/// The pause after the cluster could not be told.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// What this node was told of itself; what it was not told stays as the cluster knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Description {
    peer_address: Option<String>,
    client_address: Option<String>,
    zone: Option<String>,
}

impl Description {
    pub(crate) fn of(settings: &Settings) -> Self {
        Description {
            peer_address: settings.advertised_peer_address.clone(),
            client_address: settings.advertised_client_address.clone(),
            zone: settings.zone.clone(),
        }
    }

    /// The change that makes `state` say of `node` what this does; `None` if it does, or does not know the node.
    fn change(&self, state: &ClusterState, node: NodeId) -> Option<Change> {
        let known = state.members.get(&node)?;
        let told = |told: &Option<String>, known: &String| told.as_ref().unwrap_or(known).clone();
        let mut wanted = known.clone();
        wanted.peer_address = told(&self.peer_address, &known.peer_address);
        wanted.client_address = told(&self.client_address, &known.client_address);
        wanted.zone = told(&self.zone, &known.zone);
        (wanted != *known).then_some(Change::DescribeMember {
            node,
            peer_address: wanted.peer_address,
            client_address: wanted.client_address,
            zone: wanted.zone,
        })
    }
}

/// Corrects what the cluster knows of this node, once there is a state and until it is right. A later difference
/// is not looked for: only a restart changes settings.
pub(crate) async fn describe(
    description: Description,
    board: Arc<Board>,
    router: Router,
    stop: CancellationToken,
) {
    let work = async {
        let mut states = board.cluster();
        loop {
            let Ok(state) = states.wait_for(Option::is_some).await.map(|state| state.clone())
            else {
                return;
            };
            let change = state.and_then(|state| description.change(&state, board.node()));
            let Some(change) = change else { return };
            match router.change(change).await {
                Ok(()) => return info!("told the cluster where this node is"),
                Err(error) => warn!(%error, "could not tell the cluster where this node is"),
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    };
    let _ = stop.run_until_cancelled(work).await;
}

#[cfg(test)]
mod tests {
    use flin_state::cluster::{Genesis, GenesisMember};
    use flin_state::ids::ClusterId;

    use super::*;

    #[test]
    fn only_what_was_told_and_differs_is_changed() {
        let member = GenesisMember {
            name: "n1".into(),
            node_id: NodeId(1),
            peer_address: "n1:6383".into(),
            client_address: "n1:6384".into(),
            zone: "a".into(),
        };
        let (cluster_id, members) = (ClusterId(7), vec![member]);
        let genesis = Genesis { cluster_id, partitions: 1, replication_factor: 1, members };
        let state = genesis.begin().unwrap();
        let told = |peer: Option<&str>, zone: Option<&str>| Description {
            peer_address: peer.map(Into::into),
            client_address: None,
            zone: zone.map(Into::into),
        };
        assert_eq!(told(None, None).change(&state, NodeId(1)), None);
        assert_eq!(told(Some("n1:6383"), Some("a")).change(&state, NodeId(1)), None);
        assert_eq!(told(Some("elsewhere:1"), None).change(&state, NodeId(2)), None);
        let expected = Change::DescribeMember {
            node: NodeId(1),
            peer_address: "n1:6383".into(),
            client_address: "n1:6384".into(),
            zone: "b".into(),
        };
        assert_eq!(told(None, Some("b")).change(&state, NodeId(1)), Some(expected));
    }
}
