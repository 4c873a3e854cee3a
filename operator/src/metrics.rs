//! What the operator counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the duration of a pass, in seconds.
const DURATION_BUCKETS: [f64; 8] = [0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The counters, with the registry that prints them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    passes: Family<Outcome, Counter>,
    durations: Histogram,
    writes: Family<Kind, Counter>,
    leading: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("flin_operator");
        let (passes, writes) = (Family::default(), Family::default());
        let durations = Histogram::new(DURATION_BUCKETS);
        let leading = Gauge::default();
        registry.register("reconciles", "Passes over a cluster, by outcome", passes.clone());
        registry.register(
            "reconcile_duration_seconds",
            "How long a pass over a cluster takes",
            durations.clone(),
        );
        registry.register("writes", "Writes to the API server, by kind", writes.clone());
        registry.register("leading", "Whether this operator holds the lease", leading.clone());
        Self { registry, passes, durations, writes, leading }
    }
}

impl Metrics {
    /// Counts a pass.
    pub fn passed(&self, is_ok: bool, took: Duration) {
        let outcome = if is_ok { "ok" } else { "error" };
        self.passes.get_or_create(&Outcome { outcome }).inc();
        self.durations.observe(took.as_secs_f64());
    }

    /// Counts a write.
    pub fn wrote(&self, kind: &'static str) {
        self.writes.get_or_create(&Kind { kind }).inc();
    }

    /// Says whether this operator holds the lease.
    pub fn leads(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    /// All of it in the text format of Prometheus.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes every write");
        text
    }
}
