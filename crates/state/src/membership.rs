//! Who replicates a group: raft's configuration, the nodes behind its replica ids, and how it changes.
//!
//! A group changes one step at a time, each step one entry of its log:
//!
//! ```text
//! {1 2 3}  --AddLearner 7-->  {1 2 3} + learner 7  --Exchange +7 -3-->  joint {1 2 7} and {1 2 3}
//!          --LeaveJoint-->    {1 2 7}
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, ReplicaId};

/// A group's configuration as raft knows it (joint while `voters_outgoing` is not empty), with the node
/// of every replica named in it. It is part of the replicated state: the truth about a group's members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The replicas that vote and count for commitment.
    pub voters: BTreeSet<ReplicaId>,
    /// The replicas that receive the log and do not vote.
    pub learners: BTreeSet<ReplicaId>,
    /// While joint: the voters of the configuration being left.
    pub voters_outgoing: BTreeSet<ReplicaId>,
    /// While joint: voters that become learners once it is left.
    pub learners_next: BTreeSet<ReplicaId>,
    /// While joint: whether raft itself proposes leaving it.
    pub auto_leave: bool,
    /// Where each replica of the sets above lives.
    pub nodes: BTreeMap<ReplicaId, NodeId>,
}

/// One step from a configuration to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigurationChange {
    /// Adds a replica that receives the log and does not vote.
    AddLearner {
        /// The new replica, an id never used before.
        replica: ReplicaId,
        /// Where it lives.
        node: NodeId,
    },
    /// Removes a replica that does not vote.
    RemoveLearner {
        /// The learner.
        replica: ReplicaId,
    },
    /// Enters a joint configuration: learners begin to vote, voters are on their way out.
    Exchange {
        /// Learners that vote from here on.
        promote: BTreeSet<ReplicaId>,
        /// Voters that are gone once the joint configuration is left.
        remove: BTreeSet<ReplicaId>,
    },
    /// Leaves the joint configuration.
    LeaveJoint,
}

/// Why a step is impossible from where the group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImpossibleChange {
    /// Only leaving is possible while joint.
    #[error("the configuration is joint and must be left first")]
    Joint,
    /// There is nothing to leave.
    #[error("the configuration is not joint")]
    NotJoint,
    /// The replica is there already, or its id is zero.
    #[error("replica {0} cannot be added")]
    NotNew(ReplicaId),
    /// The replica to promote or remove does not learn.
    #[error("replica {0} is no learner")]
    NoLearner(ReplicaId),
    /// The replica to remove does not vote.
    #[error("replica {0} does not vote")]
    NoVoter(ReplicaId),
    /// Nobody would vote, or nothing would change.
    #[error("an exchange must change something and leave a voter")]
    Empty,
}

impl Configuration {
    /// A configuration of voters only.
    pub fn of_voters(replicas: impl IntoIterator<Item = (ReplicaId, NodeId)>) -> Self {
        let nodes: BTreeMap<_, _> = replicas.into_iter().collect();
        Configuration { voters: nodes.keys().copied().collect(), nodes, ..Default::default() }
    }

    /// The replica that `node` hosts, if any.
    pub fn replica_on(&self, node: NodeId) -> Option<ReplicaId> {
        self.nodes.iter().find(|(_, n)| **n == node).map(|(replica, _)| *replica)
    }

