//! The peer: three members of etcd in the namespace of the benchmark.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use kube::api::PostParams;
use serde::Deserialize;
use serde_yaml::{Deserializer, Value};

use crate::harness::{Seen, Space, await_condition};

/// The manifest, which states what the comparison rests on.
const MANIFEST: &str = include_str!("../../peers/etcd.yaml");
const MEMBERS: i32 = 3;
/// How long the members may take to agree.
const START: Duration = Duration::from_secs(120);

/// The image that the manifest runs.
///
/// # Errors
/// When the manifest is not what this program expects.
pub(super) fn etcd_image() -> Result<String> {
    let image = objects()?.into_iter().find_map(|object| {
        object["spec"]["template"]["spec"]["containers"][0]["image"].as_str().map(str::to_owned)
    });
    image.context("the manifest of etcd names no image")
}

/// Starts the members and returns their URLs.
///
/// # Errors
/// When they do not become ready.
pub(super) async fn start_etcd(space: &Space) -> Result<Vec<String>> {
    for object in objects()? {
        match object["kind"].as_str() {
            Some("Service") => {
                let service: Service = serde_yaml::from_value(object)?;
                space.api().create(&PostParams::default(), &service).await?;
            }
            Some("StatefulSet") => {
                let set: StatefulSet = serde_yaml::from_value(object)?;
                space.api().create(&PostParams::default(), &set).await?;
            }
            kind => bail!("the manifest of etcd has an object of kind {kind:?}"),
        }
    }
    let sets = space.api::<StatefulSet>();
    await_condition("the members of etcd are ready", START, async || {
        let status = sets.get("etcd").await?.status.unwrap_or_default();
        let ready = status.ready_replicas.unwrap_or(0);
        Ok(Seen::when(ready == MEMBERS, format!("{ready} of {MEMBERS} are ready")))
    })
    .await?;
    Ok((0..MEMBERS).map(|member| format!("http://etcd-{member}.etcd:2379")).collect())
}

fn objects() -> Result<Vec<Value>> {
    let documents = Deserializer::from_str(MANIFEST).map(Value::deserialize);
    documents.collect::<Result<_, _>>().context("the manifest of etcd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_names_the_image_and_three_members() {
        assert!(etcd_image().expect("an image").starts_with("etcd:3."));
        let set = objects().expect("two objects").into_iter().nth(1).expect("a StatefulSet");
        let set: StatefulSet = serde_yaml::from_value(set).expect("a StatefulSet");
        assert_eq!(set.spec.replicas, Some(MEMBERS));
    }
}
