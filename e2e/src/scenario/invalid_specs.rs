//! Specs that break a rule: the API server refuses each, in words that say which rule.

use anyhow::{Context, Result, bail, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::{DEMO, DEMO_NAMESPACE, FlinCluster, Kubernetes, Space, flinclusters};

/// What is wrong with a new cluster: a pointer into the object, the value there, words of the refusal.
fn creations() -> Vec<(&'static str, Value, &'static str)> {
    let long_name = "a-name-of-more-than-forty-characters-is-long";
    vec![
        ("/spec/replicas", json!(2), "replicas must be at least replicationFactor"),
        ("/spec/replicas", json!("three"), "expected numeric"),
        ("/spec/replicas", json!(101), "less than or equal to 100"),
        ("/spec/replicationFactor", json!(2), "Unsupported value: 2"),
        ("/spec/partitions", json!(0), "greater than or equal to 1"),
        ("/spec/partitions", json!(1_025), "less than or equal to 1024"),
        ("/spec/storage", Value::Null, "spec.storage: Required value"),
        ("/spec/storage/size", json!("10Mi"), "storage.size must be at least 1Gi"),
        ("/spec/storage/size", json!("plenty"), "spec.storage.size"),
        ("/spec/service", json!({"nodePorts": {"resp": 30_999}}), "service.nodePorts needs"),
        ("/spec/service", json!({"type": "Pigeon"}), "Unsupported value: \"Pigeon\""),
        ("/spec/auth", json!({}), "spec.auth.secretName"),
        ("/spec/replica", json!(3), "field not declared in schema"),
        ("/metadata/name", json!(long_name), "at most 40 characters"),
        ("/metadata/name", json!("1st"), "must begin with a letter"),
    ]
}

/// What cannot be changed about the demo cluster: a merge patch of its spec, words of the refusal.
fn changes() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"partitions": 128}), "partitions is fixed"),
        (json!({"replicationFactor": 5}), "replicas must be at least replicationFactor"),
        (json!({"storage": {"size": "1Gi"}}), "never shrinks"),
        (json!({"storage": {"storageClassName": "another"}}), "storageClassName is fixed"),
        (json!({"auth": {"secretName": "mine"}}), "auth cannot be added or removed"),
        (json!({"replicas": 2}), "replicas must be at least replicationFactor"),
    ]
}

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    let space = Space { kubernetes: kubernetes.clone(), name: DEMO_NAMESPACE.to_owned() };
    let good = good();
    create(&space, &good).await.context("a spec that breaks no rule")?;
    let creations = creations();
    for (pointer, value, words) in &creations {
        let mut object = good.clone();
        put(&mut object, pointer, value.clone())?;
        expect(&format!("{pointer}: {value}"), create(&space, &object).await, words)?;
    }
    let demo = FlinCluster::named(&space, DEMO);
    let generation = demo.get().await?.metadata.generation;
    let changes = changes();
    for (spec, words) in &changes {
        let (params, patch) = (dry_run(), Patch::Merge(json!({"spec": spec})));
        let changed = flinclusters(&space).patch(DEMO, &params, &patch).await;
        expect(&format!("the change {spec}"), changed.map(drop), words)?;
    }
    ensure!(demo.get().await?.metadata.generation == generation, "the demo cluster was changed");
    Ok(format!("{} specs refused with the reason", creations.len() + changes.len()))
}

fn good() -> Value {
    json!({
        "apiVersion": "flin.io/v1alpha1",
        "kind": "FlinCluster",
        "metadata": {"name": "refused"},
        "spec": {"replicas": 3, "storage": {"size": "2Gi"}},
    })
}

/// Puts a value where the pointer says, making the last step; null removes.
fn put(object: &mut Value, pointer: &str, value: Value) -> Result<()> {
    let (parent, field) = pointer.rsplit_once('/').context("a pointer has a slash")?;
    let parent = object.pointer_mut(parent).and_then(Value::as_object_mut);
    let parent = parent.with_context(|| format!("{pointer} leads nowhere"))?;
    match value {
        Value::Null => parent.remove(field),
        value => parent.insert(field.to_owned(), value),
    };
    Ok(())
}

/// Applies an object without keeping it.
async fn create(space: &Space, object: &Value) -> kube::Result<()> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let params = PatchParams { field_manager: Some("flin-e2e".to_owned()), ..dry_run() };
    flinclusters(space).patch(name, &params, &Patch::Apply(object)).await.map(drop)
}

fn dry_run() -> PatchParams {
    PatchParams { dry_run: true, ..PatchParams::default() }.validation_strict()
}

fn expect(what: &str, result: kube::Result<()>, words: &str) -> Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.message.contains(words) => Ok(()),
        Err(kube::Error::Api(status)) => {
            bail!("{what} was refused without the words {words:?}: {}", status.message)
        }
        Err(error) => Err(error).with_context(|| what.to_owned()),
        Ok(()) => bail!("{what} was accepted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_put_and_removed_by_its_pointer() {
        let mut object = good();
        put(&mut object, "/spec/replicas", json!(2)).expect("there");
        assert_eq!(object["spec"]["replicas"], 2);
        put(&mut object, "/spec/storage", Value::Null).expect("there");
        assert_eq!(object["spec"].get("storage"), None);
        assert!(put(&mut object, "/nowhere/at/all", json!(1)).is_err());
    }
}
