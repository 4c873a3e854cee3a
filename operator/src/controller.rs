//! The watches that say when to look at a cluster. They carry metadata only, of our own objects only;
//! what is there is read afresh in each pass. Secrets are not watched, so that the operator need not be
//! allowed to list them.

use std::sync::Arc;

use flin_crds::{FlinCluster, names};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::controller::{self, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tracing::{debug, warn};

use crate::reconcile::{self, Context, after_error, reconcile};

/// How many objects are read per page when a watch begins.
const PAGE_SIZE: u32 = 100;
/// Changes that come within this time make one pass.
const DEBOUNCE: std::time::Duration = std::time::Duration::from_millis(100);

/// Which objects are watched.
#[derive(Clone, Debug)]
pub struct Scope {
    /// In one namespace, or in all.
    pub namespace: Option<String>,
    /// How many clusters are looked at at the same time.
    pub concurrency: u16,
}

/// Watches and reconciles until it is dropped.
pub async fn run(context: Arc<Context>, scope: Scope) {
    let client = context.client.clone();
    let namespace = scope.namespace.as_deref();
    let (reader, writer) = reflector::store();
    let clusters = watcher(api::<FlinCluster>(&client, namespace), config())
        .default_backoff()
        .modify(|cluster| cluster.managed_fields_mut().clear())
        .reflect(writer)
        .applied_objects();
    let controller = Controller::for_stream(clusters, reader)
        .with_config(Config::default().concurrency(scope.concurrency).debounce(DEBOUNCE))
        .owns_stream(ours::<StatefulSet>(&client, namespace))
        .owns_stream(ours::<Service>(&client, namespace))
        .owns_stream(ours::<ConfigMap>(&client, namespace))
        .owns_stream(ours::<ServiceAccount>(&client, namespace))
        .owns_stream(ours::<PodDisruptionBudget>(&client, namespace))
        .watches_stream(ours::<Pod>(&client, namespace), |pod| {
            let cluster = pod.labels().get(names::LABEL_CLUSTER)?;
            Some(ObjectRef::new(cluster).within(&pod.namespace()?))
        });
    controller
        .run(reconcile, after_error, Arc::clone(&context))
        .for_each(|result| {
            if let Err(error) = result {
                note(&context, error);
            }
            std::future::ready(())
        })
        .await;
}

/// Changes and deletions of the metadata of objects that this operator made.
fn ours<K>(
    client: &Client,
    namespace: Option<&str>,
) -> impl futures::Stream<Item = Result<PartialObjectMeta<K>, watcher::Error>> + Send + 'static
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let labels = format!("{}={}", names::LABEL_MANAGED_BY, names::OPERATOR);
    watcher(api::<PartialObjectMeta<K>>(client, namespace), config().labels(&labels))
        .default_backoff()
        .touched_objects()
}

fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE_SIZE)
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn note(context: &Context, error: controller::Error<reconcile::Error, watcher::Error>) {
    match error {
        // A pass that failed was logged where its retry was planned.
        controller::Error::ReconcilerFailed(..) => {}
        controller::Error::ObjectNotFound(gone) => {
            debug!(cluster = %gone.name, "the cluster is gone");
            let namespace = gone.namespace.unwrap_or_default();
            context.ledger.forget(&namespace, &gone.name);
            context.failures.forget(&(namespace, gone.name));
        }
        other => warn!(error = %reconcile::chain(&other), "watch disturbed"),
    }
}
