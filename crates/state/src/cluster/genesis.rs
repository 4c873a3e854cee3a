//! What a cluster begins with: every member starts from the same genesis, read from the bootstrap file.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::cluster::{
    ClusterState, FEATURE_LEVEL, Member, MemberState, Moved, Placement, RebalanceSettings, place,
};
use crate::ids::{ClusterId, NodeId, ReplicaId};
use crate::slot::PARTITIONS_MAX;

/// The most members that a cluster begins with.
pub const MEMBERS_MAX: usize = 1_000;

/// How many replicas a group can have: with an even number one more would survive no more failures.
pub(super) const REPLICATION_FACTORS: [u8; 3] = [1, 3, 5];

/// What a cluster begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Genesis {
    /// The new cluster's id.
    pub cluster_id: ClusterId,
    /// From 1 to 1024.
    pub partitions: u16,
    /// 1, 3 or 5, at most the number of members.
    pub replication_factor: u8,
    /// The first members; the first `replication_factor` of them hold the meta group.
    pub members: Vec<GenesisMember>,
}

/// A first member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenesisMember {
    /// Its name, unlike all others.
    pub name: String,
    /// Its id, unlike all others and not zero.
    pub node_id: NodeId,
    /// Where other nodes reach it, `host:port`.
    pub peer_address: String,
    /// Where clients that route themselves reach it, `host:port`.
    pub client_address: String,
    /// Its failure zone; empty if unknown.
    #[serde(default)]
    pub zone: String,
}

/// Which rule a genesis breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGenesis {
    /// The number of partitions.
    #[error("partitions must be from 1 to {PARTITIONS_MAX}, not {0}")]
    Partitions(u16),
    /// The replication factor.
    #[error("replicationFactor must be 1, 3 or 5, not {0}")]
    ReplicationFactor(u8),
    /// Fewer members than replicas.
    #[error("replicationFactor {replication_factor} needs as many members, there are {members}")]
    TooFewMembers {
        /// What was asked for.
        replication_factor: u8,
        /// What there is.
        members: usize,
    },
    /// Too many members.
    #[error("at most {MEMBERS_MAX} members, not {0}")]
    TooManyMembers(usize),
    /// A member without a name.
    #[error("node {0} has no name")]
    NoName(NodeId),
    /// Two members of one name.
    #[error("two members are named `{0}`")]
    NameTwice(String),
    /// The id zero, or the last one, after which none could follow.
    #[error("`{name}` cannot have node id {node_id}")]
    NodeId {
        /// Whose id.
        name: String,
        /// The id.
        node_id: NodeId,
    },
    /// Two members of one id.
    #[error("two members have node id {0}")]
    NodeIdTwice(NodeId),
    /// An address is not `host:port`.
    #[error("`{address}` of `{name}` is not an address, `host:port`")]
    Address {
        /// Whose address.
        name: String,
        /// The address.
        address: String,
    },
    /// Two members of one address.
    #[error("two members have the address `{0}`")]
    AddressTwice(String),
}

impl Genesis {
    /// Checks every rule, so that [`Genesis::begin`] makes a cluster that can work.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), BadGenesis> {
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            return Err(BadGenesis::Partitions(self.partitions));
        }
        let replication_factor = self.replication_factor;
        if !REPLICATION_FACTORS.contains(&replication_factor) {
            return Err(BadGenesis::ReplicationFactor(replication_factor));
        }
        let members = self.members.len();
        if members < usize::from(replication_factor) {
            return Err(BadGenesis::TooFewMembers { replication_factor, members });
        }
        if members > MEMBERS_MAX {
            return Err(BadGenesis::TooManyMembers(members));
        }
        let mut seen = Seen::default();
        self.members.iter().try_for_each(|member| seen.add(member))
    }

    /// The state of the cluster that begins so, at revision 1. The same genesis gives the same state on
    /// every node.
    ///
    /// # Errors
    /// As [`Genesis::validate`].
    pub fn begin(&self) -> Result<ClusterState, BadGenesis> {
        self.validate()?;
        let mut next_replica_id = ReplicaId(1);
        let mut mint = |node| {
            let replica = next_replica_id;
            next_replica_id = ReplicaId(replica.0 + 1);
            Placement { replica, node }
        };
        let first = self.members.iter().take(usize::from(self.replication_factor));
        let meta = first.map(|member| mint(member.node_id)).collect();
        let placement = place(self)
            .into_iter()
            .map(|nodes| nodes.into_iter().map(&mut mint).collect())
            .collect();
        let next_node_id =
            self.members.iter().map(|member| member.node_id.0).max().unwrap_or(0) + 1;
        Ok(ClusterState {
            cluster_id: self.cluster_id,
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            formed: false,
            revision: 1,
            members: self.members.iter().map(|m| (m.node_id, m.to_member())).collect(),
            next_node_id: NodeId(next_node_id),
            next_replica_id,
            placement,
            meta,
            first_later_replica: next_replica_id,
            begun_anew: BTreeMap::new(),
            jobs: BTreeMap::new(),
            next_job_id: 1,
            rebalance: RebalanceSettings::default(),
            moved: Moved::default(),
            feature_level: FEATURE_LEVEL,
        })
    }
}

