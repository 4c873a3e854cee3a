//! `flin cluster status`: is it healthy, and is anything going on.

use flin_proto::admin::member::State;
use flin_proto::admin::{Cluster, Member};
use serde::Serialize;

use super::rebalance::Moving;
use super::{known_node, node_label};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{Answer, Format, NONE, facts, print};
use crate::units::counted;

/// The cluster in a few lines.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    cluster_id: String,
    healthy: bool,
    /// Why it is not healthy, in words.
    problems: Vec<String>,
    formed: bool,
    revision: u64,
    members: usize,
    members_alive: usize,
    partitions: u32,
    replication_factor: u32,
    leaderless: u32,
    under_replicated: u32,
    meta_leader: Option<u64>,
    meta_led: bool,
    rebalance: Moving,
    #[serde(skip)]
    meta_leader_label: String,
}

/// Shows the cluster.
///
/// # Errors
/// [`Failure::Unhealthy`] once it is shown, and those of the connection.
pub(crate) async fn run(connection: &mut Connection, format: Format) -> Result<(), Failure> {
    let status = Status::of(&connection.cluster().await?);
    print(&status, format)?;
    if status.healthy { Ok(()) } else { Err(Failure::Unhealthy(status.problems.join("; "))) }
}

impl Status {
    fn of(cluster: &Cluster) -> Status {
        let problems = problems(cluster);
        let label = match cluster.meta_leader {
            0 => NONE.to_owned(),
            node => node_label(cluster, node),
        };
        Status {
            cluster_id: cluster.cluster_id.clone(),
            healthy: problems.is_empty(),
            problems,
            formed: cluster.formed,
            revision: cluster.revision,
            members: cluster.members.len(),
            members_alive: cluster.members.iter().filter(|member| member.alive).count(),
            partitions: cluster.partitions,
            replication_factor: cluster.replication_factor,
            leaderless: cluster.leaderless,
            under_replicated: cluster.under_replicated,
            meta_leader: known_node(cluster.meta_leader),
            meta_led: cluster.meta_led,
            rebalance: Moving::of(cluster),
            meta_leader_label: label,
        }
    }
}

impl Answer for Status {
    fn table(&self) -> String {
        let health = match self.problems.join("; ") {
            problems if problems.is_empty() => "healthy".to_owned(),
            problems => problems,
        };
        facts(&[
            ("Cluster", self.cluster_id.clone()),
            ("Health", health),
            ("Nodes", format!("{} of {} alive", self.members_alive, self.members)),
            (
                "Partitions",
                format!(
                    "{}, {} without a leader, {} short of replicas",
                    self.partitions, self.leaderless, self.under_replicated
                ),
            ),
            ("Replicas", format!("{} of each partition", self.replication_factor)),
            ("Meta leader", self.meta_leader_label.clone()),
            ("Balance", self.rebalance.summary()),
        ])
    }
}

/// Everything that a person should look after. Moving replicas is none of it.
fn problems(cluster: &Cluster) -> Vec<String> {
    let mut problems = Vec::new();
    let partitions = counted(cluster.partitions.into(), "partition");
    if !cluster.formed {
        problems.push("it is still forming and serves no clients".to_owned());
    }
    if !cluster.meta_led {
        problems.push("the meta group has no leader".to_owned());
    }
    if cluster.leaderless > 0 {
        problems.push(format!("{} of {partitions} without a leader", cluster.leaderless));
    }
    if cluster.under_replicated > 0 {
        let short = cluster.under_replicated;
        let factor = counted(cluster.replication_factor.into(), "live replica");
        problems.push(format!("{short} of {partitions} with fewer than {factor}"));
    }
    // A member that was replaced is not meant to come back.
    let missed = |member: &&Member| !member.alive && member.state() != State::Replaced;
    let silent: Vec<_> =
        cluster.members.iter().filter(missed).map(|member| member.name.as_str()).collect();
    if !silent.is_empty() {
        problems.push(format!("not heard of: {}", silent.join(", ")));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::healthy;

    #[test]
    fn healthy_cluster_is_told_in_seven_lines() {
        assert_eq!(
            Status::of(&healthy()).table(),
            "Cluster      00000000-0000-0000-0000-000000000007\n\
             Health       healthy\n\
             Nodes        3 of 3 alive\n\
             Partitions   64, 0 without a leader, 0 short of replicas\n\
             Replicas     3 of each partition\n\
             Meta leader  2 (demo-nodes-1)\n\
             Balance      balanced\n"
        );
    }

    #[test]
    fn whatever_needs_a_person_is_a_problem() {
        let mut silent = healthy();
        silent.members[2].alive = false;
        let mut replaced = silent.clone();
        replaced.members[2].set_state(State::Replaced);
        let mut lost = silent.clone();
        lost.members[2].set_state(State::Lost);
        let rows: [(Cluster, &[&str]); 8] = [
            (healthy(), &[]),
            (replaced, &[]),
            (silent, &["not heard of: demo-nodes-2"]),
            (lost, &["not heard of: demo-nodes-2"]),
            (
                Cluster { formed: false, ..healthy() },
                &["it is still forming and serves no clients"],
            ),
            (Cluster { meta_led: false, ..healthy() }, &["the meta group has no leader"]),
            (Cluster { leaderless: 1, ..healthy() }, &["1 of 64 partitions without a leader"]),
            (
                Cluster { under_replicated: 2, ..healthy() },
                &["2 of 64 partitions with fewer than 3 live replicas"],
            ),
        ];
        for (cluster, expected) in rows {
            let status = Status::of(&cluster);
            assert_eq!(status.problems, expected);
            assert_eq!(status.healthy, expected.is_empty());
        }
    }

    #[test]
    fn programs_read_names_that_stay() {
        let json = serde_json::to_value(Status::of(&healthy())).unwrap();
        assert_eq!(json["healthy"], true);
        assert_eq!(json["clusterId"], "00000000-0000-0000-0000-000000000007");
        assert_eq!(json["metaLeader"], 2);
        assert_eq!(json["underReplicated"], 0);
        assert_eq!(json["rebalance"]["settings"]["maxMoves"], 4);
        assert!(json.get("metaLeaderLabel").is_none(), "{json}");
    }
}
