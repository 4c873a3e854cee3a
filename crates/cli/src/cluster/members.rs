//! `flin cluster members`: the nodes.

use flin_proto::admin::{Cluster, Member};
use serde::Serialize;

use super::state_name;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{Answer, Format, NONE, columns, print};
use crate::units::bytes;

/// All nodes, in the order of their ids.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Members(Vec<Node>);

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    node_id: u64,
    name: String,
    state: &'static str,
    alive: bool,
    zone: String,
    replicas: u32,
    leaders: u32,
    holds: u32,
    data_bytes: u64,
    disk_total_bytes: u64,
    disk_free_bytes: u64,
    peer_address: String,
    client_address: String,
}

/// Lists the nodes.
///
/// # Errors
/// Those of the connection.
pub(crate) async fn run(connection: &mut Connection, format: Format) -> Result<(), Failure> {
    print(&Members::of(&connection.cluster().await?), format)
}

impl Members {
    fn of(cluster: &Cluster) -> Members {
        Members(cluster.members.iter().map(Node::of).collect())
    }
}

impl Node {
    fn of(member: &Member) -> Node {
        Node {
            node_id: member.node_id,
            name: member.name.clone(),
            state: state_name(member),
            alive: member.alive,
            zone: member.zone.clone(),
            replicas: member.replicas,
            leaders: member.leaders,
            holds: member.holds,
            data_bytes: member.data_bytes,
            disk_total_bytes: member.disk_total_bytes,
            disk_free_bytes: member.disk_free_bytes,
            peer_address: member.peer_address.clone(),
            client_address: member.client_address.clone(),
        }
    }

    fn row(&self) -> Vec<String> {
        let disk = match self.disk_total_bytes {
            0 => NONE.to_owned(),
            total => format!("{} of {}", bytes(self.disk_free_bytes), bytes(total)),
        };
        vec![
            self.node_id.to_string(),
            self.name.clone(),
            self.state.to_owned(),
            if self.alive { "yes" } else { "no" }.to_owned(),
            if self.zone.is_empty() { NONE } else { &self.zone }.to_owned(),
            self.replicas.to_string(),
            self.leaders.to_string(),
            self.holds.to_string(),
            bytes(self.data_bytes),
            disk,
            self.client_address.clone(),
        ]
    }
}

impl Answer for Members {
    fn table(&self) -> String {
        columns(
            &[
                "ID",
                "NAME",
                "STATE",
                "ALIVE",
                "ZONE",
                "REPLICAS",
                "LEADERS",
                "HOLDS",
                "DATA",
                "DISK FREE",
                "ADDRESS",
            ],
            &["ID", "REPLICAS", "LEADERS", "HOLDS", "DATA", "DISK FREE"],
            self.0.iter().map(Node::row),
        )
    }
}

#[cfg(test)]
mod tests {
    use flin_proto::admin::member::State;

    use super::*;
    use crate::cluster::tests::healthy;

    #[test]
    fn nodes_are_listed_with_what_they_hold() {
        let mut cluster = healthy();
        cluster.members[2].set_state(State::Draining);
        cluster.members[2].alive = false;
        cluster.members[2].disk_total_bytes = 0;
        let lines = [
            "ID  NAME          STATE     ALIVE  ZONE  REPLICAS  LEADERS  HOLDS     DATA            DISK FREE  ADDRESS",
            " 1  demo-nodes-0  serving   yes    a           64       21     65  1.0 GiB  9.0 GiB of 10.0 GiB  demo-nodes-0:6384",
            " 2  demo-nodes-1  serving   yes    b           64       21     65  1.0 GiB  9.0 GiB of 10.0 GiB  demo-nodes-1:6384",
            " 3  demo-nodes-2  draining  no     -           64       21     65  1.0 GiB                    -  demo-nodes-2:6384",
        ];
        let table = Members::of(&cluster).table();
        assert_eq!(table.lines().collect::<Vec<_>>(), lines);
        assert!(table.ends_with('\n'));
    }

    #[test]
    fn programs_get_a_list() {
        let json = serde_json::to_value(Members::of(&healthy())).unwrap();
        assert_eq!(json[1]["name"], "demo-nodes-1");
        assert_eq!(json[1]["state"], "serving");
        assert_eq!(json[1]["diskFreeBytes"], 9_u64 << 30);
    }
}
