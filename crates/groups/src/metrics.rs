//! What the replicas count.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The counters of worker and applier; clones share them.
#[derive(Clone)]
pub struct CoreMetrics {
    pub(crate) proposals: Counter,
    pub(crate) entries_committed: Counter,
    pub(crate) entries_applied: Counter,
    pub(crate) log_syncs: Counter,
    pub(crate) log_sync_seconds: Histogram,
    pub(crate) messages_sent: Counter,
    pub(crate) messages_dropped: Counter,
    pub(crate) messages_refused: Counter,
    pub(crate) snapshots_sent: Counter,
    /// Bytes of keys and values sent in snapshots.
    pub snapshot_bytes_sent: Counter,
    /// Times a snapshot went on over a new connection after the one before broke.
    pub snapshots_resumed: Counter,
    pub(crate) snapshots_installed: Counter,
    pub(crate) leaders: Gauge,
    pub(crate) replicas: Gauge,
    pub(crate) log_bytes: Gauge,
}

impl CoreMetrics {
    /// Metrics that nobody is shown.
    pub fn unseen() -> Self {
        CoreMetrics::register(&mut Registry::default())
    }

    /// Metrics that `registry` will show.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = CoreMetrics {
            proposals: Counter::default(),
            entries_committed: Counter::default(),
            entries_applied: Counter::default(),
            log_syncs: Counter::default(),
            log_sync_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 14)),
            messages_sent: Counter::default(),
            messages_dropped: Counter::default(),
            messages_refused: Counter::default(),
            snapshots_sent: Counter::default(),
            snapshot_bytes_sent: Counter::default(),
            snapshots_resumed: Counter::default(),
            snapshots_installed: Counter::default(),
            leaders: Gauge::default(),
            replicas: Gauge::default(),
            log_bytes: Gauge::default(),
        };
        let m = &metrics;
        let counters = [
            ("raft_proposals", "Runs of writes proposed by leaders here", &m.proposals),
            (
                "raft_entries_committed",
                "Log entries committed in groups here",
                &m.entries_committed,
            ),
            ("raft_entries_applied", "Log entries applied here", &m.entries_applied),
            ("log_syncs", "Times the log was brought to stable storage", &m.log_syncs),
            ("raft_messages_sent", "Raft messages given to the transport", &m.messages_sent),
            ("raft_messages_dropped", "Raft messages lost to full outboxes", &m.messages_dropped),
            (
                "raft_messages_refused",
                "Raft messages received and not accepted",
                &m.messages_refused,
            ),
            ("snapshots_sent", "Snapshots delivered to followers", &m.snapshots_sent),
            (
                "snapshot_bytes_sent",
                "Bytes of keys and values sent in snapshots",
                &m.snapshot_bytes_sent,
            ),
            (
                "snapshots_resumed",
                "Times a snapshot went on over a new connection",
                &m.snapshots_resumed,
            ),
            ("snapshots_installed", "Snapshots installed here", &m.snapshots_installed),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let gauges = [
            ("raft_leaders", "Groups that this node leads", &m.leaders),
            ("raft_replicas", "Replicas that this node hosts", &m.replicas),
            ("log_bytes", "Bytes of log files on disk", &m.log_bytes),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        let help = "How long it took to bring the log to stable storage";
        registry.register("log_sync_seconds", help, m.log_sync_seconds.clone());
        metrics
    }

    pub(crate) fn log_synced(&self, seconds: f64) {
        self.log_syncs.inc();
        self.log_sync_seconds.observe(seconds);
    }
}
