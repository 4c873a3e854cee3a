//! The kind cluster, reached as a user reaches it: by its context in the kubeconfig.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config};
use serde_json::Value;

use super::{DEMO, DEMO_NAMESPACE};

/// How long nothing may be written in a time of rest, unless there is more time.
const REST: Duration = Duration::from_secs(60);

/// A client, and the image that our Jobs run.
#[derive(Clone)]
pub(crate) struct Kubernetes {
    pub(crate) client: Client,
    pub(crate) image: String,
    /// Whether namespaces of failed scenarios stay.
    pub(crate) keep: bool,
    /// How long nothing may be written in a time of rest.
    pub(crate) rest: Duration,
}

impl Kubernetes {
    /// Connects to the cluster of a kubeconfig context.
    ///
    /// # Errors
    /// When there is no such context or no answer.
    pub(crate) async fn connect(context: &str, image: String, keep: bool) -> Result<Self> {
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..Default::default() };
        let hint =
            || format!("use the context {context} of the kubeconfig; `cargo xtask up` makes it");
        let config = Config::from_kubeconfig(&options).await.with_context(hint)?;
        let client = Client::try_from(config).with_context(hint)?;
        client.apiserver_version().await.with_context(hint)?;
        Ok(Self { client, image, keep, rest: REST })
    }

    /// The objects of one kind in a namespace.
    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The clients' password of a FlinCluster, from the Secret that the operator made.
    ///
    /// # Errors
    /// When the Secret or its key is missing.
    pub(crate) async fn password(&self, namespace: &str, cluster: &str) -> Result<String> {
        let name = format!("{cluster}-auth");
        let secret = self.api::<Secret>(namespace).get(&name).await;
        let secret = secret.with_context(|| format!("read Secret {name} in {namespace}"))?;
        let data = secret.data.unwrap_or_default();
        let password = data.get("client-password");
        let password = password.with_context(|| format!("Secret {name} has no client-password"))?;
        String::from_utf8(password.0.clone()).context("the client password is text")
    }

    /// The password of the demo cluster.
    ///
    /// # Errors
    /// As [`Kubernetes::password`].
    pub(crate) async fn demo_password(&self) -> Result<String> {
        self.password(DEMO_NAMESPACE, DEMO).await
    }

    /// A `GET` of any path of the API.
    ///
    /// # Errors
    /// When the answer is not a success or not JSON.
    pub(crate) async fn get(&self, path: &str, accept: &str) -> Result<Value> {
        let request = http::Request::get(path).header(http::header::ACCEPT, accept);
        let request = request.body(Vec::new()).with_context(|| format!("the path {path}"))?;
        self.client.request(request).await.with_context(|| format!("GET {path}"))
    }
}