impl GenesisMember {
    fn to_member(&self) -> Member {
        Member {
            name: self.name.clone(),
            peer_address: self.peer_address.clone(),
            client_address: self.client_address.clone(),
            zone: self.zone.clone(),
            nonce: String::new(),
            state: MemberState::Serving,
        }
    }
}

/// Whether `address` is `host:port`, with a host that is not empty and a port that is not zero.
pub(super) fn is_address(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// What members must not share.
#[derive(Default)]
struct Seen<'a> {
    names: BTreeSet<&'a str>,
    ids: BTreeSet<NodeId>,
    addresses: BTreeSet<&'a str>,
}

impl<'a> Seen<'a> {
    fn add(&mut self, member: &'a GenesisMember) -> Result<(), BadGenesis> {
        let name = &member.name;
        if name.is_empty() {
            return Err(BadGenesis::NoName(member.node_id));
        }
        if !self.names.insert(name) {
            return Err(BadGenesis::NameTwice(name.clone()));
        }
        if member.node_id.0 == 0 || member.node_id.0 == u64::MAX {
            return Err(BadGenesis::NodeId { name: name.clone(), node_id: member.node_id });
        }
        if !self.ids.insert(member.node_id) {
            return Err(BadGenesis::NodeIdTwice(member.node_id));
        }
        for address in [&member.peer_address, &member.client_address] {
            if !is_address(address) {
                return Err(BadGenesis::Address { name: name.clone(), address: address.clone() });
            }
            if !self.addresses.insert(address) {
                return Err(BadGenesis::AddressTwice(address.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A genesis whose member `i` is in zone `zones[i]`.
    pub fn genesis(partitions: u16, replication_factor: u8, zones: &[&str]) -> Genesis {
        let members = zones.iter().zip(1_u64..).map(|(zone, id)| GenesisMember {
            name: format!("n{id}"),
            node_id: NodeId(id),
            peer_address: format!("n{id}:6383"),
            client_address: format!("n{id}:6384"),
            zone: (*zone).to_owned(),
        });
        let cluster_id = ClusterId(0xC0FFEE);
        Genesis { cluster_id, partitions, replication_factor, members: members.collect() }
    }

    #[test]
    fn a_good_genesis_begins_a_cluster_that_is_not_yet_formed() {
        let state = genesis(64, 3, &[""; 4]).begin().expect("valid");
        assert!(!state.formed);
        assert_eq!((state.revision, state.next_node_id), (1, NodeId(5)));
        assert_eq!(state.next_replica_id, ReplicaId(1 + 3 + 64 * 3));
        let meta: Vec<_> = state.meta.iter().map(|p| (p.replica.0, p.node.0)).collect();
        assert_eq!(meta, [(1, 1), (2, 2), (3, 3)]);
    }

    #[test]
    fn replica_ids_are_never_shared() {
        let state = genesis(100, 3, &["a", "b", "c", "a"]).begin().expect("valid");
        let all = state.placement.iter().flatten().chain(&state.meta);
        let ids: BTreeSet<_> = all.map(|placement| placement.replica).collect();
        assert_eq!(ids.len(), 303);
        assert!(ids.iter().all(|id| *id < state.next_replica_id));
    }

    #[test]
    fn each_broken_rule_is_named() {
        let broken = |change: fn(&mut Genesis)| {
            let mut genesis = genesis(64, 3, &[""; 3]);
            change(&mut genesis);
            genesis.validate().expect_err("broken").to_string()
        };
        assert_eq!(broken(|g| g.partitions = 0), "partitions must be from 1 to 1024, not 0");
        assert_eq!(broken(|g| g.partitions = 1025), "partitions must be from 1 to 1024, not 1025");
        assert_eq!(
            broken(|g| g.replication_factor = 2),
            "replicationFactor must be 1, 3 or 5, not 2"
        );
        assert_eq!(
            broken(|g| g.replication_factor = 5),
            "replicationFactor 5 needs as many members, there are 3"
        );
        assert_eq!(broken(|g| g.members[1].name = "n1".into()), "two members are named `n1`");
        assert_eq!(broken(|g| g.members[1].name.clear()), "node 2 has no name");
        assert_eq!(broken(|g| g.members[1].node_id = NodeId(3)), "two members have node id 3");
        assert_eq!(broken(|g| g.members[1].node_id = NodeId(0)), "`n2` cannot have node id 0");
        assert_eq!(
            broken(|g| g.members[1].peer_address = "n2".into()),
            "`n2` of `n2` is not an address, `host:port`"
        );
        assert_eq!(
            broken(|g| g.members[1].peer_address = "n1:6383".into()),
            "two members have the address `n1:6383`"
        );
    }

    #[test]
    fn the_bootstrap_file_of_the_operator_is_a_genesis() {
        let json = r#"{"clusterId":"00000000-0000-0000-0000-000000c0ffee","partitions":64,
            "replicationFactor":1,"phase":"Forming","members":[{"name":"demo-0","nodeId":1,
            "peerAddress":"demo-0.demo-nodes.flin.svc.cluster.local:6383",
            "clientAddress":"demo-0.demo-nodes.flin.svc.cluster.local:6384","zone":""}]}"#;
        let genesis: Genesis = serde_json::from_str(json).expect("parses");
        assert_eq!(genesis.validate(), Ok(()));
    }
}
