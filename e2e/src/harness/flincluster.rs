//! A FlinCluster as a user sees it: what they apply, and what its status says.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use serde_json::{Value, json};

use super::condition::{Seen, await_condition};
use super::job::JobOptions;
use super::namespace::Space;

/// How long a small cluster may take until it serves, on a busy machine.
pub(crate) const FORMING: Duration = Duration::from_secs(150);

/// The FlinClusters of a namespace, untyped: these tests know what users know.
pub(crate) fn flinclusters(space: &Space) -> Api<DynamicObject> {
    let resource = resource();
    Api::namespaced_with(space.kubernetes.client.clone(), &space.name, &resource)
}

fn resource() -> ApiResource {
    ApiResource {
        group: "flin.io".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "flin.io/v1alpha1".to_owned(),
        kind: "FlinCluster".to_owned(),
        plural: "flinclusters".to_owned(),
    }
}

/// A cluster that three workers on two cores carry beside everything else.
pub(crate) fn small_spec() -> Value {
    json!({
        "replicas": 3,
        "partitions": 8,
        "storage": {"size": "1Gi"},
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "768Mi"}},
    })
}

/// A small spec with other fields.
pub(crate) fn small_spec_with(fields: Value) -> Value {
    let mut spec = small_spec();
    for (name, value) in fields.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    spec
}

/// One FlinCluster.
#[derive(Clone)]
pub(crate) struct FlinCluster {
    pub(crate) space: Space,
    pub(crate) name: String,
    pub(super) api: Api<DynamicObject>,
}

impl FlinCluster {
    /// A cluster that is there already, or not.
    pub(crate) fn named(space: &Space, name: &str) -> Self {
        Self { space: space.clone(), name: name.to_owned(), api: flinclusters(space) }
    }

    /// Creates the cluster.
    ///
    /// # Errors
    /// When the API server refuses the spec.
    pub(crate) async fn create(space: &Space, name: &str, spec: Value) -> Result<Self> {
        let cluster = Self::named(space, name);
        let object = DynamicObject::new(name, &resource()).data(json!({"spec": spec}));
        let created = cluster.api.create(&PostParams::default(), &object).await;
        created.with_context(|| format!("create FlinCluster {name}"))?;
        Ok(cluster)
    }

