//! What the RESP ports count, for metrics and INFO. Counters only grow, except for open connections.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use flin_resp::commands;

/// The upper bounds of the latency buckets, in microseconds; the last bucket has none.
pub const LATENCY_BOUNDS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000,
];

/// The counters of a node's RESP ports.
#[derive(Debug)]
pub struct Stats {
    connections: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    /// By position in the command table.
    commands: Vec<Counts>,
    unknown_commands: AtomicU64,
    protocol_errors: AtomicU64,
    wrong_passwords: AtomicU64,
    input_bytes: AtomicU64,
    output_bytes: AtomicU64,
    latency: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
    latency_sum_us: AtomicU64,
}

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    errors: AtomicU64,
}

/// How often a command was called, and how often it was answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandCounts {
    /// Its name in lower case.
    pub name: &'static str,
    /// All calls.
    pub calls: u64,
    /// Those answered with an error.
    pub errors: u64,
}

/// How long pipelines took from decoded to answered, encoding included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyCounts {
    /// How many took at most the bound at the same place of [`LATENCY_BOUNDS_US`] and longer than the one
    /// before; the last counts the rest.
    pub buckets: [u64; LATENCY_BOUNDS_US.len() + 1],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Stats {
            connections: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            commands: commands::all().iter().map(|_| Counts::default()).collect(),
            unknown_commands: AtomicU64::new(0),
            protocol_errors: AtomicU64::new(0),
            wrong_passwords: AtomicU64::new(0),
            input_bytes: AtomicU64::new(0),
            output_bytes: AtomicU64::new(0),
            latency: Default::default(),
            latency_sum_us: AtomicU64::new(0),
        }
    }
}

impl Stats {
    /// Connections that are open now.
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Connections ever accepted.
    pub fn connections_accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections turned away because there were too many.
    pub fn connections_refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Every command of the table, called or not, ordered by name.
    pub fn commands(&self) -> impl Iterator<Item = CommandCounts> + '_ {
        commands::all().iter().zip(&self.commands).map(|(command, counts)| CommandCounts {
            name: command.name,
            calls: counts.calls.load(Relaxed),
            errors: counts.errors.load(Relaxed),
        })
    }

    /// Requests whose command does not exist.
    pub fn unknown_commands(&self) -> u64 {
        self.unknown_commands.load(Relaxed)
    }

    /// Connections ended because what they sent was not RESP, or too much.
    pub fn protocol_errors(&self) -> u64 {
        self.protocol_errors.load(Relaxed)
    }

    /// Attempts to authenticate that failed.
    pub fn wrong_passwords(&self) -> u64 {
        self.wrong_passwords.load(Relaxed)
    }

    /// Bytes received.
    pub fn input_bytes(&self) -> u64 {
        self.input_bytes.load(Relaxed)
    }

    /// Bytes sent.
    pub fn output_bytes(&self) -> u64 {
        self.output_bytes.load(Relaxed)
    }

    /// How long pipelines took.
    pub fn latency(&self) -> LatencyCounts {
        LatencyCounts {
            buckets: std::array::from_fn(|at| self.latency[at].load(Relaxed)),
            sum_us: self.latency_sum_us.load(Relaxed),
        }
    }

    /// Counts an accepted connection and answers its id, never used before.
    pub(super) fn connection_opened(&self) -> u64 {
        self.connections.fetch_add(1, Relaxed);
        self.accepted.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn connection_closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    pub(super) fn connection_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Counts a request; `command` is its place in the table, `None` if it has none.
    pub(super) fn called(&self, command: Option<usize>, failed: bool) {
        match command.and_then(|at| self.commands.get(at)) {
            None => {
                self.unknown_commands.fetch_add(1, Relaxed);
            }
            Some(counts) => {
                counts.calls.fetch_add(1, Relaxed);
                if failed {
                    counts.errors.fetch_add(1, Relaxed);
                }
            }
        }
    }

    pub(super) fn protocol_error(&self) {
        self.protocol_errors.fetch_add(1, Relaxed);
    }

    pub(super) fn wrong_password(&self) {
        self.wrong_passwords.fetch_add(1, Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.input_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.output_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn took(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        self.latency[bucket].fetch_add(1, Relaxed);
        self.latency_sum_us.fetch_add(us, Relaxed);
    }
}
