//! What was going on in a namespace when a scenario failed, so that nobody has to run it again to know.

use std::fmt::Write as _;

use anyhow::Result;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::Api;
use kube::api::{ListParams, LogParams};

use super::flincluster::{flinclusters, summary};
use super::namespace::Space;
use super::{OPERATOR, OPERATOR_NAMESPACE};

/// How many lines of each log, and how many events, are told.
const LOG_LINES: i64 = 15;
const EVENTS: usize = 15;

/// Everything worth knowing; what cannot be read says so.
pub(crate) async fn of_namespace(space: &Space) -> String {
    let mut story = format!("in namespace {} at that moment:", space.name);
    for part in [clusters(space).await, events(space).await, pods(space).await] {
        story.push_str(&part.unwrap_or_else(|error| format!("\n  (unknown: {error:#})")));
    }
    let operator = space.kubernetes.api::<Pod>(OPERATOR_NAMESPACE);
    let label = ListParams::default().labels(&format!("app.kubernetes.io/name={OPERATOR}"));
    let mut pods = operator.list(&label).await.map(|list| list.items).unwrap_or_default();
    if pods.is_empty() {
        // Whatever runs in the operator's namespace is the operator.
        let all = operator.list(&ListParams::default()).await;
        pods = all.map(|list| list.items).unwrap_or_default();
    }
    for pod in pods {
        story.push_str(&logs(&operator, &pod, false).await);
    }
    story
}

/// What the events told of a FlinCluster since a moment, in microseconds since 1970: reasons and messages, in
/// their order.
///
/// # Errors
/// When they cannot be listed.
pub(crate) async fn events_since(
    space: &Space,
    cluster: &str,
    from_us: u64,
) -> Result<Vec<(String, String)>> {
    let about = format!("involvedObject.kind=FlinCluster,involvedObject.name={cluster}");
    let about = ListParams::default().fields(&about);
    let mut events = space.api::<Event>().list(&about).await?.items;
    events.sort_by_key(last_us);
    // Some times are whole seconds, rounded down.
    let from_us = i64::try_from(from_us / 1_000_000 * 1_000_000)?;
    let told = events.into_iter().filter(|event| last_us(event) >= from_us);
    Ok(told.map(|e| (e.reason.unwrap_or_default(), e.message.unwrap_or_default())).collect())
}

/// When an event was last seen, microseconds since 1970.
fn last_us(event: &Event) -> i64 {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let times = [
        series.map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        event.last_timestamp.as_ref().map(|time| time.0),
    ];
    times.into_iter().flatten().max().map_or(0, |time| time.as_microsecond())
}

async fn clusters(space: &Space) -> Result<String> {
    let mut story = String::new();
    for cluster in flinclusters(space).list(&ListParams::default()).await? {
        let name = cluster.metadata.name.as_deref().unwrap_or_default();
        write!(story, "\n  FlinCluster {name}: {}", summary(&cluster.data))?;
    }
    Ok(story)
}

async fn events(space: &Space) -> Result<String> {
    let mut events = space.api::<Event>().list(&ListParams::default()).await?.items;
    events.sort_by_key(last_us);
    let mut story = String::new();
    for event in events.iter().rev().take(EVENTS).rev() {
        let (object, reason) = (&event.involved_object, event.reason.as_deref().unwrap_or("?"));
        let (kind, name) = (object.kind.as_deref(), object.name.as_deref());
        let message = event.message.as_deref().unwrap_or_default();
        write!(
            story,
            "\n  event {}/{} {reason}: {message}",
            kind.unwrap_or("?"),
            name.unwrap_or("?")
        )?;
    }
    Ok(story)
}

async fn pods(space: &Space) -> Result<String> {
    let api = space.api::<Pod>();
    let mut story = String::new();
    for pod in api.list(&ListParams::default()).await? {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("?");
        write!(story, "\n  pod {name}: {phase}")?;
        let containers = status.and_then(|status| status.container_statuses.as_deref());
        for container in containers.unwrap_or_default() {
            write!(story, ", {}", container_words(container))?;
        }
        story.push_str(&logs(&api, &pod, false).await);
        let restarted = containers.unwrap_or_default().iter().any(|c| c.restart_count > 0);
        if restarted {
            story.push_str(&logs(&api, &pod, true).await);
        }
    }
    Ok(story)
}

fn container_words(container: &ContainerStatus) -> String {
    let mut words = format!("ready={} restarts={}", container.ready, container.restart_count);
    if let Some(waiting) = container.state.as_ref().and_then(|state| state.waiting.as_ref()) {
        let message = waiting.message.as_deref().unwrap_or_default();
        words += &format!(" waiting: {} {message}", waiting.reason.as_deref().unwrap_or("?"));
    }
    if let Some(ended) = container.last_state.as_ref().and_then(|state| state.terminated.as_ref()) {
        let reason = ended.reason.as_deref().unwrap_or("?");
        words += &format!(" ended before: {reason}, exit code {}", ended.exit_code);
    }
    words
}

async fn logs(api: &Api<Pod>, pod: &Pod, previous: bool) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let options = LogParams { tail_lines: Some(LOG_LINES), previous, ..Default::default() };
    let when = if previous { " before its restart" } else { "" };
    match api.logs(name, &options).await {
        Ok(text) => {
            let lines: String = text.lines().map(|line| format!("\n    | {}", cut(line))).collect();
            format!("\n  log of {name}{when}:{lines}")
        }
        Err(error) => format!("\n  log of {name}{when}: {error}"),
    }
}

/// Long lines are histories; nobody reads them here.
fn cut(line: &str) -> String {
    line.chars().take(300).collect()
}
