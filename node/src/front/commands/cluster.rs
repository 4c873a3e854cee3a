//! CLUSTER: the topology in the words of Redis Cluster.
//!
//! Every address is a member's port 6384, whichever port was asked. A partition without a known leader is
//! shown with its preferred one, because clients treat a missing slot as a broken cluster. Replicas are not
//! shown: every node leads some partitions and follows others, which clients that take a node for either a
//! master or a replica would get wrong, and every read is linearizable and so answered by the leader.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use flin_groups::requests::View;
use flin_resp::Value;
use flin_state::cluster::{ClusterState, Member};
use flin_state::ids::{NodeId, PartitionId};
use flin_state::slot::{SLOTS, slot_of, slots_of};

use crate::front::errors::{self, SYNTAX};

/// Answers `CLUSTER name`; `arguments` begin with the subcommand's name, their number is right.
pub(super) fn answer(view: &View, name: &str, arguments: &[Bytes]) -> Value {
    match name {
        "keyslot" => return Value::Integer(i64::from(slot_of(&arguments[1]))),
        "myid" => return Value::bulk(id(view.node)),
        "countkeysinslot" => {
            return errors::constant("ERR keys are not counted by slot; DBSIZE counts all of them");
        }
        "getkeysinslot" => {
            return errors::constant("ERR keys are not listed by slot; use SCAN");
        }
        _ => {}
    }
    let Some(cluster) = &view.cluster else {
        return errors::constant("LOADING this node does not know its cluster yet");
    };
    match name {
        "info" => info(view, cluster),
        "nodes" => nodes(view, cluster),
        "shards" => shards(view, cluster),
        "slots" => slots(view, cluster),
        _ => SYNTAX,
    }
}

/// Consecutive slots and the node that leads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    node: NodeId,
}

/// All slots in ascending order, as few ranges as possible.
fn ranges(view: &View, cluster: &ClusterState) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for partition in (0..cluster.partitions).map(PartitionId) {
        let known = view.leaders.get(usize::from(partition.0)).copied().flatten();
        let Some(node) = known.or_else(|| cluster.preferred_leader(partition.group())) else {
            continue;
        };
        let slots = slots_of(partition, cluster.partitions);
        match ranges.last_mut() {
            Some(range) if range.node == node && range.last + 1 == slots.start => {
                range.last = slots.end - 1;
            }
            _ => ranges.push(Range { first: slots.start, last: slots.end - 1, node }),
        }
    }
    ranges
}

fn ranges_by_node(view: &View, cluster: &ClusterState) -> BTreeMap<NodeId, Vec<Range>> {
    let mut by_node: BTreeMap<NodeId, Vec<Range>> = BTreeMap::new();
    for range in ranges(view, cluster) {
        by_node.entry(range.node).or_default().push(range);
    }
    by_node
}

fn slots(view: &View, cluster: &ClusterState) -> Value {
    let entry = |range: Range| {
        let member = cluster.members.get(&range.node)?;
        let (host, port) = client_address(member);
        Some(Value::Array(vec![
            Value::Integer(i64::from(range.first)),
            Value::Integer(i64::from(range.last)),
            Value::Array(vec![
                Value::bulk(host),
                Value::Integer(port),
                Value::bulk(id(range.node)),
                Value::Array(Vec::new()),
            ]),
        ]))
    };
    Value::Array(ranges(view, cluster).into_iter().filter_map(entry).collect())
}

fn shards(view: &View, cluster: &ClusterState) -> Value {
    let by_node = ranges_by_node(view, cluster);
    let shard = |(node, member): (&NodeId, &Member)| {
        let ranges = by_node.get(node)?;
        let ends =
            |range: &Range| [range.first, range.last].map(|slot| Value::Integer(slot.into()));
        let (host, port) = client_address(member);
        let fields = [
            ("id", Value::bulk(id(*node))),
            ("port", Value::Integer(port)),
            ("ip", Value::bulk(host.clone())),
            ("endpoint", Value::bulk(host)),
            ("role", Value::text("master")),
            ("replication-offset", Value::Integer(0)),
            ("health", Value::text("online")),
        ];
        let leader = Value::Map(fields.map(|(name, value)| (Value::text(name), value)).into());
        Some(Value::Map(vec![
            (Value::text("slots"), Value::Array(ranges.iter().flat_map(ends).collect())),
            (Value::text("nodes"), Value::Array(vec![leader])),
        ]))
    };
    Value::Array(cluster.members.iter().filter_map(shard).collect())
}

/// One line for each node: `id host:port@peer-port flags master ping pong epoch link slots...`
fn nodes(view: &View, cluster: &ClusterState) -> Value {
    let by_node = ranges_by_node(view, cluster);
    let mut lines = String::new();
    for (node, member) in &cluster.members {
        let (host, port) = client_address(member);
        let (_, peer_port) = split_address(&member.peer_address);
        let flags = if *node == view.node { "myself,master" } else { "master" };
        let id = id(*node);
        write!(
            lines,
            "{id} {host}:{port}@{peer_port} {flags} - 0 0 {} connected",
            cluster.revision
        )
        .expect(WRITES);
        for range in by_node.get(node).into_iter().flatten() {
            write!(lines, " {}-{}", range.first, range.last).expect(WRITES);
        }
        lines.push('\n');
    }
    Value::Verbatim(lines.into())
}

fn info(view: &View, cluster: &ClusterState) -> Value {
    let covered: u32 = (0..cluster.partitions)
        .filter(|p| view.leaders.get(usize::from(*p)).copied().flatten().is_some())
        .map(|p| slots_of(PartitionId(p), cluster.partitions).len() as u32)
        .sum();
    let all = u32::from(SLOTS);
    let state = if view.serving.is_ok() && covered == all { "ok" } else { "fail" };
    let mut text = String::new();
    for (name, value) in [
        ("cluster_enabled", "1".to_owned()),
        ("cluster_state", state.to_owned()),
        ("cluster_slots_assigned", all.to_string()),
        ("cluster_slots_ok", covered.to_string()),
        ("cluster_slots_pfail", "0".to_owned()),
        ("cluster_slots_fail", (all - covered).to_string()),
        ("cluster_known_nodes", cluster.members.len().to_string()),
        ("cluster_size", ranges_by_node(view, cluster).len().to_string()),
        ("cluster_current_epoch", cluster.revision.to_string()),
        ("cluster_my_epoch", cluster.revision.to_string()),
    ] {
        write!(text, "{name}:{value}\r\n").expect(WRITES);
    }
    Value::Verbatim(text.into())
}

const WRITES: &str = "writing to a string cannot fail";

/// A node's id as Redis Cluster writes one: 40 hexadecimal digits.
fn id(node: NodeId) -> String {
    format!("{:040x}", node.0)
}

fn client_address(member: &Member) -> (String, i64) {
    split_address(&member.client_address)
}

/// Host and port of `host:port`; the brackets around an IPv6 address are not part of it.
fn split_address(address: &str) -> (String, i64) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (host.to_owned(), port.parse().unwrap_or(0))
}
