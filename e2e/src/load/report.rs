//! What a benchmark reports; these shapes are the JSON of `flin-e2e bench --out`.

use serde::{Deserialize, Serialize};

/// What was driven, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum System {
    /// Flin, every client on the node that leads its key.
    FlinRouted,
    /// Flin through its Service, as any Redis client does it.
    FlinProxied,
    /// Three etcd members, each client on one of them.
    Etcd,
}

impl System {
    /// The name in tables.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::FlinRouted => "Flin, routed",
            Self::FlinProxied => "Flin, proxied",
            Self::Etcd => "etcd",
        }
    }
}

/// What each connection does, one request after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// Writes only.
    Set,
    /// Linearizable reads only.
    Get,
    /// 95 reads to 5 writes.
    Mixed,
}

impl Workload {
    /// All of them, in the order in which a round runs them.
    pub(crate) const ALL: [Self; 3] = [Self::Set, Self::Get, Self::Mixed];

    /// The name in tables.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Get => "GET",
            Self::Mixed => "95/5",
        }
    }

    /// How many of a hundred requests are writes.
    pub(crate) const fn writes_percent(self) -> u32 {
        match self {
            Self::Set => 100,
            Self::Get => 0,
            Self::Mixed => 5,
        }
    }
}

/// One workload on one system in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) system: System,
    pub(crate) workload: Workload,
    /// Counted from 1.
    pub(crate) round: u32,
    /// Requests that were answered.
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) max_us: u64,
    /// Attempts that had to be repeated.
    pub(crate) retries: u64,
}

/// One second of sustained load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Second {
    /// When it ended, microseconds since 1970.
    pub(crate) at_us: u64,
    /// Writes acknowledged in it.
    pub(crate) writes: u64,
    /// Reads answered in it, each of them the right value.
    pub(crate) reads: u64,
    /// Attempts that had to be repeated.
    pub(crate) retries: u64,
    /// The longest that a writer that routes itself was or has been without an acknowledgement, milliseconds:
    /// requests and their retries, its reads in between included, its rests not.
    pub(crate) routed_ms: u64,
    /// The same of a writer that knows only the Service.
    pub(crate) proxied_ms: u64,
}

/// What was written and what was there at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settled {
    /// The name of the store.
    pub(crate) store: String,
    pub(crate) keys: u64,
    pub(crate) acknowledged: u64,
    pub(crate) maybe: u64,
    /// Acknowledged keys whose last read was not what they were told.
    pub(crate) lost: u64,
    /// The checker's words.
    pub(crate) verdict: String,
}

/// How long writes were impossible while a leader was killed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outage {
    /// The name of the store.
    pub(crate) store: String,
    /// How many writers there were, one per partition.
    pub(crate) writers: u32,
    /// The longest time between two acknowledged writes of any one writer, milliseconds.
    pub(crate) longest_ms: u64,
    /// The same of the median writer.
    pub(crate) median_ms: u64,
    /// How many writers waited longer than half a second.
    pub(crate) interrupted: u32,
    pub(crate) acknowledged: u64,
    pub(crate) maybe: u64,
    pub(crate) lost: u64,
}
