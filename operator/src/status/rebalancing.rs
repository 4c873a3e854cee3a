//! Whether replicas and leaderships have yet to move, with the numbers. At rest, and while nothing can be moved, the
//! words stay the same: amounts of bytes, which change with every write of a client, are told only while replicas
//! move.

use flin_crds::reason;

use super::conditions::{Answer, Verdict};
use crate::nodes::Rebalance;
use crate::plan::SharedZones;
use crate::units::replicas;

/// The verdict for the condition Rebalancing.
pub(super) fn judge(now: &Rebalance, shared_zones: Option<&SharedZones>) -> Verdict {
    let (holds, reason, mut words) = match moves(now) {
        Some(words) => (Answer::Yes, why(now), words),
        None if now.balanced => {
            let reason = shared_zones.map_or(reason::BALANCED, |_| reason::ZONES_SHARED);
            let words = "every node has its share of replicas and leaders";
            (Answer::No, reason, words.to_owned())
        }
        None => {
            let words = "every replica is in its place; every node gets its share of leaders";
            (Answer::Yes, reason::LEADERS_MOVING, words.to_owned())
        }
    };
    if let Some(shared) = shared_zones {
        words = format!("{words}; {shared}");
    }
    Verdict::new(holds, reason, words)
}

/// What is moved or has yet to be, in words; `None` when every replica is in its place.
pub(super) fn moves(now: &Rebalance) -> Option<String> {
    let Rebalance { moving, replicas_left, .. } = *now;
    if moving == 0 && replicas_left == 0 {
        return None;
    }
    let bytes = if is_halted(now) { 0 } else { now.bytes_left };
    let mut words = format!("{} left to move", replicas(replicas_left.into(), bytes));
    if moving > 0 {
        words = format!("{words}, {moving} at this moment");
    }
    if now.settings.paused {
        words += "; moves are paused by spec.rebalance.paused";
    } else if !now.blocked.is_empty() {
        words = format!("{words}; {}", now.blocked);
    }
    Some(words)
}

fn why(now: &Rebalance) -> &'static str {
    match now {
        now if !is_halted(now) => reason::REPLICAS_MOVING,
        now if now.settings.paused => reason::MOVES_PAUSED,
        _ => reason::MOVES_BLOCKED,
    }
}

/// Whether something is left and nothing is moved.
fn is_halted(now: &Rebalance) -> bool {
    now.moving == 0 && (now.settings.paused || !now.blocked.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(change: impl FnOnce(&mut Rebalance)) -> (Answer, &'static str, String) {
        let mut now = Rebalance { balanced: true, ..Rebalance::default() };
        change(&mut now);
        let Verdict { holds, reason, message } = judge(&now, None);
        (holds, reason, message)
    }

    fn left(now: &mut Rebalance, replicas: u32, bytes: u64) {
        (now.balanced, now.replicas_left, now.bytes_left) = (false, replicas, bytes);
    }

    #[test]
    fn balanced_nodes_have_nothing_to_move() {
        let (holds, reason, words) = told(|_| {});
        assert_eq!((holds, reason), (Answer::No, "Balanced"));
        assert_eq!(words, "every node has its share of replicas and leaders");
    }

    #[test]
    fn replicas_that_move_are_counted_with_their_bytes() {
        let (holds, reason, words) = told(|now| {
            left(now, 30, 1 << 30);
            now.moving = 4;
        });
        assert_eq!((holds, reason), (Answer::Yes, "ReplicasMoving"));
        assert_eq!(words, "30 replicas (1.0 GiB) left to move, 4 at this moment");
    }

    #[test]
    fn what_is_halted_is_told_with_its_reason_and_without_bytes_that_change() {
        let paused = |bytes| {
            told(|now| {
                left(now, 9, bytes);
                now.settings.paused = true;
                now.blocked = "moves are paused, 9 replicas wait".to_owned();
            })
        };
        let words = "9 replicas left to move; moves are paused by spec.rebalance.paused".to_owned();
        assert_eq!(paused(1), (Answer::Yes, "MovesPaused", words));
        assert_eq!(paused(1), paused(2));
        let (holds, reason, words) = told(|now| {
            left(now, 9, 1);
            now.blocked = "there are 2 nodes".to_owned();
        });
        assert_eq!((holds, reason), (Answer::Yes, "MovesBlocked"));
        assert_eq!(words, "9 replicas left to move; there are 2 nodes");
    }

    #[test]
    fn leaderships_move_last() {
        let (holds, reason, _) = told(|now| now.balanced = false);
        assert_eq!((holds, reason), (Answer::Yes, "LeadersMoving"));
    }

    #[test]
    fn shared_zones_are_said_beside_it() {
        let shared = SharedZones { nodes: 4, zones: 2, fullest: 2, replication_factor: 3 };
        let now = Rebalance { balanced: true, ..Rebalance::default() };
        let verdict = judge(&now, Some(&shared));
        assert_eq!((verdict.holds, verdict.reason), (Answer::No, "ZonesShared"));
        assert!(verdict.message.contains("4 nodes are in 2 zones"), "{}", verdict.message);
    }
}
