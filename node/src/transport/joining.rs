//! What this node answers to a node that is no member yet.

use std::sync::Arc;
use std::time::Duration;

use flin_groups::board::Board;
use flin_groups::requests::RequestError;
use flin_groups::router::Router;
use flin_proto::peer::{ClusterState as WireState, JoinRequest, JoinResponse};
use flin_state::cluster::{Change, ClusterState};
use tonic::Status;
use tracing::info;

/// How long after the cluster agreed this node may take to hear of it.
const HEARSAY_TIME: Duration = Duration::from_secs(5);

/// Whether the cluster is formed, and its state as far as this node knows it.
pub(super) fn probe(board: &Board) -> JoinResponse {
    let state = board.view().cluster.clone();
    JoinResponse {
        formed: state.as_ref().is_some_and(|state| state.formed),
        node_id: 0,
        state: state.map(|state| wire_state(&state)),
    }
}

/// Makes the caller a member, or finds out that it is one already, and answers with a state in which it is.
///
/// # Errors
/// `FAILED_PRECONDITION` with the reason when the cluster rejects it, `UNAVAILABLE` for what asking again may
/// mend: repeating the request with the same nonce is harmless.
pub(super) async fn admit(
    router: &Router,
    board: &Board,
    request: JoinRequest,
) -> Result<JoinResponse, Status> {
    if !board.view().cluster.as_ref().is_some_and(|state| state.formed) {
        return Err(Status::unavailable("the cluster is still forming"));
    }
    let JoinRequest { nonce, name, peer_address, client_address, zone, probe: _ } = request;
    let change = Change::Join {
        nonce: nonce.clone(),
        name: name.clone(),
        peer_address,
        client_address,
        zone,
    };
    router.change(change).await.map_err(|error| match error {
        RequestError::Refused(words) => Status::failed_precondition(words),
        error => Status::unavailable(error.to_string()),
    })?;
    let mut states = board.cluster();
    let heard = states
        .wait_for(|state| state.as_ref().is_some_and(|s| s.member_of_nonce(&nonce).is_some()));
    let state = match tokio::time::timeout(HEARSAY_TIME, heard).await {
        Ok(Ok(state)) => state.clone(),
        Ok(Err(_)) | Err(_) => None,
    };
    let joined =
        state.and_then(|state: Arc<ClusterState>| Some((state.member_of_nonce(&nonce)?, state)));
    let Some((node, state)) = joined else {
        return Err(Status::unavailable(
            "the cluster took the change, but this node has not heard of it yet; ask again",
        ));
    };
    info!(%node, name, "a node joined");
    Ok(JoinResponse { formed: true, node_id: node.0, state: Some(wire_state(&state)) })
}

/// A meta state as it crosses the wire.
pub(crate) fn wire_state(state: &ClusterState) -> WireState {
    WireState { revision: state.revision, json: state.to_json().into() }
}

#[cfg(test)]
mod tests {
    use flin_state::cluster::{Genesis, GenesisMember};
    use flin_state::ids::{ClusterId, NodeId};

    use super::*;

    #[test]
    fn probe_tells_forming_from_formed_and_carries_the_state() {
        let board = Board::new(NodeId(1));
        assert_eq!(probe(&board), JoinResponse::default());
        let member = GenesisMember {
            name: "n1".into(),
            node_id: NodeId(1),
            peer_address: "n1:6383".into(),
            client_address: "n1:6384".into(),
            zone: String::new(),
        };
        let genesis = Genesis {
            cluster_id: ClusterId(7),
            partitions: 2,
            replication_factor: 1,
            members: vec![member],
        };
        let mut state = genesis.begin().unwrap();
        board.set_cluster(Arc::new(state.clone()));
        assert!(!probe(&board).formed);
        state.formed = true;
        state.revision += 1;
        board.set_cluster(Arc::new(state.clone()));
        let answer = probe(&board);
        assert!(answer.formed);
        assert_eq!(ClusterState::from_json(&answer.state.unwrap().json).unwrap(), state);
    }
}
