//! What is counted of moved replicas.

use std::sync::{Arc, Mutex};

use flin_state::cluster::{ClusterState, Plan};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::pace::Pace;

/// The numbers of the balancer; clones share them.
///
/// Those about the whole cluster are shown by the node that leads the meta group and are zero elsewhere, so
/// that a sum over all nodes is true.
#[derive(Clone)]
pub struct RebalanceMetrics {
    moving: Gauge,
    replicas_left: Gauge,
    bytes_left: Gauge,
    data_bytes: Gauge,
    moves_finished: Counter,
    moves_undone: Counter,
    pace: Arc<Mutex<Pace>>,
}

impl RebalanceMetrics {
    /// Metrics that `registry` will show.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = RebalanceMetrics {
            moving: Gauge::default(),
            replicas_left: Gauge::default(),
            bytes_left: Gauge::default(),
            data_bytes: Gauge::default(),
            moves_finished: Counter::default(),
            moves_undone: Counter::default(),
            pace: Arc::default(),
        };
        let m = &metrics;
        let gauges = [
            ("rebalance_moving", "Moves of replicas under way in the cluster", &m.moving),
            ("rebalance_replicas_left", "Replicas that have yet to be moved", &m.replicas_left),
            ("rebalance_bytes_left", "Live data of replicas yet to be moved", &m.bytes_left),
            ("data_bytes", "Live data of the replicas on this node, estimated", &m.data_bytes),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        let counters = [
            ("rebalance_moves_finished", "Moves of replicas done", &m.moves_finished),
            ("rebalance_moves_undone", "Moves of replicas taken back", &m.moves_undone),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        metrics
    }

    /// Notes what this node holds and how much the cluster has moved.
    pub(crate) fn sample(&self, state: &ClusterState, data_bytes: u64, now_ms: u64) {
        self.data_bytes.set(shown(data_bytes));
        self.pace.lock().expect(POISON).sample(state, now_ms);
    }

    /// Shows what is left to do; nothing on a node that does not balance.
    pub(crate) fn show(&self, balanced: Option<(&ClusterState, &Plan)>) {
        let moving = balanced.map_or(0, |(state, _)| state.jobs.len() as u64);
        self.moving.set(shown(moving));
        self.replicas_left.set(balanced.map_or(0, |(_, plan)| plan.replicas_left.into()));
        self.bytes_left.set(shown(balanced.map_or(0, |(_, plan)| plan.bytes_left)));
    }

    /// Counts a move that ended.
    pub(crate) fn ended(&self, undone: bool) {
        if undone { &self.moves_undone } else { &self.moves_finished }.inc();
    }

    /// In how many seconds everything is moved at the pace of the last minute; `None` when nothing is
    /// being moved or nothing was.
    pub fn seconds_left(&self, state: &ClusterState, plan: &Plan, now_ms: u64) -> Option<u64> {
        if state.jobs.is_empty() {
            return None;
        }
        let pace = self.pace.lock().expect(POISON);
        pace.seconds_left(state.moved, plan.replicas_left, plan.bytes_left, now_ms)
    }
}

fn shown(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

const POISON: &str = "no thread panics while it holds the pace";
