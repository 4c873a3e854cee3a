//! Which replicas should go where, and what to do for it now: a pure function of the cluster's state.
//!
//! It is asked anew whenever the state has changed, and remembers nothing: what runs and what is left is
//! derived from the facts each time.

mod circle;
mod goal;
mod goals;
mod leaders;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod simulation;
mod work;

use std::collections::BTreeMap;

use self::work::{Work, next_moves};
use crate::cluster::{ClusterState, Move};
use crate::ids::{GroupId, ReplicaId};

/// How many replicas are added to one node at a time.
pub const ADDITIONS_PER_NODE_MAX: usize = 2;

/// What the balancer is told beyond the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// The live data of each group in bytes; absent or 0 if unknown.
    pub bytes: BTreeMap<GroupId, u64>,
}

/// What to do now, and how much is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Moves to begin now, within all limits, those that run counted.
    pub moves: Vec<Move>,
    /// Jobs to be taken back because they lead away from the goal, as after a drain was reversed or the
    /// node that gets the replica was lost.
    pub undo: Vec<(GroupId, u64)>,
    /// Changes of preferred leaders, only those that differ. None while replicas are being moved, which
    /// changes leaders too.
    pub leaders: BTreeMap<GroupId, ReplicaId>,
    /// Replicas still to be added or removed, running jobs included; one exchanged for another counts once.
    pub replicas_left: u32,
    /// The live data of the replicas still to be added, running jobs included.
    pub bytes_left: u64,
    /// Whether nothing is left to be done: every node holds and leads its share, each within one.
    pub balanced: bool,
    /// Why something is left that is not being moved, with numbers.
    pub blocked: Option<String>,
}

/// What to do now with the cluster as it is.
///
/// The moves are for this very state: [`Change::StartMoves`](super::Change::StartMoves) with its revision.
/// Repeated after each change it ends, whatever the members do meanwhile to reverse it: see `goal` for why.
/// The cost is that of sorting what is there while nothing is left to be done, and some milliseconds while
/// something is.
pub fn plan_moves(state: &ClusterState, sight: &Sight) -> Plan {
    let goals = goals::goals(state);
    let work: Vec<_> = goals.iter().map(|(group, goal)| Work::of(state, *group, goal)).collect();
    let running = work.iter().any(|work| work.job.is_some() && work.can_decide);
    let moves = if state.rebalance.paused { Vec::new() } else { next_moves(state, &work) };
    let leaders =
        if running || !moves.is_empty() { BTreeMap::new() } else { leaders::changes(state) };
    let left: usize = work.iter().map(Work::replicas_left).sum();
    let bytes = |work: &Work| {
        let each = sight.bytes.get(&work.group).copied().unwrap_or(0);
        each.saturating_mul(u64::try_from(work.additions_left()).unwrap_or(u64::MAX))
    };
    Plan {
        balanced: left == 0 && leaders.is_empty(),
        replicas_left: u32::try_from(left).unwrap_or(u32::MAX),
        bytes_left: work.iter().map(bytes).fold(0, u64::saturating_add),
        undo: undo(&work),
        blocked: blocked(state, &work),
        moves,
        leaders,
    }
}

fn undo(work: &[Work]) -> Vec<(GroupId, u64)> {
    let unwanted = work.iter().filter(|work| work.unwanted);
    unwanted.filter_map(|work| Some((work.group, work.job?.id))).collect()
}

/// Every reason that keeps something from being moved, in words.
fn blocked(state: &ClusterState, work: &[Work]) -> Option<String> {
    let mut reasons = Vec::new();
    let waiting: usize = work.iter().map(Work::replicas_waiting).sum();
    if waiting == 0 {
        return None;
    }
    if state.rebalance.paused {
        reasons.push(format!("moves are paused, {waiting} replicas wait"));
    }
    let serving = state.members.keys().filter(|node| state.serves(**node)).count();
    if serving < usize::from(state.replication_factor) {
        reasons.push(format!(
            "replicationFactor {} needs as many nodes that serve, there are {serving}",
            state.replication_factor
        ));
    }
    let silent: Vec<_> = work.iter().filter(|work| !work.can_decide).map(|w| w.group).collect();
    if let Some(first) = silent.first() {
        reasons.push(format!(
            "{} groups have lost most of their replicas, group {first} first: bring their nodes back",
            silent.len()
        ));
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}
