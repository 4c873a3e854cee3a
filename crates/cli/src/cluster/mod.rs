//! `flin cluster`: one file per task, each with what programs read of its answer and what people do.

pub(crate) mod drain;
pub(crate) mod members;
pub(crate) mod partitions;
pub(crate) mod rebalance;
pub(crate) mod recover;
pub(crate) mod status;

use flin_proto::admin::member::State;
use flin_proto::admin::{Cluster, Member};

use crate::failure::Failure;

/// The name of what is to become of a member, as programs read it.
fn state_name(member: &Member) -> &'static str {
    match member.state() {
        State::Serving => "serving",
        State::Draining => "draining",
        State::Lost => "lost",
        State::Replaced => "replaced",
    }
}

/// A node for people: its id and name, or the id alone of one that is no member.
fn node_label(cluster: &Cluster, node_id: u64) -> String {
    match cluster.members.iter().find(|member| member.node_id == node_id) {
        Some(member) => format!("{node_id} ({})", member.name),
        None => node_id.to_string(),
    }
}

/// The member that is called so, by name or by id.
fn find_member<'a>(cluster: &'a Cluster, given: &str) -> Result<&'a Member, Failure> {
    let members = || cluster.members.iter();
    // A member that was replaced may share its name with its successor, who is meant.
    let named = members().rfind(|member| member.name == given);
    let numbered = || members().find(|member| given.parse() == Ok(member.node_id));
    named.or_else(numbered).ok_or_else(|| {
        let labels: Vec<_> = members().map(|known| node_label(cluster, known.node_id)).collect();
        Failure::UnknownNode { given: given.to_owned(), members: labels.join(", ") }
    })
}

/// A node for programs; none for 0.
fn known_node(node_id: u64) -> Option<u64> {
    (node_id != 0).then_some(node_id)
}

#[cfg(test)]
mod tests {
    use flin_proto::admin::{Rebalance, RebalanceSettings};

    use super::*;

    /// A healthy cluster of three nodes, 64 partitions and 1 GiB.
    pub(super) fn healthy() -> Cluster {
        let member = |node_id: u64| Member {
            node_id,
            name: format!("demo-nodes-{}", node_id - 1),
            peer_address: format!("demo-nodes-{}:6383", node_id - 1),
            client_address: format!("demo-nodes-{}:6384", node_id - 1),
            alive: true,
            replicas: 64,
            leaders: 21,
            zone: ["a", "b", ""][node_id as usize - 1].into(),
            holds: 65,
            disk_total_bytes: 10 << 30,
            disk_free_bytes: 9 << 30,
            data_bytes: 1 << 30,
            ..Default::default()
        };
        let settings =
            RebalanceSettings { max_moves: 4, replace_after_seconds: 600, ..Default::default() };
        let rebalance =
            Rebalance { settings: Some(settings), balanced: true, ..Default::default() };
        Cluster {
            cluster_id: "00000000-0000-0000-0000-000000000007".into(),
            formed: true,
            partitions: 64,
            replication_factor: 3,
            revision: 5,
            members: (1..=3).map(member).collect(),
            meta_leader: 2,
            rebalance: Some(rebalance),
            meta_led: true,
            ..Default::default()
        }
    }

    #[test]
    fn node_is_found_by_name_or_id_and_its_successor_rather_than_itself() {
        let mut cluster = healthy();
        assert_eq!(find_member(&cluster, "demo-nodes-1").unwrap().node_id, 2);
        assert_eq!(find_member(&cluster, "3").unwrap().node_id, 3);
        let failure = find_member(&cluster, "demo-nodes-9").unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(failure.to_string().contains("1 (demo-nodes-0), 2 (demo-nodes-1)"), "{failure}");
        cluster.members[0].set_state(State::Replaced);
        cluster.members.push(Member { node_id: 9, ..cluster.members[0].clone() });
        assert_eq!(find_member(&cluster, "demo-nodes-0").unwrap().node_id, 9);
    }
}
