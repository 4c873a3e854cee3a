//! Who holds what: questions that every node asks the state of the cluster.

use std::{iter, ops};

use crate::cluster::{ClusterState, MemberState, Placement};
use crate::ids::{GroupId, NodeId, PartitionId, ReplicaId};
use crate::membership::Configuration;

/// How a node's membership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The cluster let it go and has everything that it held: its data are superfluous.
    Removed,
    /// Another node took its name. The cluster makes its replicas anew elsewhere and has not done so for all.
    Replaced,
}

impl ClusterState {
    /// How the membership of `node` ended, if it did. A state from before the node joined says nothing.
    pub fn farewell(&self, node: NodeId) -> Option<Farewell> {
        match self.members.get(&node) {
            None => (self.next_node_id > node).then_some(Farewell::Removed),
            Some(member) if member.state != MemberState::Replaced => None,
            Some(_) if self.holds(node) == 0 => Some(Farewell::Removed),
            Some(_) => Some(Farewell::Replaced),
        }
    }

    /// All groups in order, the meta group first.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        iter::once(GroupId::META)
            .chain((0..self.partitions).map(|partition| PartitionId(partition).group()))
    }

    /// The replicas of a group as of its last finished move; empty for one that does not exist.
    pub fn replicas_of(&self, group: GroupId) -> &[Placement] {
        match group.partition() {
            None => &self.meta,
            Some(PartitionId(partition)) => {
                self.placement.get(usize::from(partition)).map_or(&[], Vec::as_slice)
            }
        }
    }

    /// The node that should lead `group`.
    pub fn preferred_leader(&self, group: GroupId) -> Option<NodeId> {
        self.replicas_of(group).first().map(|placement| placement.node)
    }

    /// The configuration of the group's replicas as they are placed; of a genesis, the one it begins with.
    pub fn first_configuration(&self, group: GroupId) -> Configuration {
        Configuration::of_voters(self.replicas_of(group).iter().map(|p| (p.replica, p.node)))
    }

    /// The configuration that replica `replica` of `group` begins with: that of the group's genesis, if the
    /// replica is one of it and all of it are still in place; itself alone, if the group began anew with it and
    /// nobody has joined it yet. `None` means that it begins blank, with no vote, and waits for what the
    /// group's leader sends.
    pub fn birth_configuration(&self, group: GroupId, replica: ReplicaId) -> Option<Configuration> {
        if self.begun_anew.get(&group) == Some(&replica) {
            let alone = matches!(self.replicas_of(group), [only] if only.replica == replica);
            return alone.then(|| self.first_configuration(group));
        }
        let first = self.genesis_replicas(group);
        let there = self.replicas_of(group);
        let untouched = there.len() == first.clone().count()
            && there.iter().all(|placement| first.contains(&placement.replica.0));
        (untouched && first.contains(&replica.0)).then(|| self.first_configuration(group))
    }

    /// The ids of the replicas that the genesis gave to `group`: it mints equally many for each, in order.
    fn genesis_replicas(&self, group: GroupId) -> ops::Range<u64> {
        let minted = self.first_later_replica.0.saturating_sub(1);
        let each = minted / (u64::from(self.partitions) + 1);
        let first = 1 + u64::from(group.0) * each;
        first..first + each
    }

    /// The member that joined with `nonce`.
    pub fn member_of_nonce(&self, nonce: &str) -> Option<NodeId> {
        let mut joined = self.members.iter().filter(|(_, member)| !member.nonce.is_empty());
        joined.find(|(_, member)| member.nonce == nonce).map(|(node, _)| *node)
    }

    /// Whether `node` is a member that holds its share.
    pub fn serves(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| member.state == MemberState::Serving)
    }

    /// The node of a replica, by placement or job.
    pub fn node_of(&self, group: GroupId, replica: ReplicaId) -> Option<NodeId> {
        self.named(group).find(|placement| placement.replica == replica).map(|p| p.node)
    }

    /// Whether placement or job of the group name the replica.
    pub fn names_replica(&self, group: GroupId, replica: ReplicaId) -> bool {
        self.named(group).any(|placement| placement.replica == replica)
    }

    /// How many replicas a node holds, gets or loses, the meta group's included. A member with none can be
    /// removed.
    pub fn holds(&self, node: NodeId) -> u32 {
        u32::try_from(self.groups_on(node).count()).unwrap_or(u32::MAX)
    }

    /// The groups of which `node` is to host a replica, in order, the meta group first: those that it holds,
    /// those that a job adds to it, and until their job is done those that it loses.
    pub fn groups_on(&self, node: NodeId) -> impl Iterator<Item = (GroupId, ReplicaId)> + '_ {
        self.groups().filter_map(move |group| {
            let here = self.named(group).find(|placement| placement.node == node)?;
            Some((group, here.replica))
        })
    }

    /// The replicas that placement or job of a group name.
    fn named(&self, group: GroupId) -> impl Iterator<Item = Placement> + '_ {
        let added = self.jobs.get(&group).and_then(|job| job.add);
        self.replicas_of(group).iter().copied().chain(added)
    }

    /// Whether most replicas of a group are on members that are not given up. A group without them decides
    /// nothing, a move of its own replicas neither.
    pub(super) fn can_decide(&self, group: GroupId) -> bool {
        let gone = |placement: &&Placement| {
            self.members.get(&placement.node).is_none_or(|member| {
                matches!(member.state, MemberState::Lost | MemberState::Replaced)
            })
        };
        let replicas = self.replicas_of(group);
        replicas.iter().filter(gone).count() * 2 < replicas.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Job;
    use crate::cluster::genesis::tests::genesis;

    fn moving() -> ClusterState {
        let mut state = genesis(2, 3, &[""; 4]).begin().expect("valid");
        let placed: Vec<_> = state.placement[0].iter().map(|p| (p.replica.0, p.node.0)).collect();
        assert_eq!(placed, [(4, 1), (5, 2), (6, 3)]);
        let add = Some(Placement { replica: ReplicaId(10), node: NodeId(4) });
        let job = Job { id: 1, add, remove: Some(state.placement[0][0]), undo: false };
        state.jobs.insert(GroupId(1), job);
        state
    }

    #[test]
    fn what_is_added_and_what_is_removed_is_held_until_the_move_has_ended() {
        let state = moving();
        let before = genesis(2, 3, &[""; 4]).begin().expect("valid");
        assert_eq!(state.holds(NodeId(4)), before.holds(NodeId(4)) + 1);
        assert_eq!(state.holds(NodeId(1)), before.holds(NodeId(1)));
        assert!(state.groups_on(NodeId(4)).any(|here| here == (GroupId(1), ReplicaId(10))));
        assert!(state.groups_on(NodeId(1)).any(|here| here == (GroupId(1), ReplicaId(4))));
        assert_eq!(state.node_of(GroupId(1), ReplicaId(10)), Some(NodeId(4)));
        assert_eq!(state.node_of(GroupId(1), ReplicaId(4)), Some(NodeId(1)));
        assert!(state.names_replica(GroupId(1), ReplicaId(10)));
        assert!(!state.names_replica(GroupId(2), ReplicaId(10)));
        assert_eq!(state.node_of(GroupId(9), ReplicaId(10)), None);
    }

    #[test]
    fn only_replicas_of_an_untouched_genesis_are_born_with_a_vote() {
        let mut state = moving();
        for group in state.groups() {
            for placement in state.replicas_of(group) {
                let born = state.birth_configuration(group, placement.replica);
                assert_eq!(born, Some(state.first_configuration(group)), "group {group}");
            }
        }
        assert_eq!(state.birth_configuration(GroupId(1), ReplicaId(10)), None);
        assert_eq!(state.birth_configuration(GroupId(2), ReplicaId(4)), None);
        state.placement[0].swap(0, 2);
        assert!(state.birth_configuration(GroupId(1), ReplicaId(5)).is_some());
        let removed = state.placement[0].remove(0);
        assert_eq!(state.birth_configuration(GroupId(1), ReplicaId(5)), None);
        state.placement[0].push(Placement { replica: ReplicaId(10), ..removed });
        assert_eq!(state.birth_configuration(GroupId(1), ReplicaId(5)), None);
        assert_eq!(state.birth_configuration(GroupId(1), ReplicaId(10)), None);
    }

    #[test]
    fn a_member_is_found_by_its_nonce_but_a_first_one_has_none() {
        let mut state = moving();
        state.members.get_mut(&NodeId(2)).expect("a member").nonce = "x".to_owned();
        assert_eq!(state.member_of_nonce("x"), Some(NodeId(2)));
        assert_eq!(state.member_of_nonce("y"), None);
        assert_eq!(state.member_of_nonce(""), None);
    }

    #[test]
    fn only_a_node_that_was_let_go_bids_farewell() {
        let mut state = genesis(1, 1, &[""; 3]).begin().expect("valid");
        let holder = state.meta[0].node;
        let idle = (1..=3).map(NodeId).find(|node| state.holds(*node) == 0).expect("an idle node");
        assert_eq!(state.farewell(holder), None);
        assert_eq!(state.farewell(NodeId(4)), None, "a state from before it joined");
        for (member_state, of_holder, of_idle) in [
            (MemberState::Draining, None, None),
            (MemberState::Lost, None, None),
            (MemberState::Replaced, Some(Farewell::Replaced), Some(Farewell::Removed)),
        ] {
            for member in state.members.values_mut() {
                member.state = member_state;
            }
            assert_eq!(state.farewell(holder), of_holder, "{member_state:?}");
            assert_eq!(state.farewell(idle), of_idle, "{member_state:?}");
        }
        state.members.remove(&idle);
        assert_eq!(state.farewell(idle), Some(Farewell::Removed));
    }

    #[test]
    fn a_group_decides_while_most_of_its_replicas_are_not_given_up() {
        let mut state = moving();
        for (node, decides) in [(1, true), (2, false)] {
            state.members.get_mut(&NodeId(node)).expect("a member").state = MemberState::Lost;
            assert_eq!(state.can_decide(GroupId::META), decides);
        }
        for node in [1, 2] {
            state.members.get_mut(&NodeId(node)).expect("a member").state = MemberState::Draining;
        }
        assert!(state.can_decide(GroupId::META));
    }
}
