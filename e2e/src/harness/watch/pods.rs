//! The pods of a cluster as they come and go.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;

/// Pods by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pods {
    /// The uid of each and whether it is ready.
    there: BTreeMap<String, (String, bool)>,
    /// Every uid that a name had.
    pub(crate) uids: BTreeMap<String, BTreeSet<String>>,
    /// The most pods that were not ready or not there at one moment, of all the names that were seen.
    pub(crate) missing_max: usize,
}

impl Pods {
    /// The names of those that are ready.
    pub(super) fn ready(&self) -> BTreeSet<&str> {
        let ready = self.there.iter().filter(|(_, (_, ready))| *ready);
        ready.map(|(name, _)| name.as_str()).collect()
    }

    /// Forgets what was, but not what is.
    pub(super) fn forget(&mut self) {
        let one = |(name, (uid, _)): (&String, &(String, bool))| {
            (name.clone(), BTreeSet::from([uid.clone()]))
        };
        self.uids = self.there.iter().map(one).collect();
        self.missing_max = 0;
    }

    pub(super) fn take(&mut self, event: Event<Pod>) {
        match event {
            Event::Apply(pod) | Event::InitApply(pod) => {
                let name = pod.metadata.name.clone().unwrap_or_default();
                let uid = pod.metadata.uid.clone().unwrap_or_default();
                self.uids.entry(name.clone()).or_default().insert(uid.clone());
                self.there.insert(name, (uid, is_ready(&pod)));
            }
            Event::Delete(pod) => {
                self.there.remove(pod.metadata.name.as_deref().unwrap_or_default());
            }
            // The list that begins anew tells every pod that is there.
            Event::Init => self.there.clear(),
            Event::InitDone => {}
        }
        self.missing_max = self.missing_max.max(self.uids.len() - self.ready().len());
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, uid: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": uid},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .expect("a pod")
    }

    #[test]
    fn a_pod_made_anew_has_two_uids_and_was_missing_once() {
        let mut pods = Pods::default();
        pods.take(Event::Apply(pod("a", "1", "True")));
        pods.take(Event::Apply(pod("b", "1", "True")));
        pods.forget();
        pods.take(Event::Delete(pod("a", "1", "True")));
        pods.take(Event::Apply(pod("a", "2", "False")));
        pods.take(Event::Apply(pod("a", "2", "True")));
        let uids = |name: &str| pods.uids[name].len();
        assert_eq!((uids("a"), uids("b"), pods.missing_max), (2, 1, 1));
        assert_eq!(pods.ready(), BTreeSet::from(["a", "b"]));
    }
}
