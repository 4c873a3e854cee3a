//! Which leaderships a node hands over, and to whom: decisions only.
//!
//! There is no balancer in charge of leaders (ADR-0004): the placement names a preferred leader for each
//! group such that they are spread evenly, and each leader hands over to it once it can take over.

use std::collections::BTreeSet;

use flin_replica::{PeerProgress, Status};
use flin_state::ids::{NodeId, ReplicaId};
use flin_state::membership::Configuration;

/// Leaderships handed over at a time, so that a restarted node is not given all of its own at once.
pub(crate) const TRANSFERS_PER_PASS: usize = 8;

/// The replica that should lead instead of this one: the preferred one, if it can take over at once.
pub(crate) fn rightful_leader(
    status: &Status,
    configuration: &Configuration,
    preferred: Option<ReplicaId>,
    leaving: &BTreeSet<NodeId>,
) -> Option<ReplicaId> {
    preferred.filter(|replica| {
        let node = configuration.nodes.get(replica);
        status.peers.iter().any(|peer| peer.replica == *replica && can_lead(peer, configuration))
            && node.is_some_and(|node| !leaving.contains(node))
    })
}

/// The best replica to take over from a node that leaves: caught up, alive, staying; furthest first.
pub(crate) fn successor(
    status: &Status,
    configuration: &Configuration,
    own: ReplicaId,
    leaving: &BTreeSet<NodeId>,
) -> Option<ReplicaId> {
    let stays = |replica| configuration.nodes.get(&replica).is_some_and(|n| !leaving.contains(n));
    let able =
        status.peers.iter().filter(|peer| peer.replica != own && can_lead(peer, configuration));
    able.filter(|peer| stays(peer.replica)).max_by_key(|peer| peer.matched).map(|peer| peer.replica)
}

fn can_lead(peer: &PeerProgress, configuration: &Configuration) -> bool {
    peer.active && peer.caught_up && configuration.voters.contains(&peer.replica)
}
