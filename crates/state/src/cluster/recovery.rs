//! What is left of a cluster after nodes were lost for good: which groups still decide, and who goes on with
//! those that do not.
//!
//! An entry that any node knows as committed is in the log of whoever has the greatest last entry (by term,
//! then index) among those that are left: a leader of that term had it. So the replica with the greatest log
//! goes on. What only the lost nodes had acknowledged is lost; that is what has to be accepted.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::ClusterState;
use crate::ids::{GroupId, LogIndex, NodeId, ReplicaId, Term};
use crate::keys::GroupState;

/// A replica on a node that is left, as that node finds it on its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The node.
    pub node: NodeId,
    /// Its replica.
    pub replica: ReplicaId,
    /// What it has applied, and with whom.
    pub state: GroupState,
    /// The latest term it has seen.
    pub term: Term,
    /// The last entry of its log.
    pub last: LogIndex,
    /// The term of that entry.
    pub last_term: Term,
    /// Whether it leads its group, or has not noticed yet that it cannot.
    pub leads: bool,
}

/// What becomes of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A majority of its voters is left, or its replicas are still to come.
    Keeps,
    /// It cannot decide any more; this replica has the most and goes on alone.
    Alone {
        /// Where it is.
        node: NodeId,
        /// Which it is.
        replica: ReplicaId,
        /// The last entry of its log.
        last: LogIndex,
        /// The latest term that any replica left has seen.
        term: Term,
    },
    /// Nobody left has anything of it.
    Empty,
}

/// What becomes of each group when `lost` never come back. `sightings` are of every other member.
pub fn judge(
    state: &ClusterState,
    lost: &BTreeSet<NodeId>,
    sightings: &BTreeMap<GroupId, Vec<Sighting>>,
) -> BTreeMap<GroupId, Verdict> {
    let seen = |group| sightings.get(&group).map_or(&[][..], Vec::as_slice);
    state.groups().map(|group| (group, judge_group(state, lost, group, seen(group)))).collect()
}

fn judge_group(
    state: &ClusterState,
    lost: &BTreeSet<NodeId>,
    group: GroupId,
    seen: &[Sighting],
) -> Verdict {
    // One that waits for its first snapshot has nothing, and no configuration.
    let seen: Vec<&Sighting> =
        seen.iter().filter(|one| !one.state.configuration.nodes.is_empty()).collect();
    let newest = seen.iter().max_by_key(|one| (one.state.applied_term, one.state.applied));
    let Some(newest) = newest else {
        let is_lost = |node: NodeId| lost.contains(&node);
        let all_lost = state.replicas_of(group).iter().all(|placed| is_lost(placed.node));
        return if all_lost { Verdict::Empty } else { Verdict::Keeps };
    };
    let left: BTreeSet<ReplicaId> = seen.iter().map(|one| one.replica).collect();
    let decides = |voters: &BTreeSet<ReplicaId>| {
        voters.is_empty() || voters.intersection(&left).count() * 2 > voters.len()
    };
    let configuration = &newest.state.configuration;
    if decides(&configuration.voters) && decides(&configuration.voters_outgoing) {
        return Verdict::Keeps;
    }
    let most = seen.iter().max_by_key(|one| (one.last_term, one.last)).expect("one was the newest");
    let term = seen.iter().map(|one| one.term.max(one.last_term)).max().expect("the same");
    Verdict::Alone { node: most.node, replica: most.replica, last: most.last, term }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::apply::tests::begun;
    use crate::membership::Configuration;

    const GROUP: GroupId = GroupId(1);

    /// Replica `id` on node `id`, in a configuration of `voters`.
    fn seen(id: u64, voters: &[u64], applied: u64, term: u64, last: u64) -> Sighting {
        let configuration =
            Configuration::of_voters(voters.iter().map(|id| (ReplicaId(*id), NodeId(*id))));
        Sighting {
            node: NodeId(id),
            replica: ReplicaId(id),
            state: GroupState {
                applied: LogIndex(applied),
                applied_term: Term(5),
                ..GroupState::initial(configuration)
            },
            term: Term(term),
            last: LogIndex(last),
            last_term: Term(term),
            leads: false,
        }
    }

    fn verdict(lost: &[u64], seen: Vec<Sighting>) -> Verdict {
        let lost = lost.iter().copied().map(NodeId).collect();
        judge(&begun(1, 3, 5), &lost, &[(GROUP, seen)].into())[&GROUP]
    }

    fn alone(id: u64, last: u64, term: u64) -> Verdict {
        let (node, replica) = (NodeId(id), ReplicaId(id));
        Verdict::Alone { node, replica, last: LogIndex(last), term: Term(term) }
    }

    #[test]
    fn a_group_with_most_of_its_voters_is_left_alone() {
        let three = &[1, 2, 3];
        let two = vec![seen(1, three, 9, 7, 9), seen(3, three, 8, 7, 9)];
        assert_eq!(verdict(&[2], two), Verdict::Keeps);
        assert_eq!(verdict(&[2, 3], vec![seen(1, three, 9, 7, 12)]), alone(1, 12, 7));
    }

    #[test]
    fn while_joint_both_majorities_have_to_be_left() {
        let mut one = seen(1, &[1, 2, 4], 9, 7, 9);
        let mut four = seen(4, &[1, 2, 4], 9, 7, 9);
        for sighting in [&mut one, &mut four] {
            sighting.state.configuration.voters_outgoing = [1, 2, 3].map(ReplicaId).into();
        }
        assert_eq!(verdict(&[2, 3], vec![one.clone(), four.clone()]), alone(4, 9, 7));
        let two = Sighting { state: one.state.clone(), ..seen(2, &[1, 2, 4], 9, 7, 9) };
        assert_eq!(verdict(&[3], vec![one, two, four]), Verdict::Keeps);
    }

    #[test]
    fn the_greatest_log_goes_on_by_term_before_length_and_above_every_term_seen() {
        let five = &[1, 2, 3, 4, 5];
        let mut short = seen(1, five, 9, 8, 10);
        let long = seen(2, five, 20, 7, 30);
        assert_eq!(verdict(&[3, 4, 5], vec![long.clone(), short.clone()]), alone(1, 10, 8));
        // A candidate in vain has seen a later term than any entry has.
        short.term = Term(12);
        short.last_term = Term(7);
        assert_eq!(verdict(&[3, 4, 5], vec![short, long]), alone(2, 30, 12));
    }

    #[test]
    fn the_newest_configuration_counts() {
        // Replica 1 has not heard that 4 and 5 took the places of 2 and 3.
        let old = seen(1, &[1, 2, 3], 9, 7, 9);
        let new = |id| seen(id, &[1, 4, 5], 30, 7, 30);
        assert_eq!(verdict(&[2, 3], vec![old.clone(), new(4)]), Verdict::Keeps);
        assert_eq!(verdict(&[2, 3, 5], vec![new(4)]), alone(4, 30, 7));
    }

    #[test]
    fn a_group_of_which_nothing_is_left_is_empty_unless_it_is_still_to_come() {
        let mut blank = seen(4, &[], 0, 1, 0);
        blank.state = GroupState::blank();
        assert_eq!(verdict(&[1, 2, 3], vec![blank.clone()]), Verdict::Empty);
        assert_eq!(verdict(&[1, 2, 3], vec![]), Verdict::Empty);
        assert_eq!(verdict(&[1, 2], vec![blank]), Verdict::Keeps);
    }
}
