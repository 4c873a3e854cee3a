//! The state of one group on its way to a follower that the log no longer reaches.
//!
//! What is sent is [`flin_groups::snapshot`]'s, which says how frames are numbered, acknowledged and gone on
//! with. Here are connections, disks and clocks:
//!
//! - [`send`] reads a state and tells raft how its transfer ended. Raft sends a follower nothing else until it
//!   is told, so that is always said.
//! - [`slots`] says who may send: few at a time, fewer to the same node.
//! - [`delivery`] is one transfer over as many connections as it takes, within the limits that keep a receiver
//!   that is slow, or gone, from holding a slot and a view of the engine.
//! - [`receive`] keeps what has arrived of a transfer whose connection broke, for a while.

mod delivery;
mod receive;
mod send;
mod slots;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use receive::{Answers, SnapshotReceiver};
pub(crate) use send::SnapshotSender;

/// How much a node keeps, and waits for, on behalf of snapshots. The sum of a transfer's limits is its deadline:
/// what the receiver owes, it may owe for `stall_time` and the time that all bytes take at the least rate, and
/// then for `decision_time`.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Snapshots a node sends at a time; more wait their turn.
    pub(crate) sending_max: usize,
    /// And to the same node: one that is slow leaves slots for the others.
    pub(crate) sending_per_node_max: usize,
    /// Memory for frames of one transfer that the receiver has not acknowledged, and one frame beyond.
    pub(crate) kept_bytes_max: usize,
    /// A receiver that takes nothing for this long, beyond what is under way at the least rate, is given up.
    pub(crate) stall_time: Duration,
    /// A receiver that takes less for longer is given up too.
    pub(crate) least_bytes_per_second: u64,
    /// How long a receiver that was sent everything may take to make it durable and to decide.
    pub(crate) decision_time: Duration,
    /// How long a transfer whose connection broke looks for another, until it gets on.
    pub(crate) reconnect_time: Duration,
    /// How long it waits before the first attempt; twice as long before each further one.
    pub(crate) reconnect_delay: Duration,
    /// At most.
    pub(crate) reconnect_delay_max: Duration,
    /// How long a receiver keeps what it has of a transfer without a connection. Longer than `reconnect_time`: the
    /// sender may notice the break a keep-alive later.
    pub(crate) hold_time: Duration,
    /// Transfers without a connection that a receiver keeps at a time, of all groups.
    pub(crate) held_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sending_max: 4,
            sending_per_node_max: 2,
            kept_bytes_max: 4 << 20,
            stall_time: Duration::from_secs(30),
            least_bytes_per_second: 256 << 10,
            decision_time: Duration::from_secs(120),
            reconnect_time: Duration::from_secs(30),
            reconnect_delay: Duration::from_millis(100),
            reconnect_delay_max: Duration::from_secs(2),
            hold_time: Duration::from_secs(60),
            held_max: 8,
        }
    }
}
