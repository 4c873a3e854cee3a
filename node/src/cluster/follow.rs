//! Keeping up with the meta state from afar.
//!
//! A node watches one of those that replicate the meta group: every change arrives at once. But whom it takes for
//! one is what it knew last, and after a long absence nobody of them may be there any more, or may know less than
//! others do. So it also asks everybody it ever heard of, one after the other and at leisure, what they know; and by
//! turns with them whoever its join address leads to now.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flin_groups::board::Board;
use flin_proto::peer::WatchClusterRequest;
use flin_proto::peer::peer_client::PeerClient;
use flin_state::cluster::{ClusterState, Genesis, MemberState};
use flin_state::ids::{GroupId, NodeId};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::debug;

use super::contacts::all_at;
use super::join::state_at;
use super::meta_nodes;
use crate::transport::peers::Peers;
use crate::transport::{MESSAGE_BYTES_MAX, RECONNECT_DELAY};

/// How often another node is asked what it knows.
const COMPARE_INTERVAL: Duration = Duration::from_secs(5);

/// Keeps the board's meta state fresh until told to stop.
pub(crate) async fn follow(
    genesis: Genesis,
    join_address: Option<String>,
    board: Arc<Board>,
    peers: Arc<Peers>,
    stop: CancellationToken,
) {
    let work = async {
        tokio::join!(
            watch_meta_nodes(&genesis, &board, &peers),
            compare(&genesis, join_address.as_deref(), &board, &peers)
        )
    };
    let _ = stop.run_until_cancelled(work).await;
}

/// Watches whichever meta node answers, for as long as it is one. A node that replicates the meta group does so
/// too: its replica may have been removed without hearing of it. Only the leader knows best.
async fn watch_meta_nodes(genesis: &Genesis, board: &Board, peers: &Peers) {
    let own = board.node();
    for turn in 0_usize.. {
        let known = board.view().cluster.clone();
        let mut nodes = meta_nodes(genesis, known.as_deref());
        nodes.retain(|node| *node != own);
        if !nodes.is_empty() && board.leadership(GroupId::META).leader != Some(own) {
            let node = nodes[turn % nodes.len()];
            tokio::select! {
                watched = watch(node, board, peers) => if let Err(status) = watched {
                    debug!(%node, reason = %status.message(), "cannot follow the meta state here");
                },
                () = has_left_meta(node, genesis, board) => {}
            }
        }
        tokio::time::sleep(RECONNECT_DELAY).await;
    }
}

/// Returns once `node` replicates the meta group no more, as far as is known here.
async fn has_left_meta(node: NodeId, genesis: &Genesis, board: &Board) {
    let mut states = board.cluster();
    let gone = states.wait_for(|state| !meta_nodes(genesis, state.as_deref()).contains(&node));
    if gone.await.is_err() {
        std::future::pending().await
    }
}

async fn watch(node: NodeId, board: &Board, peers: &Peers) -> Result<(), Status> {
    let peer = peers.get(node).ok_or_else(|| Status::unavailable("its address is not known"))?;
    let channel = peer.whereabouts.connect().await;
    let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut client = PeerClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let request = peers.credentials.request(node, WatchClusterRequest {});
    let mut states = client.watch_cluster(request).await?.into_inner();
    while let Some(state) = states.message().await? {
        let state = ClusterState::from_json(&state.json)
            .map_err(|error| Status::data_loss(format!("a malformed meta state: {error}")))?;
        board.set_cluster(Arc::new(state));
    }
    Ok(())
}

/// Asks one address after the other for the state it knows: one of those heard of, then one of those that the join
/// address leads to, so that many who are gone do not keep it long from the few who are there. What it asks of
/// itself is nothing new.
async fn compare(genesis: &Genesis, join_address: Option<&str>, board: &Board, peers: &Peers) {
    let lists = 1 + usize::from(join_address.is_some());
    for turn in 0_usize.. {
        let addresses = match join_address {
            Some(name) if turn % lists == 1 => found_at(name).await,
            _ => addresses(genesis, board.view().cluster.as_deref(), board.node()),
        };
        if !addresses.is_empty() {
            let address = &addresses[turn / lists % addresses.len()];
            match state_at(&peers.credentials, address).await {
                Ok(Some(state)) => drop(board.set_cluster(Arc::new(state))),
                Ok(None) => {}
                Err(status) => {
                    debug!(%address, reason = %status.message(), "cannot ask for the meta state here");
                }
            }
        }
        tokio::time::sleep(COMPARE_INTERVAL).await;
    }
}

async fn found_at(name: &str) -> Vec<String> {
    all_at(name).await.unwrap_or_else(|error| {
        debug!(name, %error, "the join address leads to nobody");
        Vec::new()
    })
}

/// Where members other than `own` are, and where first members were: a node with another id may be there now,
/// and know more.
fn addresses(genesis: &Genesis, state: Option<&ClusterState>, own: NodeId) -> Vec<String> {
    let members = state.iter().flat_map(|state| &state.members);
    let own_address = members.clone().find(|(node, _)| **node == own).map(|(_, m)| &m.peer_address);
    let members = members
        .filter(|(_, member)| member.state != MemberState::Replaced)
        .map(|(node, member)| (*node, &member.peer_address));
    let first = genesis.members.iter().map(|member| (member.node_id, &member.peer_address));
    let others = members.chain(first).filter(|(node, _)| *node != own);
    let addresses: BTreeSet<&String> = others.map(|(_, address)| address).collect();
    addresses.into_iter().filter(|address| Some(*address) != own_address).cloned().collect()
}

#[cfg(test)]
mod tests {
    use flin_state::cluster::GenesisMember;
    use flin_state::ids::ClusterId;

    use super::*;

    fn genesis() -> Genesis {
        let members = (1..=3).map(|id| GenesisMember {
            name: format!("n{id}"),
            node_id: NodeId(id),
            peer_address: format!("n{id}:6383"),
            client_address: format!("n{id}:6384"),
            zone: String::new(),
        });
        Genesis {
            cluster_id: ClusterId(7),
            partitions: 2,
            replication_factor: 3,
            members: members.collect(),
        }
    }

    #[test]
    fn before_anything_is_known_first_members_are_asked() {
        assert_eq!(addresses(&genesis(), None, NodeId(2)), ["n1:6383", "n3:6383"]);
        assert_eq!(addresses(&genesis(), None, NodeId(9)).len(), 3);
    }

    #[test]
    fn a_node_that_took_the_place_of_a_first_member_asks_the_others_and_not_itself() {
        let genesis = genesis();
        let mut state = genesis.begin().unwrap();
        let replaced = state.members.get_mut(&NodeId(2)).unwrap();
        replaced.state = MemberState::Replaced;
        let mut fresh = replaced.clone();
        fresh.state = MemberState::Serving;
        state.members.insert(NodeId(4), fresh.clone());
        fresh.peer_address = "n5:6383".into();
        state.members.insert(NodeId(5), fresh);
        state.members.remove(&NodeId(3));
        // A first member that was removed is asked too: whoever listens there now may know more.
        let expected = ["n1:6383", "n3:6383", "n5:6383"];
        assert_eq!(addresses(&genesis, Some(&state), NodeId(4)), expected);
    }
}
