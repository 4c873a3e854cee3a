//! INFO, CONFIG and TIME: what the node tells about itself.

use std::fmt::Write;

use bytes::Bytes;
use flin_groups::requests::View;
use flin_resp::Value;

use crate::front::errors;
use crate::front::{FrontOptions, Mode, Port};
use flin_state::read::matches;

/// The version of Redis whose replies and commands Flin's follow, for clients that ask which they may use.
const REDIS_VERSION: &str = "7.2.0";

/// Answers `CONFIG name`; `arguments` begin with the subcommand's name, their number is right.
pub(super) fn config(options: &FrontOptions, name: &str, arguments: &[Bytes]) -> Value {
    match name {
        "get" => get(options, &arguments[1..]),
        "resetstat" => {
            errors::constant("ERR CONFIG RESETSTAT is not supported: counters only grow")
        }
        "rewrite" => errors::constant(
            "ERR CONFIG REWRITE is not supported: the configuration belongs to whoever runs the node",
        ),
        _ => errors::constant(
            "ERR CONFIG SET is not supported: change the flag, environment variable or file and \
             restart the node",
        ),
    }
}

fn get(options: &FrontOptions, patterns: &[Bytes]) -> Value {
    let wanted =
        |name: &str| patterns.iter().any(|p| matches(&p.to_ascii_lowercase(), name.as_bytes()));
    let pairs = options.settings.iter().filter(|(name, _)| wanted(name));
    Value::Map(pairs.map(|(name, value)| (text(name), text(value))).collect())
}

fn text(text: &str) -> Value {
    Value::bulk(text.to_owned())
}

pub(super) fn time(options: &FrontOptions) -> Value {
    let now_ms = options.clock.now().0;
    Value::Array(vec![
        Value::bulk((now_ms / 1_000).to_string()),
        Value::bulk((now_ms % 1_000 * 1_000).to_string()),
    ])
}

/// `INFO [section ...]`
pub(super) fn info<R>(port: &Port<R>, view: &View, sections: &[Bytes]) -> Value {
    let everything = [&b"all"[..], b"default", b"everything"];
    let wanted = |name: &str| {
        sections.is_empty()
            || sections.iter().any(|section| {
                section.eq_ignore_ascii_case(name.as_bytes())
                    || everything.iter().any(|all| section.eq_ignore_ascii_case(all))
            })
    };
    let mut text = String::new();
    for (name, fields) in [
        ("Server", server(port, view)),
        ("Clients", clients(port)),
        ("Persistence", persistence(view)),
        ("Stats", stats(port)),
        ("Replication", vec![("role", "master".into()), ("connected_slaves", "0".into())]),
        ("Cluster", vec![("cluster_enabled", enabled(port).into())]),
        ("Flin", flin(view)),
        ("Commandstats", Vec::new()),
    ] {
        if !wanted(name) || (name == "Commandstats" && sections.is_empty()) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        line(&mut text, format_args!("# {name}"));
        for (field, value) in fields {
            line(&mut text, format_args!("{field}:{value}"));
        }
        if name == "Commandstats" {
            for counts in port.options.stats.commands().filter(|counts| counts.calls > 0) {
                let (name, calls, errors) = (counts.name, counts.calls, counts.errors);
                line(&mut text, format_args!("cmdstat_{name}:calls={calls},failed_calls={errors}"));
            }
        }
    }
    Value::Verbatim(text.into())
}

type Fields = Vec<(&'static str, String)>;

fn server<R>(port: &Port<R>, view: &View) -> Fields {
    let uptime_s = port.started.elapsed().as_secs();
    vec![
        ("redis_version", REDIS_VERSION.into()),
        ("flin_version", env!("CARGO_PKG_VERSION").into()),
        ("redis_mode", if enabled(port) == "1" { "cluster" } else { "standalone" }.into()),
        ("os", std::env::consts::OS.into()),
        ("arch_bits", usize::BITS.to_string()),
        ("process_id", std::process::id().to_string()),
        ("run_id", format!("{:040x}", view.node.0)),
        ("tcp_port", port.address.port().to_string()),
        ("uptime_in_seconds", uptime_s.to_string()),
        ("uptime_in_days", (uptime_s / 86_400).to_string()),
    ]
}

fn clients<R>(port: &Port<R>) -> Fields {
    vec![
        ("connected_clients", port.options.stats.connections().to_string()),
        ("maxclients", port.options.connections_max.to_string()),
    ]
}

fn persistence(view: &View) -> Fields {
    vec![
        ("loading", if view.serving.is_ok() { "0" } else { "1" }.into()),
        ("aof_enabled", "1".into()),
    ]
}

fn stats<R>(port: &Port<R>) -> Fields {
    let stats = &port.options.stats;
    let calls: u64 = stats.commands().map(|counts| counts.calls).sum();
    let errors: u64 = stats.commands().map(|counts| counts.errors).sum();
    vec![
        ("total_connections_received", stats.connections_accepted().to_string()),
        ("rejected_connections", stats.connections_refused().to_string()),
        ("total_commands_processed", calls.to_string()),
        ("total_error_replies", (errors + stats.unknown_commands()).to_string()),
        ("total_net_input_bytes", stats.input_bytes().to_string()),
        ("total_net_output_bytes", stats.output_bytes().to_string()),
    ]
}

fn flin(view: &View) -> Fields {
    let led = view.leaders.iter().filter(|leader| **leader == Some(view.node)).count();
    let leaderless = view.leaders.iter().filter(|leader| leader.is_none()).count();
    let mut fields = vec![
        ("node_id", view.node.to_string()),
        ("serving", if view.serving.is_ok() { "yes" } else { "no" }.into()),
    ];
    if let Some(cluster) = &view.cluster {
        fields.extend([
            ("cluster_id", cluster.cluster_id.to_string()),
            ("members", cluster.members.len().to_string()),
            ("partitions", cluster.partitions.to_string()),
            ("replication_factor", cluster.replication_factor.to_string()),
            ("partitions_led_here", led.to_string()),
            ("partitions_without_known_leader", leaderless.to_string()),
        ]);
    }
    fields
}

fn enabled<R>(port: &Port<R>) -> &'static str {
    match port.options.mode {
        Mode::Proxy => "0",
        Mode::Here => "1",
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    write!(text, "{line}\r\n").expect("writing to a string cannot fail");
}
