//! The counters of the RESP ports, read when somebody asks.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::front::{LATENCY_BOUNDS_US, Stats};

/// Shows what the RESP ports of a node count.
#[derive(Debug)]
pub(super) struct FrontCollector(pub(super) Arc<Stats>);

impl Collector for FrontCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let stats = &self.0;
        let open = i64::try_from(stats.connections()).unwrap_or(i64::MAX);
        let gauge = MetricType::Gauge;
        ConstGauge::new(open).encode(encoder.encode_descriptor(
            "front_connections",
            "Connections of RESP clients that are open",
            None,
            gauge,
        )?)?;
        for (name, help, count) in self.totals() {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(family)?;
        }
        self.encode_commands(&mut encoder)?;
        self.encode_latency(&mut encoder)
    }
}

impl FrontCollector {
    fn totals(&self) -> [(&'static str, &'static str, u64); 7] {
        let stats = &self.0;
        [
            ("front_connections_accepted", "Connections accepted", stats.connections_accepted()),
            ("front_connections_refused", "Connections too many", stats.connections_refused()),
            ("front_unknown_commands", "Requests with no such command", stats.unknown_commands()),
            ("front_protocol_errors", "Connections ended for bad RESP", stats.protocol_errors()),
            ("front_wrong_passwords", "Failed authentications", stats.wrong_passwords()),
            ("front_input_bytes", "Bytes received", stats.input_bytes()),
            ("front_output_bytes", "Bytes sent", stats.output_bytes()),
        ]
    }

    fn encode_commands(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        type Count = fn(&crate::front::CommandCounts) -> u64;
        let families: [(&str, &str, Count); 2] = [
            ("front_command_calls", "Calls by command", |counts| counts.calls),
            ("front_command_errors", "Calls answered with an error", |counts| counts.errors),
        ];
        for (name, help, count) in families {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for counts in self.0.commands() {
                let label = [("command", counts.name)];
                ConstCounter::new(count(&counts)).encode(family.encode_family(&label)?)?;
            }
        }
        Ok(())
    }

    fn encode_latency(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let latency = self.0.latency();
        let bounds = LATENCY_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(latency.buckets).collect();
        encoder
            .encode_descriptor(
                "front_pipeline_seconds",
                "Seconds from a decoded pipeline to its answers",
                None,
                MetricType::Histogram,
            )?
            .encode_histogram::<NoLabelSet>(
                latency.sum_us as f64 / 1e6,
                latency.buckets.iter().sum(),
                &buckets,
                None,
            )
    }
}
