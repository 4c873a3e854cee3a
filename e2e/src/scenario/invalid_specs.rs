//! Specs that break a rule: the API server refuses each, in words that say which rule.

use anyhow::{Context, Result, bail, ensure};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde::Deserialize;
use serde_json::{Value, json};
use serde_yaml::Deserializer;

use crate::harness::{DEMO, DEMO_NAMESPACE, FlinCluster, Kubernetes, Space, flinclusters};

/// What is committed for people to begin with.
const EXAMPLES: [(&str, &str); 2] = [
    ("examples/flincluster.yaml", include_str!("../../../examples/flincluster.yaml")),
    ("examples/hpa.yaml", include_str!("../../../examples/hpa.yaml")),
];

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
    let examples = examples(kubernetes).await?;
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
    let refused = creations.len() + changes.len();
    Ok(format!("{refused} specs refused with the reason, {examples} objects of the examples taken"))
}

/// Applies what is in the examples without keeping it; returns how many objects that were.
async fn examples(kubernetes: &Kubernetes) -> Result<usize> {
    let mut count = 0;
    for (file, text) in EXAMPLES {
        for document in Deserializer::from_str(text) {
            let object = Value::deserialize(document).with_context(|| format!("read {file}"))?;
            take(kubernetes, &object).await.with_context(|| format!("apply {file}"))?;
            count += 1;
        }
    }
    Ok(count)
}

/// Applies an object of any kind, as `kubectl apply --server-side --dry-run=server` does.
async fn take(kubernetes: &Kubernetes, object: &Value) -> Result<()> {
    let word = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let (version, kind) = word("/apiVersion").zip(word("/kind")).context("it names its kind")?;
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let client = kubernetes.client.clone();
    let api: Api<DynamicObject> = match word("/metadata/namespace") {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let name = word("/metadata/name").context("it has a name")?;
    // Whoever applied the example before keeps its fields: this asks only whether they would be taken.
    let params = PatchParams { field_manager: Some("flin-e2e".to_owned()), ..dry_run() }.force();
    let taken = api.patch(name, &params, &Patch::Apply(object)).await;
    taken.map(drop).with_context(|| format!("{kind} {name}"))
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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_example_is_tried() {
        let package = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
        let folder = std::path::Path::new(&package).join("../examples");
        let files = std::fs::read_dir(folder).expect("there are examples");
        let names = files.map(|file| file.expect("it can be read").file_name());
        let there: BTreeSet<_> =
            names.map(|name| format!("examples/{}", name.to_string_lossy())).collect();
        let tried = EXAMPLES.iter().map(|(file, _)| (*file).to_owned());
        assert_eq!(tried.collect::<BTreeSet<_>>(), there);
    }

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
