//! What is gone for good, and what goes on without it.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::apply::moves::replicas_mut;
use crate::cluster::apply::{Effect, set};
use crate::cluster::{ClusterState, MemberState, Placement, Rejected};
use crate::ids::{GroupId, NodeId, ReplicaId};

/// Groups that keep a replica are not touched: their leaders tell who is left, and the balancer adds what is
/// missing.
pub(super) fn accept(
    cluster: &mut ClusterState,
    gone: &BTreeSet<NodeId>,
    empty: &BTreeMap<GroupId, NodeId>,
) -> Result<Effect, Rejected> {
    if let Some(stranger) = gone.iter().find(|node| !cluster.members.contains_key(node)) {
        return Err(Rejected::UnknownMember(*stranger));
    }
    for (group, node) in empty {
        check_empty(cluster, *group, gone)?;
        if gone.contains(node) || !cluster.serves(*node) {
            return Err(Rejected::NotServing(*node));
        }
    }
    let mut effect = if empty.is_empty() { Effect::Nothing } else { Effect::Changed };
    for member in gone {
        if let Some(member) = cluster.members.get_mut(member)
            && set(&mut member.state, MemberState::Replaced) == Effect::Changed
        {
            effect = Effect::Changed;
        }
    }
    for (group, node) in empty {
        let replica = cluster.next_replica_id;
        cluster.next_replica_id = ReplicaId(replica.0 + 1);
        cluster.jobs.remove(group);
        cluster.begun_anew.insert(*group, replica);
        if let Some(replicas) = replicas_mut(cluster, *group) {
            *replicas = vec![Placement { replica, node: *node }];
        }
    }
    Ok(effect)
}

/// Whether a group, of which there has to be one, has nothing left.
fn check_empty(
    cluster: &ClusterState,
    group: GroupId,
    gone: &BTreeSet<NodeId>,
) -> Result<(), Rejected> {
    let replicas = cluster.replicas_of(group);
    // Whoever agrees to this replicates the meta group.
    if replicas.is_empty() || group == GroupId::META {
        return Err(Rejected::UnknownGroup(group));
    }
    let holder = replicas.iter().find(|placed| !gone.contains(&placed.node));
    holder.map_or(Ok(()), |placed| Err(Rejected::StillHeld { group, node: placed.node }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Change;
    use crate::cluster::apply::tests::{begun, refused, run};
    use crate::membership::Configuration;

    fn accept(gone: &[u64], empty: &[(u16, u64)]) -> Change {
        Change::AcceptLoss {
            gone: gone.iter().copied().map(NodeId).collect(),
            empty: empty.iter().map(|(group, node)| (GroupId(*group), NodeId(*node))).collect(),
        }
    }

    /// Four members; the first partition is held by 1, 2 and 3.
    fn four() -> ClusterState {
        let cluster = begun(8, 3, 4);
        let nodes: Vec<_> = cluster.placement[0].iter().map(|placed| placed.node.0).collect();
        assert_eq!(nodes, [1, 2, 3]);
        cluster
    }

    #[test]
    fn members_that_are_gone_never_come_back() {
        let mut cluster = four();
        assert_eq!(run(&mut cluster, accept(&[1, 2], &[])), Ok(true));
        assert_eq!(run(&mut cluster, accept(&[1, 2], &[])), Ok(false));
        let state = |node| cluster.members[&NodeId(node)].state;
        assert_eq!((state(1), state(3)), (MemberState::Replaced, MemberState::Serving));
        assert_eq!(cluster.placement, four().placement, "their groups say what is left");
        assert!(refused(&mut cluster, accept(&[9], &[])).contains("node 9 is no member"));
    }

    #[test]
    fn a_group_that_nobody_holds_begins_anew_with_a_vote_of_its_own() {
        let mut cluster = four();
        let (group, replica) = (GroupId(1), cluster.next_replica_id);
        assert_eq!(run(&mut cluster, accept(&[1, 2, 3], &[(1, 4)])), Ok(true));
        assert_eq!(cluster.placement[0], [Placement { replica, node: NodeId(4) }]);
        assert!(cluster.next_replica_id > replica);
        let alone = Configuration::of_voters([(replica, NodeId(4))]);
        assert_eq!(cluster.birth_configuration(group, replica), Some(alone));
        // Once others have joined, a replica of that id that finds nothing must wait to be told.
        cluster.placement[0].push(Placement { replica: ReplicaId(replica.0 + 1), node: NodeId(5) });
        assert_eq!(cluster.birth_configuration(group, replica), None);
        assert_eq!(cluster.birth_configuration(group, ReplicaId(replica.0 + 1)), None);
    }

    #[test]
    fn what_somebody_holds_does_not_begin_anew() {
        let mut cluster = four();
        let held = refused(&mut cluster, accept(&[1, 2], &[(1, 4)]));
        assert!(held.contains("node 3 holds a replica of group 1"), "{held}");
        assert!(refused(&mut cluster, accept(&[1, 2, 3], &[(1, 3)])).contains("node 3"));
        assert!(refused(&mut cluster, accept(&[1, 2, 3], &[(0, 4)])).contains("no group 0"));
        assert!(refused(&mut cluster, accept(&[1, 2, 3], &[(99, 4)])).contains("no group 99"));
        assert_eq!(cluster, four());
    }
}
