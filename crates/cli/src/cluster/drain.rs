//! `flin cluster drain`: emptying a node, and filling it again.

use std::time::Duration;

use clap::Args;
use flin_proto::admin::member::State;
use flin_proto::admin::{Cluster, Member, SetDrainingRequest};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::rebalance::Moving;
use super::{find_member, node_label, state_name};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{Answer, Format, print};
use crate::progress::ProgressLine;
use crate::units::{bytes, counted};

/// How often the cluster is asked how far it is.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long it may be silent while we wait: a node restarts, a leader is elected.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long the asked node may not yet know what was agreed.
const SPREAD_TIME: Duration = Duration::from_secs(10);
const SPREAD_INTERVAL: Duration = Duration::from_millis(100);

/// Which node is to be emptied.
#[derive(Clone, Debug, Args)]
pub(crate) struct Wish {
    /// Its name or id, as `flin cluster members` lists them
    node: String,
    /// Fill the node again instead
    #[arg(long, conflicts_with = "no_wait")]
    undo: bool,
    /// Return once it is agreed; the draining goes on by itself
    #[arg(long)]
    no_wait: bool,
}

/// What has become of the node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Drained {
    node_id: u64,
    name: String,
    state: &'static str,
    /// Replicas that are still to be moved away.
    holds: u32,
    data_bytes: u64,
}

/// How far the draining of a node is.
#[derive(Debug, PartialEq)]
enum Stage {
    /// The asked node does not know of it.
    Unknown,
    /// Replicas are left, in words.
    Going(String),
    /// Nothing is left.
    Empty(Member),
    /// It is no member any more.
    Gone,
}

/// Has a node emptied, or filled again.
///
/// # Errors
/// [`Failure::UnknownNode`], [`Failure::Refused`] when the others could not hold everything,
/// [`Failure::TakenBack`], [`Failure::LostSight`], and those of the connection.
pub(crate) async fn run(
    connection: &mut Connection,
    format: Format,
    wish: &Wish,
) -> Result<(), Failure> {
    let cluster = connection.cluster().await?;
    let member = find_member(&cluster, &wish.node)?;
    let label = node_label(&cluster, member.node_id);
    if let Some(node_ids) = draining_after(&cluster, member, !wish.undo) {
        let cluster_id = cluster.cluster_id.clone();
        connection.set_draining(SetDrainingRequest { cluster_id, node_ids }).await?;
    }
    let drained = if wish.undo || wish.no_wait {
        let state = if wish.undo { State::Serving } else { State::Draining };
        spread(connection, member, state).await?
    } else {
        wait(connection, member, &label).await?
    };
    print(&drained, format)
}

/// Waits until the asked node knows what was agreed, for a while.
async fn spread(
    connection: &mut Connection,
    member: &Member,
    state: State,
) -> Result<Drained, Failure> {
    let deadline = Instant::now() + SPREAD_TIME;
    loop {
        let cluster = connection.cluster().await?;
        let now = cluster.members.iter().find(|now| now.node_id == member.node_id);
        if now.is_none_or(|now| now.state() == state) || Instant::now() > deadline {
            return Ok(Drained::of(now.unwrap_or(member)));
        }
        sleep(SPREAD_INTERVAL).await;
    }
}

/// Waits until the node holds nothing, with a line that tells how far it is.
async fn wait(
    connection: &mut Connection,
    member: &Member,
    label: &str,
) -> Result<Drained, Failure> {
    let began = Instant::now();
    let mut heard = began;
    let mut known = false;
    let mut line = ProgressLine::new();
    loop {
        match connection.cluster().await {
            Ok(cluster) => {
                heard = Instant::now();
                match stage(&cluster, member.node_id) {
                    Stage::Going(words) => {
                        known = true;
                        line.show(&format!("node {label}: {words}"));
                    }
                    Stage::Empty(member) => return Ok(Drained::of(&member)),
                    Stage::Gone => return Ok(Drained { holds: 0, ..Drained::of(member) }),
                    Stage::Unknown if known || began.elapsed() > SPREAD_TIME => {
                        return Err(Failure::TakenBack { node: format!("node {label}") });
                    }
                    Stage::Unknown => {}
                }
            }
            Err(failure) if failure.exit_code() != 1 || heard.elapsed() > SILENCE_MAX => {
                return Err(Failure::LostSight { source: Box::new(failure) });
            }
            Err(_) => line.show(&format!("node {label}: waiting for an answer")),
        }
        sleep(INTERVAL).await;
    }
}

