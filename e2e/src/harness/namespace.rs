//! A namespace for one scenario: new at its beginning, gone after its end, described when it fails.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;

use super::condition::{Seen, await_condition};
use super::kubernetes::Kubernetes;
use super::story;

/// The label of every namespace made here.
const LABEL: &str = "flin.io/e2e=true";
/// How long a namespace may take to go away.
const REMOVAL: Duration = Duration::from_secs(120);

/// A namespace.
#[derive(Clone)]
pub(crate) struct Space {
    pub(crate) kubernetes: Kubernetes,
    pub(crate) name: String,
}

impl Space {
    /// The objects of one kind in it.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.kubernetes.api(&self.name)
    }

    /// Puts a client password where Jobs of this namespace find it, as that of `cluster`.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn copy_password(&self, cluster: &str, password: &str) -> Result<()> {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": format!("{cluster}-auth")},
            "stringData": {"client-password": password},
        }))?;
        self.api().create(&PostParams::default(), &secret).await.context("copy the password")?;
        Ok(())
    }
}

/// Runs `body` in a namespace of its own. What an earlier run left under the name is removed first.
///
/// # Errors
/// Those of `body`, with what was in the namespace at that moment.
pub(crate) async fn with_namespace<T>(
    kubernetes: &Kubernetes,
    name: &str,
    body: impl AsyncFnOnce(&Space) -> Result<T>,
) -> Result<T> {
    remove(kubernetes, name).await?;
    await_removal(kubernetes, name).await?;
    create(kubernetes, name).await.with_context(|| format!("make namespace {name}"))?;
    let space = Space { kubernetes: kubernetes.clone(), name: name.to_owned() };
    let result = body(&space).await;
    match result {
        Ok(value) => {
            remove(kubernetes, name).await?;
            Ok(value)
        }
        Err(error) => {
            let story = story::of_namespace(&space).await;
            if kubernetes.keep {
                return Err(error.context(format!("namespace {name} is kept\n{story}")));
            }
            remove(kubernetes, name).await.ok();
            Err(error.context(story))
        }
    }
}

/// Waits until every namespace made here is gone.
///
/// # Errors
/// When one stays.
pub(crate) async fn await_all_removed(kubernetes: &Kubernetes) -> Result<()> {
    let api: Api<Namespace> = Api::all(kubernetes.client.clone());
    await_condition("the namespaces of the tests are gone", REMOVAL, async || {
        let left = api.list_metadata(&ListParams::default().labels(LABEL)).await?.items;
        let names: Vec<_> = left.into_iter().filter_map(|n| n.metadata.name).collect();
        Ok(Seen::when(names.is_empty(), names.join(", ")))
    })
    .await
}

async fn create(kubernetes: &Kubernetes, name: &str) -> Result<()> {
    let (key, value) = LABEL.split_once('=').context("a label has a value")?;
    let namespace: Namespace =
        serde_json::from_value(json!({"metadata": {"name": name, "labels": {key: value}}}))?;
    let api: Api<Namespace> = Api::all(kubernetes.client.clone());
    api.create(&PostParams::default(), &namespace).await?;
    Ok(())
}

async fn remove(kubernetes: &Kubernetes, name: &str) -> Result<()> {
    let api: Api<Namespace> = Api::all(kubernetes.client.clone());
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error).with_context(|| format!("remove namespace {name}")),
    }
}

async fn await_removal(kubernetes: &Kubernetes, name: &str) -> Result<()> {
    let api: Api<Namespace> = Api::all(kubernetes.client.clone());
    await_condition(&format!("namespace {name} of an earlier run is gone"), REMOVAL, async || {
        let left = api.get_metadata_opt(name).await?;
        Ok(Seen::when(left.is_none(), "it is still being removed"))
    })
    .await
}
