//! The changes of the cluster, as they are written to the meta group's log.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cluster::{Genesis, Placement, RebalanceSettings};
use crate::codec::Malformed;
use crate::ids::{ClusterId, GroupId, NodeId, ReplicaId};

/// The version of the envelope of a [`Change`].
const CHANGE_VERSION: u8 = 1;

/// A change of the cluster, one entry of the meta group's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Change {
    /// Begins the cluster. Repeating the same one is no error.
    Form {
        /// What it begins with.
        genesis: Genesis,
    },
    /// Declares the bootstrap recorded as done. Repeating it is no error.
    #[serde(rename_all = "camelCase")]
    ConfirmFormed {
        /// The cluster that is meant.
        cluster_id: ClusterId,
    },
    /// Says where a member is from now on.
    #[serde(rename_all = "camelCase")]
    DescribeMember {
        /// The member.
        node: NodeId,
        /// Where other nodes reach it.
        peer_address: String,
        /// Where clients that route themselves reach it.
        client_address: String,
        /// Its failure zone; empty if unknown.
        zone: String,
    },
    /// Makes a node with an empty disk a member. Its id is found by the nonce; repeating it is no error. A
    /// member of the same name with another nonce becomes [`MemberState::Replaced`](super::MemberState::Replaced).
    #[serde(rename_all = "camelCase")]
    Join {
        /// A random UUID that the node wrote to its disk before it asked.
        nonce: String,
        /// Its name.
        name: String,
        /// Where other nodes reach it.
        peer_address: String,
        /// Where clients that route themselves reach it.
        client_address: String,
        /// Its failure zone; empty if unknown.
        zone: String,
    },
    /// Says which members are to be emptied: exactly these of those that serve or drain.
    SetDraining {
        /// The members.
        nodes: BTreeSet<NodeId>,
    },
    /// Declares a member lost, or found again.
    SetLost {
        /// The member.
        node: NodeId,
        /// Whether it is lost.
        lost: bool,
    },
    /// Declares members gone for good, with what only they held: they become
    /// [`MemberState::Replaced`](super::MemberState::Replaced). Repeating it is no error.
    AcceptLoss {
        /// The members.
        gone: BTreeSet<NodeId>,
        /// The groups that nobody else holds a replica of, and where each begins anew, empty.
        empty: BTreeMap<GroupId, NodeId>,
    },
    /// Takes a member out that holds nothing. Repeating it is no error.
    RemoveMember {
        /// The member.
        node: NodeId,
    },
    /// Begins moves. Rejected as a whole unless the state is still the one they were planned for.
    #[serde(rename_all = "camelCase")]
    StartMoves {
        /// The revision that they were planned for.
        based_on: u64,
        /// At most one per group.
        moves: Vec<Move>,
    },
    /// Wants a move taken back. A job that is no more is no error.
    UndoMove {
        /// The group.
        group: GroupId,
        /// The job.
        job: u64,
    },
    /// Records how a move ended, as its group's configuration says. A job that is no more is no error.
    FinishMove {
        /// The group.
        group: GroupId,
        /// The job.
        job: u64,
        /// Whether it was taken back.
        undone: bool,
        /// The live data of the group, estimated.
        bytes: u64,
    },
    /// Records who votes in a group without a job, as its leader says: its configuration is the truth, and
    /// differs from the placement only after a leader that had not heard of a job's end went on with it.
    AdoptVoters {
        /// The group.
        group: GroupId,
        /// Its voters.
        voters: Vec<Placement>,
    },
    /// Says who should lead groups. Rejected as a whole unless the state is still the one it was planned for.
    #[serde(rename_all = "camelCase")]
    PreferLeaders {
        /// The revision that it was planned for.
        based_on: u64,
        /// For each group one of its replicas.
        leaders: BTreeMap<GroupId, ReplicaId>,
    },
    /// Changes how many replicas each group has; moves follow.
    #[serde(rename_all = "camelCase")]
    SetReplicationFactor {
        /// 1, 3 or 5, at most the number of members that serve.
        replication_factor: u8,
    },
    /// Changes how replicas are moved.
    SetRebalance {
        /// The settings.
        settings: RebalanceSettings,
    },
}

/// A move to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The group.
    pub group: GroupId,
    /// The node that gets a replica.
    pub add: Option<NodeId>,
    /// The replica that goes.
    pub remove: Option<ReplicaId>,
}

impl Change {
    /// The binary form: a version byte, then JSON.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![CHANGE_VERSION];
        serde_json::to_writer(&mut out, self).expect("strings, numbers and lists are always JSON");
        Bytes::from(out)
    }

    /// The inverse of [`Change::encode`].
    ///
    /// # Errors
    /// [`Malformed`] for an unknown version, change or field, which stops the node: a newer build wrote
    /// it.
    pub fn decode(bytes: &[u8]) -> Result<Change, Malformed> {
        let malformed = |what, offset| Malformed { what, offset };
        match bytes.split_first() {
            Some((&CHANGE_VERSION, json)) => serde_json::from_slice(json)
                .map_err(|error| malformed("change of the cluster", error.column())),
            _ => Err(malformed("version", 0)),
        }
    }
}
