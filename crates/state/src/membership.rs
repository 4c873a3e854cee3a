//! Who replicates a group: raft's configuration, and the nodes behind its replica ids.

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
}
