//! What the nodes say about their cluster. Several are asked at the same time, because one of them may
//! be cut off from the others and know less.

use std::cmp::Reverse;

use flin_crds::names;
use futures::future::join_all;
use tracing::debug;

use super::Pod;
use crate::nodes::{Nodes, Password, Report};
use crate::reconcile::chain;

/// How many nodes of a cluster are asked in one pass.
const NODES_ASKED_MAX: usize = 5;

/// Asks the nodes and takes the answer that knows most; `None` when none of this cluster answers.
///
/// Pods are asked by the address Kubernetes reports, not by name: a name that did not resolve a moment
/// ago is remembered as absent by DNS for half a minute. An answer of another cluster is dropped.
pub(super) async fn ask(
    nodes: &dyn Nodes,
    cluster_id: &str,
    password: Option<&Password>,
    pods: &[Pod],
) -> Option<Report> {
    let password = password?;
    let mut asked: Vec<_> = pods.iter().filter(|pod| pod.ip.is_some()).collect();
    asked.sort_by_key(|pod| (!pod.ready, pod.ordinal));
    let addresses: Vec<_> = asked
        .into_iter()
        .take(NODES_ASKED_MAX)
        .filter_map(|pod| pod.ip.as_deref())
        .map(address)
        .collect();
    let answers = join_all(addresses.iter().map(|to| nodes.report(to, password))).await;
    let mut reports: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| {
            answer.inspect_err(|error| debug!(error = %chain(error), "no report")).ok()
        })
        .filter(|report| report.cluster_id == cluster_id)
        .collect();
    // The sort is stable: among equals the first ready node is believed, so that the status does not
    // change with the order of answers.
    reports.sort_by_key(|report| {
        (Reverse(report.revision), report.leaderless, report.under_replicated)
    });
    let lowest = reports
        .iter()
        .map(|report| report.version.clone())
        .filter(|version| !version.is_empty())
        .min_by_key(|version| numbers(version));
    let mut best = reports.into_iter().next()?;
    best.members.sort_by_key(|member| member.node_id);
    best.version = lowest.unwrap_or_default();
    Some(best)
}

/// Where a node's administration is reached.
#[must_use]
pub fn address(ip: &str) -> String {
    let port = names::PORT_GRPC;
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// The numbers of a version, for comparing.
fn numbers(version: &str) -> Vec<u64> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}
