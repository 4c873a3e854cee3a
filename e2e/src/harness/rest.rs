//! A time in which nothing may be written to the API, but the operator's lease.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::condition::{Seen, await_condition};
use super::kubernetes::Kubernetes;
use super::operator;

/// Kubernetes follows a new pod with writes of its own (EndpointSlices lag behind readiness): rest begins
/// once nothing was written for this long.
const SETTLED: Duration = Duration::from_secs(6);
/// How long that may take to come about.
const SETTLING: Duration = Duration::from_secs(90);
/// The collections in which nothing may change, by their path after the namespace.
const COLLECTIONS: [&str; 11] = [
    "apis/flin.io/v1alpha1/{ns}/flinclusters",
    "apis/apps/v1/{ns}/statefulsets",
    "apis/apps/v1/{ns}/deployments",
    "apis/policy/v1/{ns}/poddisruptionbudgets",
    "apis/discovery.k8s.io/v1/{ns}/endpointslices",
    "api/v1/{ns}/pods",
    "api/v1/{ns}/services",
    "api/v1/{ns}/configmaps",
    "api/v1/{ns}/secrets",
    "api/v1/{ns}/serviceaccounts",
    "api/v1/{ns}/persistentvolumeclaims",
];

/// A time of rest that has begun.
pub(crate) struct Rest {
    kubernetes: Kubernetes,
    namespaces: Vec<String>,
    before: Versions,
    begin: Instant,
    lease: Value,
}

impl Rest {
    /// Waits until nothing is written any more in these namespaces.
    ///
    /// # Errors
    /// When that does not come about.
    pub(crate) async fn begin(kubernetes: &Kubernetes, namespaces: &[&str]) -> Result<Self> {
        let namespaces: Vec<_> = namespaces.iter().map(|name| (*name).to_owned()).collect();
        let before = Versions::settled(kubernetes, &namespaces).await?;
        let lease = operator::lease(kubernetes).await?;
        let kubernetes = kubernetes.clone();
        Ok(Self { kubernetes, namespaces, before, begin: Instant::now(), lease })
    }

    /// Waits until it has lasted as long as it must and says so.
    ///
    /// # Errors
    /// When something was written meanwhile, or the lease was not.
    pub(crate) async fn end(self) -> Result<String> {
        let rest = self.kubernetes.rest;
        sleep_until(self.begin + rest).await;
        let after = Versions::read(&self.kubernetes, &self.namespaces).await?;
        let (changed, seconds) = (self.before.differences(&after), rest.as_secs());
        ensure!(changed.is_empty(), "written in {seconds} s of rest: {}", changed.join(", "));
        let renewed = operator::lease(&self.kubernetes).await?;
        ensure!(self.lease != renewed, "the operator's lease was not renewed: nobody leads");
        Ok(format!("{} objects unchanged for {seconds} s", self.before.0.len()))
    }
}

/// The version of every object and who wrote it last, by kind and name.
struct Versions(BTreeMap<String, (String, String)>);

impl Versions {
    /// The versions after [`SETTLED`] without a write.
    async fn settled(kubernetes: &Kubernetes, namespaces: &[String]) -> Result<Self> {
        await_condition("nothing is written any more", SETTLING, async || {
            let before = Self::read(kubernetes, namespaces).await?;
            sleep(SETTLED).await;
            let after = Self::read(kubernetes, namespaces).await?;
            let changed = before.differences(&after);
            Ok(if changed.is_empty() {
                Seen::Yes(after)
            } else {
                Seen::NotYet(format!("written: {}", changed.join(", ")))
            })
        })
        .await
    }

    async fn read(kubernetes: &Kubernetes, namespaces: &[String]) -> Result<Self> {
        let mut versions = BTreeMap::new();
        for namespace in namespaces {
            for collection in COLLECTIONS {
                let path = collection.replace("{ns}", &format!("namespaces/{namespace}"));
                let list = kubernetes.get(&format!("/{path}"), "application/json").await?;
                for item in list["items"].as_array().into_iter().flatten() {
                    let metadata = &item["metadata"];
                    let kind = collection.rsplit('/').next().unwrap_or(collection);
                    let name = metadata["name"].as_str().unwrap_or_default();
                    let version = metadata["resourceVersion"].as_str().unwrap_or_default();
                    let seen = (version.to_owned(), last_writer(metadata));
                    versions.insert(format!("{namespace}/{kind}/{name}"), seen);
                }
            }
        }
        Ok(Self(versions))
    }

    /// What `later` has in another version, or anew, or no longer, and who wrote it.
    fn differences(&self, later: &Self) -> Vec<String> {
        let written = later.0.iter().filter(|(name, seen)| self.0.get(*name) != Some(seen));
        let written = written.map(|(name, (_, writer))| format!("{name} by {writer}"));
        let gone = self.0.keys().filter(|name| !later.0.contains_key(*name));
        written.chain(gone.map(|name| format!("{name} is gone"))).collect()
    }
}

/// The field manager whose write is the newest.
fn last_writer(metadata: &Value) -> String {
    let writers = metadata["managedFields"].as_array().into_iter().flatten();
    let last = writers.max_by_key(|entry| entry["time"].as_str().unwrap_or_default().to_owned());
    let manager = last.and_then(|entry| entry["manager"].as_str());
    manager.unwrap_or("an unknown manager").to_owned()
}
