//! Which node this is: the one whose data it has, a founder of the cluster, or one that joins it.

use flin_state::ids::NodeId;
use tracing::warn;

use super::ServerError;
use super::data::{Claim, DataError};
use super::readiness::Readiness;
use crate::bootstrap::{Bootstrap, Phase};
use crate::cluster::{Applicant, Contacts, is_formed, random_nonce};
use crate::settings::Settings;
use crate::transport::handshake::Credentials;

/// What a node has to do to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    /// Nothing: its disk says who it is.
    Known(NodeId),
    /// Found the cluster with the other first members, unless it exists already.
    Found(NodeId),
    /// Become a member of the cluster.
    Join,
}

/// Decides by what the disk and the bootstrap file say. Once a node has asked to join, under the nonce on its disk,
/// it does not found: it may be a member already.
fn beginning(
    identity: Option<NodeId>,
    has_nonce: bool,
    phase: Phase,
    first_member: Option<NodeId>,
) -> Beginning {
    match (identity, phase, first_member) {
        (Some(node), _, _) => Beginning::Known(node),
        (None, Phase::Forming, Some(node)) if !has_nonce => Beginning::Found(node),
        _ => Beginning::Join,
    }
}

/// Finds out which node this is and writes it down; joining the cluster takes as long as it takes.
pub(super) async fn settle(
    mut claim: Claim,
    settings: &Settings,
    bootstrap: &Bootstrap,
    readiness: &Readiness,
) -> Result<(Claim, NodeId), ServerError> {
    let cluster = bootstrap.genesis.cluster_id;
    let stranger = Credentials::of_stranger(cluster, settings.secrets.peer_secret.clone());
    match beginning(claim.node(), claim.nonce.is_some(), bootstrap.phase, bootstrap.node_id) {
        Beginning::Known(node) => return Ok((claim, node)),
        Beginning::Found(node) => {
            if !is_formed(&stranger, &Contacts::new(settings, bootstrap)).await {
                claim = off_reactor(move || claim.found(cluster, node).map(|()| claim)).await?;
                return Ok((claim, node));
            }
            warn!(
                "the bootstrap file is old: the cluster is formed already, so this node joins it"
            );
        }
        Beginning::Join => {}
    }
    let applicant = Applicant::new(settings, bootstrap)?;
    readiness.set_joining();
    let keep = move || claim.keep_nonce(random_nonce()).map(|nonce| (claim, nonce));
    let (mut claim, nonce) = off_reactor(keep).await?;
    let joined = applicant.join(&stranger, &nonce).await;
    let node = joined.node;
    let claim = off_reactor(move || claim.join(cluster, &joined).map(|()| claim)).await?;
    Ok((claim, node))
}

/// Does `work` where it may block.
pub(super) async fn off_reactor<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DataError> + Send + 'static,
) -> Result<T, ServerError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| ServerError::Start(error.into()))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_disk_of_a_first_member_founds_and_only_while_the_cluster_forms() {
        use Beginning::{Found, Join, Known};
        use Phase::{Formed, Forming};
        let (own, other) = (Some(NodeId(2)), Some(NodeId(7)));
        for (identity, has_nonce, phase, first_member, expected) in [
            (None, false, Forming, own, Found(NodeId(2))),
            (None, false, Formed, own, Join),
            (None, false, Forming, None, Join),
            (None, false, Formed, None, Join),
            // It has asked to join before: founding now would make it two nodes.
            (None, true, Forming, own, Join),
            (own, false, Forming, own, Known(NodeId(2))),
            (own, false, Formed, own, Known(NodeId(2))),
            // A first member that lost its disk came back under another id.
            (other, false, Formed, own, Known(NodeId(7))),
            (other, false, Formed, None, Known(NodeId(7))),
        ] {
            let found = beginning(identity, has_nonce, phase, first_member);
            assert_eq!(found, expected, "{identity:?} {has_nonce} {phase:?} {first_member:?}");
        }
    }
}
