//! Brings replicas and leaders to where they belong, on the node that leads the meta group.
//!
//! Once a second, and at once after each change of the meta state, that node looks at what the leaders of
//! the groups report, decides ([`decide()`]) and proposes. Nothing that matters is kept between two passes:
//! a successor comes to the same decisions from the same state and the same reports.
//!
//! All other nodes only keep the numbers that they are asked for ([`RebalanceMetrics`]).

mod decide;
mod metrics;
mod pace;

use std::sync::Arc;
use std::time::Duration;

use flin_proto::peer::Seat;
use flin_state::cluster::{Change, ClusterState, Job, Move, Placement, Sight, plan_moves};
use flin_state::ids::{GroupId, NodeId, ReplicaId};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::board::{Board, SILENCE_MS_MAX};
use crate::clock::Clock;
use crate::requests::RequestError;
use crate::router::Router;
use decide::{Facts, GroupFacts, decide};
pub use metrics::RebalanceMetrics;

/// How often the balancer looks when nothing happens.
const INTERVAL: Duration = Duration::from_secs(1);
/// A balancer that was held up for longer than this was perhaps cut off or frozen, and what it did not
/// hear says nothing about the others.
const HELD_UP_MS_MAX: u64 = 5_000;

/// Balances while this node leads the meta group, until told to stop.
pub async fn rebalance(
    board: Arc<Board>,
    router: Router,
    clock: Arc<dyn Clock>,
    metrics: RebalanceMetrics,
    stop: CancellationToken,
) {
    let mut states = board.cluster();
    let mut balancer = Balancer { board, router, clock, metrics, tenure: None, warned: None };
    let work = async {
        loop {
            tokio::select! {
                biased;
                changed = states.changed() => if changed.is_err() { return },
                () = balancer.clock.sleep(INTERVAL) => {}
            }
            let state = states.borrow_and_update().clone();
            if let Some(state) = state {
                balancer.pass(&state).await;
            }
        }
    };
    let _ = stop.run_until_cancelled(work).await;
}

/// What the leaders of the groups last said, as far as the planner needs it.
pub fn sight(board: &Board, state: &ClusterState) -> Sight {
    Sight { bytes: state.groups().map(|group| (group, board.leadership(group).bytes)).collect() }
}

fn voters(seats: &[Seat]) -> Vec<Placement> {
    let placement =
        |seat: &Seat| Placement { replica: ReplicaId(seat.replica), node: NodeId(seat.node) };
    seats.iter().filter(|seat| seat.votes).map(placement).collect()
}

struct Balancer {
    board: Arc<Board>,
    router: Router,
    clock: Arc<dyn Clock>,
    metrics: RebalanceMetrics,
    /// `None` while another node balances.
    tenure: Option<Tenure>,
    /// The last warning, which is not repeated.
    warned: Option<String>,
}

/// For how long this node has balanced without an interruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tenure {
    since_ms: u64,
    last_pass_ms: u64,
}

impl Tenure {
    /// The tenure at a pass at `now_ms`; it begins anew after a gap.
    fn at(previous: Option<Tenure>, now_ms: u64) -> Tenure {
        let goes_on =
            previous.filter(|tenure| now_ms.saturating_sub(tenure.last_pass_ms) <= HELD_UP_MS_MAX);
        Tenure { since_ms: goes_on.map_or(now_ms, |tenure| tenure.since_ms), last_pass_ms: now_ms }
    }
}

impl Balancer {
    async fn pass(&mut self, state: &ClusterState) {
        let now_ms = self.clock.monotonic_ms();
        let here = self.board.node();
        let held = state.groups_on(here).map(|(group, _)| self.board.leadership(group).bytes);
        self.metrics.sample(state, held.sum(), now_ms);
        if !state.formed || self.board.leadership(GroupId::META).leader != Some(here) {
            self.tenure = None;
            self.metrics.show(None);
            return;
        }
        let tenure = Tenure::at(self.tenure, now_ms);
        self.tenure = Some(tenure);
        let plan = plan_moves(state, &sight(&self.board, state));
        self.metrics.show(Some((state, &plan)));
        let facts = self.look(state, tenure.since_ms, now_ms);
        self.propose(state, &facts, decide(state, &facts, plan)).await;
    }

    fn look(&self, state: &ClusterState, since_ms: u64, now_ms: u64) -> Facts {
        let group = |group| {
            let known = self.board.leadership(group);
            let fresh =
                known.reported_ms.is_some_and(|at| now_ms.saturating_sub(at) <= SILENCE_MS_MAX);
            let voters = self.board.seats(group, now_ms).map(|seats| voters(&seats));
            (group, GroupFacts { bytes: known.bytes, job: known.job, fresh, voters })
        };
        let silence = |node: &NodeId| Some((*node, self.board.silence_ms(*node, now_ms)?));
        Facts {
            tenure_ms: now_ms.saturating_sub(since_ms),
            groups: state.groups().map(group).collect(),
            silence_ms: state.members.keys().filter_map(silence).collect(),
        }
    }

