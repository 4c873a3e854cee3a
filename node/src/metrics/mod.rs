//! What a node counts, for `/metrics` in the OpenMetrics text format. Every name begins with `flin_`.
//!
//! Replication counts in [`CoreMetrics`], the balancer in [`RebalanceMetrics`]. The RESP ports count for
//! themselves, and [`front`] reads their counters when somebody asks, as [`process`] does with the operating
//! system.

mod front;
mod process;

use std::sync::Arc;

use flin_groups::metrics::CoreMetrics;
use flin_groups::rebalance::RebalanceMetrics;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::front::Stats;

/// Everything that a node counts, and the registry that shows it.
pub struct Metrics {
    /// What replication counts.
    pub core: CoreMetrics,
    /// What the balancer counts.
    pub rebalance: RebalanceMetrics,
    /// What the RESP ports count.
    pub front: Arc<Stats>,
    /// What [`crate::http::routes`] shows.
    pub registry: Arc<Registry>,
}

impl Metrics {
    /// Every counter at zero.
    pub fn new() -> Arc<Self> {
        let front = Arc::new(Stats::default());
        let mut registry = Registry::with_prefix("flin");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
        let core = CoreMetrics::register(&mut registry);
        let rebalance = RebalanceMetrics::register(&mut registry);
        registry.register_collector(Box::new(front::FrontCollector(front.clone())));
        registry.register_collector(Box::new(process::ProcessCollector));
        Arc::new(Metrics { core, rebalance, front, registry: Arc::new(registry) })
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn what_is_counted_is_shown_under_its_name() {
        let metrics = Metrics::new();
        let mut text = String::new();
        encode(&mut text, &metrics.registry).unwrap();
        for line in [
            "flin_build_info{version=",
            "flin_log_syncs_total 0\n",
            "flin_log_sync_seconds_count 0\n",
            "flin_process_resident_bytes ",
            "flin_rebalance_moving 0\n",
            "flin_rebalance_replicas_left 0\n",
            "flin_rebalance_bytes_left 0\n",
            "flin_rebalance_moves_finished_total 0\n",
            "flin_rebalance_moves_undone_total 0\n",
            "flin_data_bytes 0\n",
            "flin_front_connections 0\n",
            "flin_front_command_calls_total{command=\"get\"} 0\n",
            "flin_front_pipeline_seconds_bucket{le=\"+Inf\"} 0\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