fn stage(cluster: &Cluster, node_id: u64) -> Stage {
    let Some(member) = cluster.members.iter().find(|member| member.node_id == node_id) else {
        return Stage::Gone;
    };
    match (member.state(), member.holds) {
        (State::Serving, _) => Stage::Unknown,
        (_, 0) => Stage::Empty(member.clone()),
        (_, holds) => {
            let (left, data) = (counted(holds.into(), "replica"), bytes(member.data_bytes));
            let summary = Moving::of(cluster).summary();
            Stage::Going(format!("{left} ({data}) left; in the cluster: {summary}"))
        }
    }
}

/// The nodes to be emptied once `member` is among them or not; `None` when that changes nothing. One that
/// is lost or replaced is being emptied already.
fn draining_after(cluster: &Cluster, member: &Member, drain: bool) -> Option<Vec<u64>> {
    let changes = match member.state() {
        State::Serving => drain,
        State::Draining => !drain,
        State::Lost | State::Replaced => false,
    };
    let draining = cluster.members.iter().filter(|other| {
        let is_meant = other.node_id == member.node_id;
        if is_meant { drain } else { other.state() == State::Draining }
    });
    changes.then(|| draining.map(|other| other.node_id).collect())
}

impl Drained {
    fn of(member: &Member) -> Drained {
        Drained {
            node_id: member.node_id,
            name: member.name.clone(),
            state: state_name(member),
            holds: member.holds,
            data_bytes: member.data_bytes,
        }
    }
}

impl Answer for Drained {
    fn table(&self) -> String {
        let Drained { node_id, name, state, .. } = self;
        match (*state, self.holds) {
            ("serving", _) => format!("node {node_id} ({name}) is filled again\n"),
            (_, 0) => format!("node {node_id} ({name}) is empty\n"),
            (_, holds) => {
                let (replicas, data) = (counted(holds.into(), "replica"), bytes(self.data_bytes));
                format!("node {node_id} ({name}) is being emptied, {replicas} ({data}) left\n")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::healthy;

    fn with_state(node: usize, state: State) -> Cluster {
        let mut cluster = healthy();
        cluster.members[node].set_state(state);
        cluster
    }

    #[test]
    fn draining_joins_and_leaves_what_is_draining_already() {
        let rows = [
            (healthy(), 2, true, Some(vec![3])),
            (healthy(), 2, false, None),
            (with_state(0, State::Draining), 2, true, Some(vec![1, 3])),
            (with_state(0, State::Draining), 0, true, None),
            (with_state(0, State::Draining), 0, false, Some(vec![])),
            (with_state(2, State::Lost), 2, true, None),
        ];
        for (cluster, node, drain, expected) in rows {
            assert_eq!(draining_after(&cluster, &cluster.members[node], drain), expected);
        }
    }

    #[test]
    fn draining_ends_when_nothing_is_held() {
        assert_eq!(stage(&healthy(), 3), Stage::Unknown);
        assert_eq!(stage(&healthy(), 4), Stage::Gone);
        let mut cluster = with_state(2, State::Draining);
        let words = "65 replicas (1.0 GiB) left; in the cluster: balanced";
        assert_eq!(stage(&cluster, 3), Stage::Going(words.into()));
        cluster.members[2].holds = 0;
        assert_eq!(stage(&cluster, 3), Stage::Empty(cluster.members[2].clone()));
    }

    #[test]
    fn end_is_told_in_one_line() {
        let mut cluster = with_state(2, State::Draining);
        let told = |cluster: &Cluster| Drained::of(&cluster.members[2]).table();
        let going = "node 3 (demo-nodes-2) is being emptied, 65 replicas (1.0 GiB) left\n";
        assert_eq!(told(&cluster), going);
        cluster.members[2].holds = 0;
        assert_eq!(told(&cluster), "node 3 (demo-nodes-2) is empty\n");
        assert_eq!(told(&healthy()), "node 3 (demo-nodes-2) is filled again\n");
    }
}
