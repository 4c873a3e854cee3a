//! The nodes' settings as the file they read at their start.

use std::fmt::Write;

use flin_crds::{LogLevel, NodeSettings, names};
use k8s_openapi::api::core::v1::ConfigMap;

use super::metadata;
use crate::plan::Settle;
use crate::validate::ValidatedCluster;

/// The key, and so the file's name.
pub(super) const FILE: &str = "flin.toml";

pub(super) fn config(cluster: &ValidatedCluster, settle: &Settle) -> ConfigMap {
    ConfigMap {
        metadata: metadata(cluster, names::config_map(&cluster.name)),
        data: Some([(FILE.to_owned(), toml(&settle.blueprint.config))].into()),
        ..ConfigMap::default()
    }
}

/// Settings that are absent are left to the node.
fn toml(settings: &NodeSettings) -> String {
    let NodeSettings {
        log_level,
        max_connections,
        max_request_bytes,
        block_cache_bytes,
        write_buffer_bytes,
        log_budget_bytes,
    } = settings;
    let numbers = [
        ("max_connections", max_connections.map(i64::from)),
        ("max_request_bytes", *max_request_bytes),
        ("block_cache_bytes", *block_cache_bytes),
        ("write_buffer_bytes", *write_buffer_bytes),
        ("log_budget_bytes", *log_budget_bytes),
    ];
    let mut text = String::from("# Written by flin-operator from spec.config.\n");
    if let Some(level) = log_level {
        let word = match level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        };
        text += &format!("log_level = \"{word}\"\n");
    }
    for (key, number) in numbers {
        if let Some(number) = number {
            writeln!(text, "{key} = {number}").expect("a String takes every write");
        }
    }
    text
}