    /// Whether two sets of voters decide together.
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// The configuration after `change`.
    ///
    /// # Errors
    /// [`ImpossibleChange`]; such a change must not be proposed, and one that is in the log all the same
    /// changes nothing, on every replica alike.
    pub fn after(&self, change: &ConfigurationChange) -> Result<Configuration, ImpossibleChange> {
        let mut next = self.clone();
        let joint = self.is_joint();
        match change {
            ConfigurationChange::LeaveJoint if !joint => return Err(ImpossibleChange::NotJoint),
            ConfigurationChange::LeaveJoint => {
                next.voters_outgoing.clear();
                next.learners.append(&mut next.learners_next);
                next.auto_leave = false;
                let (voters, learners) = (&next.voters, &next.learners);
                next.nodes
                    .retain(|replica, _| voters.contains(replica) || learners.contains(replica));
            }
            _ if joint => return Err(ImpossibleChange::Joint),
            ConfigurationChange::AddLearner { replica, node } => {
                if replica.0 == 0 || self.nodes.contains_key(replica) {
                    return Err(ImpossibleChange::NotNew(*replica));
                }
                next.learners.insert(*replica);
                next.nodes.insert(*replica, *node);
            }
            ConfigurationChange::RemoveLearner { replica } => {
                if !next.learners.remove(replica) {
                    return Err(ImpossibleChange::NoLearner(*replica));
                }
                next.nodes.remove(replica);
            }
            ConfigurationChange::Exchange { promote, remove } => {
                if let Some(stranger) = promote.iter().find(|id| !self.learners.contains(id)) {
                    return Err(ImpossibleChange::NoLearner(*stranger));
                }
                if let Some(stranger) = remove.iter().find(|id| !self.voters.contains(id)) {
                    return Err(ImpossibleChange::NoVoter(*stranger));
                }
                next.voters_outgoing.clone_from(&self.voters);
                next.voters.extend(promote);
                next.voters.retain(|voter| !remove.contains(voter));
                next.learners.retain(|learner| !promote.contains(learner));
                if next.voters.is_empty() || (promote.is_empty() && remove.is_empty()) {
                    return Err(ImpossibleChange::Empty);
                }
            }
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replicas(ids: &[u64]) -> BTreeSet<ReplicaId> {
        ids.iter().copied().map(ReplicaId).collect()
    }

    fn three() -> Configuration {
        Configuration::of_voters([1, 2, 3].map(|id| (ReplicaId(id), NodeId(id * 10))))
    }

    fn add(replica: u64) -> ConfigurationChange {
        ConfigurationChange::AddLearner { replica: ReplicaId(replica), node: NodeId(replica * 10) }
    }

    fn drop(replica: u64) -> ConfigurationChange {
        ConfigurationChange::RemoveLearner { replica: ReplicaId(replica) }
    }

    fn exchange(promote: &[u64], remove: &[u64]) -> ConfigurationChange {
        ConfigurationChange::Exchange { promote: replicas(promote), remove: replicas(remove) }
    }

    /// The configuration after all of the changes, each of which is possible.
    fn after(changes: &[ConfigurationChange]) -> Configuration {
        let step = |now: Configuration, change| now.after(change).expect("a possible change");
        changes.iter().fold(three(), step)
    }

    #[test]
    fn a_replica_is_exchanged_step_by_step() {
        let learning = after(&[add(7)]);
        assert_eq!(
            (&learning.voters, &learning.learners),
            (&replicas(&[1, 2, 3]), &replicas(&[7]))
        );
        assert_eq!(learning.replica_on(NodeId(70)), Some(ReplicaId(7)));
        let joint = after(&[add(7), exchange(&[7], &[3])]);
        assert!(joint.is_joint() && joint.learners.is_empty());
        assert_eq!(joint.voters, replicas(&[1, 2, 7]));
        assert_eq!(joint.voters_outgoing, replicas(&[1, 2, 3]));
        assert_eq!(joint.nodes.keys().copied().collect::<BTreeSet<_>>(), replicas(&[1, 2, 3, 7]));
        let done = after(&[add(7), exchange(&[7], &[3]), ConfigurationChange::LeaveJoint]);
        let expected = [1, 2, 7].map(|id| (ReplicaId(id), NodeId(id * 10)));
        assert_eq!(done, Configuration::of_voters(expected));
    }

    #[test]
    fn a_learner_that_is_removed_leaves_no_trace() {
        assert_eq!(after(&[add(7), drop(7)]), three());
    }

    #[test]
    fn one_that_only_adds_or_only_removes_is_an_exchange_too() {
        let more = after(&[add(7), exchange(&[7], &[]), ConfigurationChange::LeaveJoint]);
        assert_eq!(more.voters, replicas(&[1, 2, 3, 7]));
        let fewer = after(&[exchange(&[], &[2, 3]), ConfigurationChange::LeaveJoint]);
        assert_eq!(fewer, Configuration::of_voters([(ReplicaId(1), NodeId(10))]));
    }

    #[test]
    fn an_impossible_change_says_why() {
        use ImpossibleChange::{Empty, Joint, NoLearner, NoVoter, NotJoint, NotNew};
        let joint = &[add(7), exchange(&[7], &[3])][..];
        let cases: [(&[ConfigurationChange], ConfigurationChange, ImpossibleChange); 13] = [
            (&[], ConfigurationChange::LeaveJoint, NotJoint),
            (&[], add(0), NotNew(ReplicaId(0))),
            (&[], add(3), NotNew(ReplicaId(3))),
            (&[add(7)], add(7), NotNew(ReplicaId(7))),
            (&[], drop(3), NoLearner(ReplicaId(3))),
            (&[], exchange(&[7], &[3]), NoLearner(ReplicaId(7))),
            (&[add(7)], exchange(&[7], &[7]), NoVoter(ReplicaId(7))),
            (&[add(7)], exchange(&[7], &[9]), NoVoter(ReplicaId(9))),
            (&[], exchange(&[], &[]), Empty),
            (&[], exchange(&[], &[1, 2, 3]), Empty),
            (joint, add(8), Joint),
            (joint, drop(7), Joint),
            (joint, exchange(&[], &[1]), Joint),
        ];
        for (before, change, why) in cases {
            assert_eq!(after(before).after(&change), Err(why), "{change:?}");
        }
    }

    /// Whether `set` holds a majority of `voters`.
    fn majority(set: usize, voters: &BTreeSet<ReplicaId>) -> bool {
        voters.iter().filter(|id| set >> id.0 & 1 == 1).count() * 2 > voters.len()
    }

    /// Whether the replicas in `set` decide: a majority of the voters, and while joint of both sets.
    fn decides(set: usize, now: &Configuration) -> bool {
        majority(set, &now.voters) && (!now.is_joint() || majority(set, &now.voters_outgoing))
    }

    /// Replicas that decide in the one while all others decide in the other.
    fn disjoint_majorities(one: &Configuration, other: &Configuration) -> Option<usize> {
        (0..1_usize << 9).find(|set| decides(*set, one) && decides(!set, other))
    }

    fn any_change() -> impl Strategy<Value = ConfigurationChange> {
        let some = || prop::collection::vec(0_u64..9, 0..3);
        prop_oneof![
            3 => (0_u64..9).prop_map(add),
            1 => (0_u64..9).prop_map(drop),
            3 => (some(), some()).prop_map(|(promote, remove)| exchange(&promote, &remove)),
            3 => Just(ConfigurationChange::LeaveJoint),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn two_steps_in_a_row_never_decide_apart(
            changes in prop::collection::vec(any_change(), 1..60),
        ) {
            let mut now = three();
            for change in changes {
                let Ok(next) = now.after(&change) else { continue };
                prop_assert_ne!(&next, &now);
                prop_assert!(!next.voters.is_empty());
                let apart = disjoint_majorities(&now, &next);
                prop_assert_eq!(apart, None, "{:?} then {:?}", now, next);
                let named: BTreeSet<_> =
                    [&next.voters, &next.learners, &next.voters_outgoing, &next.learners_next]
                        .into_iter()
                        .flatten()
                        .copied()
                        .collect();
                prop_assert_eq!(next.nodes.keys().copied().collect::<BTreeSet<_>>(), named);
                prop_assert!(next.nodes.iter().all(|(id, node)| node.0 == id.0 * 10));
                prop_assert!(next.voters.is_disjoint(&next.learners));
                prop_assert!(!next.voters.contains(&ReplicaId(0)));
                now = next;
            }
        }
    }
}
