//! Following the meta state on a node that does not replicate it.

use std::sync::Arc;

use flin_proto::peer::WatchClusterRequest;
use flin_proto::peer::peer_client::PeerClient;
use flin_state::cluster::{ClusterState, Genesis};
use flin_state::ids::NodeId;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::debug;

use super::meta_nodes;
use crate::groups::board::Board;
use crate::transport::peers::Peers;
use crate::transport::{MESSAGE_BYTES_MAX, RECONNECT_DELAY, connect};

/// Keeps the board's meta state fresh from whichever meta node answers, until told to stop. On a node that
/// replicates the meta group it waits: its own replica knows better.
pub(crate) async fn follow(
    genesis: Genesis,
    board: Arc<Board>,
    peers: Arc<Peers>,
    stop: CancellationToken,
) {
    let work = async {
        let mut turn = 0;
        loop {
            let known = board.view().cluster.clone();
            let nodes = meta_nodes(&genesis, known.as_deref());
            if !nodes.contains(&board.node()) && !nodes.is_empty() {
                let node = nodes[turn % nodes.len()];
                if let Err(status) = watch(node, &board, &peers).await {
                    debug!(%node, reason = %status.message(), "cannot follow the meta state here");
                }
                turn += 1;
            }
            tokio::time::sleep(RECONNECT_DELAY).await;
        }
    };
    let _ = stop.run_until_cancelled(work).await;
}

async fn watch(node: NodeId, board: &Board, peers: &Peers) -> Result<(), Status> {
    let peer = peers.get(node).ok_or_else(|| Status::unavailable("its address is not known"))?;
    let channel =
        connect(&peer.address()).await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut client = PeerClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let request = peers.credentials.request(node, WatchClusterRequest {});
    let mut states = client.watch_cluster(request).await?.into_inner();
    while let Some(state) = states.message().await? {
        let state: ClusterState = serde_json::from_slice(&state.json)
            .map_err(|error| Status::data_loss(format!("a malformed meta state: {error}")))?;
        board.set_cluster(Arc::new(state));
    }
    Ok(())
}
