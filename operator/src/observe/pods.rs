//! The pods of the StatefulSet, reduced to what decisions and status need.

use flin_crds::names;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, Pod as KubePod};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;

use super::{At, Error};
use crate::validate::ValidatedCluster;

/// With this code a node ends when its disk is not what it must be: empty in a cluster that is formed,
/// or another cluster's.
const EXIT_REFUSES_DISK: i32 = 78;
/// How much of a node's last words is repeated in the status.
const LAST_WORDS_CHARS_MAX: usize = 240;

/// One pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its number in the StatefulSet.
    pub ordinal: u32,
    /// What tells it from earlier and later pods of its name.
    pub uid: String,
    /// The revision of what it was made from.
    pub revision: Option<String>,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Its address.
    pub ip: Option<String>,
    /// Whether it serves clients.
    pub ready: bool,
    /// Since when it does not, or has not yet.
    pub unready_since: Option<Timestamp>,
    /// The last words of a node that refused its disk.
    pub refuses_disk: Option<String>,
    /// What keeps it from running, as Kubernetes says.
    pub waits_for: Option<String>,
}

pub(super) async fn read(
    (client, namespace): At<'_>,
    cluster: &ValidatedCluster,
    statefulset: Option<&StatefulSet>,
) -> Result<Vec<Pod>, Error> {
    let Some(owner) = statefulset.and_then(|set| set.metadata.uid.as_deref()) else {
        return Ok(Vec::new());
    };
    let api = Api::<KubePod>::namespaced(client.clone(), namespace);
    let selector = format!("{}={}", names::LABEL_CLUSTER, cluster.name);
    let all = api.list(&ListParams::default().labels(&selector)).await.map_err(|source| Error {
        kind: "Pods",
        name: format!("of {}", cluster.name),
        source,
    })?;
    let mut pods: Vec<_> = all
        .items
        .iter()
        .filter(|pod| is_owned_by(pod, owner))
        .filter_map(|pod| reduce(&cluster.name, pod))
        .collect();
    pods.sort_by_key(|pod| pod.ordinal);
    Ok(pods)
}

fn is_owned_by(pod: &KubePod, owner: &str) -> bool {
    pod.metadata.owner_references.iter().flatten().any(|reference| reference.uid == owner)
}

fn reduce(cluster: &str, pod: &KubePod) -> Option<Pod> {
    let name = pod.metadata.name.clone()?;
    let ordinal = names::pod_ordinal(cluster, &name)?;
    let annotations = pod.metadata.annotations.as_ref();
    let status = pod.status.as_ref();
    let conditions = || status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let readiness = conditions().find(|condition| condition.type_ == "Ready");
    let ready = !terminating && readiness.is_some_and(|condition| condition.status == "True");
    let unready_since = readiness
        .and_then(|condition| condition.last_transition_time.as_ref())
        .or(pod.metadata.creation_timestamp.as_ref())
        .map(|time| time.0);
    let container = status
        .and_then(|status| status.container_statuses.as_ref())
        .and_then(|containers| containers.first());
    let now = container.and_then(|container| container.state.as_ref());
    let before = container.and_then(|container| container.last_state.as_ref());
    let refuses_disk =
        (!ready).then(|| refusal(now).or_else(|| refusal(before))).flatten().map(last_words);
    let unschedulable = conditions().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.reason.as_deref() == Some("Unschedulable")
            && condition.status == "False"
    });
    let waits_for = now
        .and_then(|state| state.waiting.as_ref())
        .and_then(|waiting| waiting.reason.clone())
        .filter(|reason| reason != "ContainerCreating" && reason != "PodInitializing")
        .map(lasting)
        .or_else(|| unschedulable.map(|_| "Unschedulable".to_owned()));
    Some(Pod {
        name,
        ordinal,
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        revision: annotations.and_then(|all| all.get(names::ANNOTATION_REVISION)).cloned(),
        terminating,
        ip: status.and_then(|status| status.pod_ip.clone()).filter(|ip| !ip.is_empty()),
        ready,
        unready_since: unready_since.filter(|_| !ready),
        refuses_disk,
        waits_for,
    })
}

/// Kubernetes alternates between a failure and the wait for the next try: one word for both, or the status
/// would change with every try.
fn lasting(reason: String) -> String {
    match reason.as_str() {
        "ErrImagePull" => "ImagePullBackOff".to_owned(),
        _ => reason,
    }
}

fn refusal(state: Option<&ContainerState>) -> Option<&ContainerStateTerminated> {
    state?.terminated.as_ref().filter(|ended| ended.exit_code == EXIT_REFUSES_DISK)
}

/// Why the node ended, out of the last line it logged: `<time> ERROR ...: node ended reason="..."`. The
/// time is left out, or the status would change with every restart.
fn last_words(ended: &ContainerStateTerminated) -> String {
    let logged = ended.message.as_deref().unwrap_or_default();
    let line = logged.lines().map(str::trim).rfind(|line| !line.is_empty());
    let reason = line.map(|line| match line.split_once("reason=\"") {
        Some((_, reason)) => reason.trim_end_matches('"'),
        None => line,
    });
    match reason {
        Some(reason) => reason.chars().take(LAST_WORDS_CHARS_MAX).collect(),
        None => "the node refuses its disk".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        let json = json!({"metadata": {"name": "demo-2"}, "status": status});
        let pod = serde_json::from_value(json).expect("it is a pod");
        reduce("demo", &pod).expect("it is one of demo")
    }

    #[test]
    fn node_that_refused_its_disk_is_heard_between_restarts() {
        let ended = json!({"terminated": {
            "exitCode": 78, "message": "starting\n2026-01-01T00:00:00Z ERROR flin_node: node ended exit_code=78 \
                        reason=\"this member's data is gone\"\n"}});
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let container = json!({"name": "node", "image": "", "imageID": "", "ready": false,
            "restartCount": 1, "state": waiting, "lastState": ended});
        let pod = pod(json!({"podIP": "10.1.2.3", "containerStatuses": [container]}));
        assert_eq!(pod.refuses_disk.as_deref(), Some("this member's data is gone"));
        assert_eq!(pod.waits_for.as_deref(), Some("CrashLoopBackOff"));
        assert_eq!((pod.ordinal, pod.ip.as_deref()), (2, Some("10.1.2.3")));
    }

    #[test]
    fn ready_node_refuses_nothing_whatever_happened_before() {
        let ended = json!({"terminated": {"exitCode": 78}});
        let container = json!({"name": "node", "image": "", "imageID": "", "ready": true,
            "restartCount": 1, "lastState": ended});
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let pod = pod(json!({"conditions": ready, "containerStatuses": [container]}));
        assert!(pod.ready);
        assert_eq!(pod.refuses_disk, None);
    }
}