    /// Proposes one change after the other. What was planned for this very state is not tried once
    /// another change was accepted: the next pass, which follows at once, plans it anew.
    async fn propose(&mut self, state: &ClusterState, facts: &Facts, changes: Vec<Change>) {
        let mut accepted = false;
        for change in changes {
            let planned =
                matches!(change, Change::StartMoves { .. } | Change::PreferLeaders { .. });
            if planned && accepted {
                return;
            }
            match self.router.change(change.clone()).await {
                Ok(()) => {
                    accepted = true;
                    self.tell(state, facts, &change);
                }
                Err(RequestError::Refused(reason)) => {
                    let revision = self.board.view().cluster.as_ref().map(|now| now.revision);
                    if planned && revision != Some(state.revision) {
                        debug!(reason, "the cluster changed while moves were planned");
                    } else {
                        self.warn_once(&change, reason);
                    }
                }
                Err(error) => {
                    debug!(%error, "a change of the cluster is tried again in a moment");
                    return;
                }
            }
        }
    }

    /// Says what a change that was accepted means, as a line of the cluster's story.
    fn tell(&self, state: &ClusterState, facts: &Facts, change: &Change) {
        match change {
            Change::StartMoves { moves, .. } => {
                for started in moves {
                    self.tell_start(state, facts, started);
                }
            }
            Change::FinishMove { group, undone, bytes, .. } => {
                let Some(job) = state.jobs.get(group) else { return };
                self.metrics.ended(*undone);
                let Ends { to_node, from_node } = Ends::of(job);
                let group = name(*group);
                if *undone {
                    info!(group, to_node, from_node, bytes, "a move was taken back");
                } else {
                    info!(group, to_node, from_node, bytes, "a move is done");
                }
            }
            Change::UndoMove { group, .. } => {
                let Some(job) = state.jobs.get(group) else { return };
                let Ends { to_node, from_node } = Ends::of(job);
                info!(group = name(*group), to_node, from_node, "a move is to be taken back");
            }
            Change::SetLost { node, lost } => {
                let name = state.members.get(node).map_or("", |member| &member.name);
                if *lost {
                    let silence_ms = facts.silence_ms(*node);
                    warn!(%node, name, silence_ms, "a node is given up, others get what it holds");
                } else {
                    info!(%node, name, "a node that was given up is back");
                }
            }
            Change::RemoveMember { node } => {
                let name = state.members.get(node).map_or("", |member| &member.name);
                info!(%node, name, "a node that was replaced is no member any more");
            }
            Change::PreferLeaders { leaders, .. } => {
                info!(groups = leaders.len(), "leaders are spread anew");
            }
            _ => {}
        }
    }

    fn tell_start(&self, state: &ClusterState, facts: &Facts, started: &Move) {
        let group = started.group;
        let from = started.remove.and_then(|replica| state.node_of(group, replica));
        let Ends { to_node, from_node } = Ends::between(started.add, from);
        info!(group = name(group), to_node, from_node, bytes = facts.bytes(group), "a move begins");
    }

    fn warn_once(&mut self, change: &Change, reason: String) {
        if self.warned.as_ref() != Some(&reason) {
            warn!(?change, reason, "a change of the balancer was refused");
            self.warned = Some(reason);
        }
    }
}

/// The nodes between which a replica moves, for a log; 0 is no node.
struct Ends {
    to_node: u64,
    from_node: u64,
}

impl Ends {
    fn of(job: &Job) -> Ends {
        Ends::between(job.add.map(|to| to.node), job.remove.map(|from| from.node))
    }

    fn between(to: Option<NodeId>, from: Option<NodeId>) -> Ends {
        let number = |node: Option<NodeId>| node.map_or(0, |node| node.0);
        Ends { to_node: number(to), from_node: number(from) }
    }
}

/// What a group is called in the log.
fn name(group: GroupId) -> String {
    group
        .partition()
        .map_or_else(|| "meta".to_owned(), |partition| format!("partition {partition}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenure_goes_on_without_a_gap_and_begins_anew_after_one() {
        let first = Tenure::at(None, 10_000);
        assert_eq!(first, Tenure { since_ms: 10_000, last_pass_ms: 10_000 });
        let second = Tenure::at(Some(first), 10_000 + HELD_UP_MS_MAX);
        assert_eq!(second.since_ms, 10_000);
        let thawed = Tenure::at(Some(second), second.last_pass_ms + HELD_UP_MS_MAX + 1);
        assert_eq!(thawed.since_ms, thawed.last_pass_ms);
    }
}
