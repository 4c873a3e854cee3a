//! `flin cluster partitions`: where every partition is.

use flin_proto::admin::Partition;
use serde::Serialize;

use super::known_node;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{Answer, Format, NONE, columns, print};
use crate::units::bytes;

/// All partitions, in order.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Partitions(Vec<Row>);

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    partition: u32,
    first_slot: u32,
    last_slot: u32,
    leader: Option<u64>,
    term: u64,
    nodes: Vec<u64>,
    healthy: u32,
    bytes: u64,
    /// The node that gets a replica.
    adding: Option<u64>,
    /// The node that loses its replica.
    removing: Option<u64>,
}

/// Lists the partitions.
///
/// # Errors
/// Those of the connection.
pub(crate) async fn run(connection: &mut Connection, format: Format) -> Result<(), Failure> {
    print(&Partitions::of(&connection.partitions().await?), format)
}

impl Partitions {
    fn of(partitions: &[Partition]) -> Partitions {
        Partitions(partitions.iter().map(Row::of).collect())
    }
}

impl Row {
    fn of(partition: &Partition) -> Row {
        Row {
            partition: partition.partition,
            first_slot: partition.first_slot,
            last_slot: partition.last_slot,
            leader: known_node(partition.leader),
            term: partition.term,
            nodes: partition.nodes.clone(),
            healthy: partition.healthy,
            bytes: partition.bytes,
            adding: known_node(partition.adding),
            removing: known_node(partition.removing),
        }
    }

    fn cells(&self) -> Vec<String> {
        let nodes: Vec<_> = self.nodes.iter().map(u64::to_string).collect();
        vec![
            self.partition.to_string(),
            format!("{}-{}", self.first_slot, self.last_slot),
            self.leader.map_or_else(|| NONE.to_owned(), |node| node.to_string()),
            nodes.join(","),
            format!("{}/{}", self.healthy, self.nodes.len()),
            bytes(self.bytes),
            self.moving(),
        ]
    }

    fn moving(&self) -> String {
        match (self.removing, self.adding) {
            (None, None) => NONE.to_owned(),
            (Some(from), Some(to)) => format!("{from} to {to}"),
            (None, Some(to)) => format!("added to {to}"),
            (Some(from), None) => format!("removed from {from}"),
        }
    }
}

impl Answer for Partitions {
    fn table(&self) -> String {
        columns(
            &["PARTITION", "SLOTS", "LEADER", "NODES", "HEALTHY", "DATA", "MOVE"],
            &["PARTITION", "LEADER", "DATA"],
            self.0.iter().map(Row::cells),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(partition: u32) -> Partition {
        Partition {
            partition,
            first_slot: partition * 256,
            last_slot: partition * 256 + 255,
            leader: 1,
            term: 7,
            nodes: vec![1, 2, 3],
            healthy: 3,
            bytes: 16 << 20,
            adding: 0,
            removing: 0,
        }
    }

    #[test]
    fn partitions_are_listed_with_where_they_move() {
        let partitions = [
            partition(0),
            Partition { adding: 4, removing: 2, ..partition(1) },
            Partition { adding: 4, healthy: 2, ..partition(2) },
            Partition { removing: 3, leader: 0, healthy: 0, bytes: 0, ..partition(10) },
        ];
        let lines = [
            "PARTITION  SLOTS      LEADER  NODES  HEALTHY      DATA  MOVE",
            "        0  0-255           1  1,2,3  3/3      16.0 MiB  -",
            "        1  256-511         1  1,2,3  3/3      16.0 MiB  2 to 4",
            "        2  512-767         1  1,2,3  2/3      16.0 MiB  added to 4",
            "       10  2560-2815       -  1,2,3  0/3           0 B  removed from 3",
        ];
        let table = Partitions::of(&partitions).table();
        assert_eq!(table.lines().collect::<Vec<_>>(), lines);
        let json = serde_json::to_value(Partitions::of(&partitions)).unwrap();
        assert_eq!(json[1]["adding"], 4);
        assert!(json[3]["leader"].is_null());
    }
}
