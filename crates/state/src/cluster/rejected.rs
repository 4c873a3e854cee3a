//! Why a change of the cluster did nothing: each reason with its numbers, and what to do where that is known.

use crate::cluster::{BadGenesis, MEMBERS_MAX, MOVES_MAX};
use crate::ids::{ClusterId, GroupId, NodeId, ReplicaId};

/// Why a change did nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// There is no cluster yet.
    #[error("the cluster is not begun")]
    NotBegun,
    /// The bootstrap is not recorded as done.
    #[error("the cluster is not formed yet: ask again once it serves clients")]
    NotFormed,
    /// There is one already, and it did not begin like this.
    #[error("cluster {0} has begun already, with another genesis")]
    BegunOtherwise(ClusterId),
    /// The genesis breaks a rule.
    #[error(transparent)]
    BadGenesis(#[from] BadGenesis),
    /// Another cluster was meant.
    #[error("this is cluster {actual}, not {expected}")]
    OtherCluster {
        /// Which was meant.
        expected: ClusterId,
        /// Which this is.
        actual: ClusterId,
    },
    /// There is no such member.
    #[error("node {0} is no member")]
    UnknownMember(NodeId),
    /// An address is not `host:port`.
    #[error("`{0}` is not an address, `host:port`")]
    BadAddress(String),
    /// A member that serves is reached there already.
    #[error("`{address}` is the address of node {node} already: each node needs its own")]
    AddressTaken {
        /// The address.
        address: String,
        /// Whose it is.
        node: NodeId,
    },
    /// A name is empty, too long, or would not show well in a line of text.
    #[error("`{0}` is no name: from 1 to 253 characters, without spaces or control characters")]
    BadName(String),
    /// A zone is too long, or would not show well in a line of text.
    #[error("`{0}` is no zone: at most 253 characters, without spaces or control characters")]
    BadZone(String),
    /// A nonce is not a UUID.
    #[error("`{0}` is no nonce: a UUID, 8-4-4-4-12 hexadecimal digits")]
    BadNonce(String),
    /// There are as many members as there may be.
    #[error("the cluster has {MEMBERS_MAX} members, the most there can be: remove one first")]
    TooManyMembers,
    /// Fewer members would serve than each group has replicas.
    #[error(
        "{serving} nodes would serve, and replicationFactor {replication_factor} needs as many: it takes {} \
         more, or a lower replicationFactor",
        usize::from(*replication_factor).saturating_sub(*serving)
    )]
    TooFewServing {
        /// How many would be left.
        serving: usize,
        /// How many replicas each group has, or was to have.
        replication_factor: u8,
    },
    /// The member to be removed holds replicas.
    #[error("node {node} holds {replicas} replicas: drain it and wait until it holds none")]
    HoldsReplicas {
        /// The member.
        node: NodeId,
        /// How many replicas it holds, gets or loses, the meta group's included.
        replicas: u32,
    },
    /// The member to be removed is one that replicas may be moved to at any time.
    #[error("node {0} serves: drain it before it is removed")]
    StillServing(NodeId),
    /// The member is being emptied, lost or replaced.
    #[error("node {0} does not serve: no replica or leadership goes there")]
    NotServing(NodeId),
    /// The plan was made from another state.
    #[error("planned for revision {based_on}, the cluster is at {actual}: plan anew")]
    Stale {
        /// What it was planned for.
        based_on: u64,
        /// What is in force.
        actual: u64,
    },
    /// Nothing new is to be moved.
    #[error("moves are paused")]
    Paused,
    /// More moves at a time than the settings allow.
    #[error("{moves} moves at a time are more than {max}")]
    TooManyMoves {
        /// How many there would be, those that run included.
        moves: usize,
        /// How many there may be.
        max: u32,
    },
    /// There is no such group.
    #[error("there is no group {0}")]
    UnknownGroup(GroupId),
    /// The group is being moved, or was named twice.
    #[error("group {0} can only be moved once at a time")]
    GroupMoves(GroupId),
    /// A move that neither adds nor removes.
    #[error("the move of group {0} neither adds nor removes a replica")]
    EmptyMove(GroupId),
    /// The node to get a replica has one.
    #[error("node {node} holds a replica of group {group} already")]
    HeldAlready {
        /// The group.
        group: GroupId,
        /// The node.
        node: NodeId,
    },
    /// The replica is none of the group's.
    #[error("group {group} has no replica {replica}")]
    UnknownReplica {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
    },
    /// The move would lead away from the replication factor.
    #[error(
        "group {group} would have {replicas} replicas, replicationFactor is {replication_factor}"
    )]
    ReplicaCount {
        /// The group.
        group: GroupId,
        /// How many it would have.
        replicas: usize,
        /// How many it is to have.
        replication_factor: u8,
    },
    /// A group that is to begin anew has a replica on a node that is not gone.
    #[error("node {node} holds a replica of group {group}: it must not begin anew")]
    StillHeld {
        /// The group.
        group: GroupId,
        /// Who holds it.
        node: NodeId,
    },
    /// Not a number of replicas that a group can have.
    #[error("replicationFactor must be 1, 3 or 5, not {0}")]
    BadReplicationFactor(u8),
    /// Not a number of moves that can be asked for.
    #[error("the moves at a time must be from 1 to {MOVES_MAX}, not {0}")]
    BadMaxMoves(u32),
}