    /// Creates the cluster and waits until it serves.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) async fn create_available(space: &Space, name: &str, spec: Value) -> Result<Self> {
        let cluster = Self::create(space, name, spec).await?;
        cluster.await_available().await?;
        Ok(cluster)
    }

    /// `host:port` of its Service, inside its namespace.
    pub(crate) fn address(&self) -> String {
        format!("{}:6380", self.name)
    }

    /// `host:port` of its Service for administration, inside its namespace.
    pub(crate) fn admin_address(&self) -> String {
        format!("{}:6381", self.name)
    }

    /// A Job with the passwords of this cluster.
    pub(crate) fn job(&self, name: &str, args: Vec<String>) -> JobOptions {
        let password_secret = Some(self.secret());
        JobOptions { name: name.to_owned(), args, password_secret, ..JobOptions::default() }
    }

    /// The name of the Secret with its passwords.
    pub(crate) fn secret(&self) -> String {
        format!("{}-auth", self.name)
    }

    /// The object.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn get(&self) -> Result<DynamicObject> {
        self.api.get(&self.name).await.with_context(|| format!("read FlinCluster {}", self.name))
    }

    /// Changes fields of the spec.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn change(&self, spec: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.api.patch(&self.name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Changes the number of nodes as `kubectl scale` does.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn scale(&self, replicas: u32) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        self.api.patch_scale(&self.name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Deletes the object and waits until it and its pods are gone.
    ///
    /// # Errors
    /// When they stay.
    pub(crate) async fn delete(&self) -> Result<()> {
        self.api.delete(&self.name, &DeleteParams::default()).await.context("delete it")?;
        let patience = Duration::from_secs(90);
        await_condition("the FlinCluster and its pods are gone", patience, async || {
            let object = self.api.get_opt(&self.name).await?;
            let pods = self.pods().await?.len();
            let seen =
                format!("object {}, {pods} pods", if object.is_some() { "there" } else { "gone" });
            Ok(Seen::when(object.is_none() && pods == 0, seen))
        })
        .await
    }

    /// Its pods, by name.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub(crate) async fn pods(&self) -> Result<Vec<Pod>> {
        let label = ListParams::default().labels(&format!("flin.io/cluster={}", self.name));
        let mut pods = self.space.api::<Pod>().list(&label).await?.items;
        pods.sort_by_key(|pod| pod.metadata.name.clone());
        Ok(pods)
    }

    /// The pod of this name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn pod(&self, name: &str) -> Result<Pod> {
        self.space.api::<Pod>().get(name).await.with_context(|| format!("read pod {name}"))
    }

    /// The pod that leads the most partitions, as the status says.
    ///
    /// # Errors
    /// When the status names none.
    pub(crate) async fn leading_pod(&self) -> Result<Pod> {
        let status = self.get().await?.data;
        let members = status.pointer("/status/members").and_then(Value::as_array);
        let leading = members.into_iter().flatten().max_by_key(|m| m["leaders"].as_i64());
        let name = leading.and_then(|member| member["name"].as_str()).map(str::to_owned);
        let name = name.with_context(|| format!("no member leads: {}", summary(&status)))?;
        self.pod(&name).await
    }

    /// Waits until the cluster serves and every node is ready, for the present generation.
    ///
    /// # Errors
    /// When that takes longer than [`FORMING`].
    pub(crate) async fn await_available(&self) -> Result<Value> {
        self.await_status("it is Available with every node ready", FORMING, |object| {
            let (wanted, ready) = (&object["spec"]["replicas"], &object["status"]["readyReplicas"]);
            condition(object, "Available")["status"] == "True" && wanted == ready
        })
        .await
    }

    /// Waits for a condition with this status and reason; returns its message.
    ///
    /// # Errors
    /// When it does not come.
    pub(crate) async fn await_reason(
        &self,
        kind: &str,
        status: &str,
        reason: &str,
    ) -> Result<String> {
        let what = format!("its condition {kind} is {status} for the reason {reason}");
        let object = self.await_status(&what, Duration::from_secs(60), |object| {
            let condition = condition(object, kind);
            condition["status"] == status && condition["reason"] == reason
        });
        let object = object.await?;
        Ok(condition(&object, kind)["message"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the status speaks of the present generation and `holds`.
    ///
    /// # Errors
    /// When that takes longer than `patience`.
    pub(crate) async fn await_status(
        &self,
        what: &str,
        patience: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        await_condition(&format!("{}: {what}", self.name), patience, async || {
            let object = self.get().await?;
            let current = object.data["status"]["observedGeneration"].as_i64();
            let current = current.is_some() && current == object.metadata.generation;
            if current && holds(&object.data) {
                return Ok(Seen::Yes(object.data));
            }
            let old = if current { "" } else { "(of an earlier generation) " };
            Ok(Seen::NotYet(format!("{old}{}", summary(&object.data))))
        })
        .await
    }
}

/// A condition of the status; null when it is not there.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    found.unwrap_or(&Value::Null)
}

/// The status in one line.
pub(crate) fn summary(object: &Value) -> String {
    let status = &object["status"];
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut line = format!("phase {}, ready {}", word(&status["phase"]), word(&status["ready"]));
    for condition in status["conditions"].as_array().into_iter().flatten() {
        let [kind, state, reason, message] =
            ["type", "status", "reason", "message"].map(|field| word(&condition[field]));
        line += &format!("; {kind}={state} {reason} ({message})");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_in_one_line() {
        let object = json!({"status": {"phase": "Forming", "conditions": [
            {"type": "Available", "status": "False", "reason": "NodesStarting", "message": "1 of 3"},
        ]}});
        let line = "phase Forming, ready -; Available=False NodesStarting (1 of 3)";
        assert_eq!(summary(&object), line);
        assert_eq!(condition(&object, "Available")["status"], "False");
        assert_eq!(condition(&object, "Degraded"), &Value::Null);
    }
}
