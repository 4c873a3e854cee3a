//! Writes the status, always as a compare-and-set on the resource version of the object that the pass
//! began with: a pass that worked from an old view records nothing.

use flin_crds::{Bootstrap, FlinCluster, FlinClusterStatus};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::PostParams;
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt};
use tracing::warn;

use super::{Context, Error, chain};
use crate::status::{Happening, happenings};

/// Records a cluster's birth, and gives back the cluster as it is then.
pub(super) async fn bootstrap(
    context: &Context,
    cluster: &FlinCluster,
    bootstrap: Bootstrap,
) -> Result<FlinCluster, Error> {
    let mut status = cluster.status.clone().unwrap_or_default();
    status.bootstrap = Some(bootstrap);
    replace(context, cluster, status).await
}

/// Records a status if it says something new.
pub(super) async fn status(
    context: &Context,
    cluster: &FlinCluster,
    status: FlinClusterStatus,
) -> Result<(), Error> {
    if cluster.status.as_ref() != Some(&status) {
        replace(context, cluster, status).await?;
    }
    Ok(())
}

async fn replace(
    context: &Context,
    cluster: &FlinCluster,
    status: FlinClusterStatus,
) -> Result<FlinCluster, Error> {
    let happenings = happenings(cluster.status.as_ref(), &status);
    let namespace = cluster.namespace().unwrap_or_default();
    let api = Api::<FlinCluster>::namespaced(context.client.clone(), &namespace);
    let mut wanted = cluster.clone();
    wanted.metadata.managed_fields = None;
    wanted.status = Some(status);
    let written = api.replace_status(&cluster.name_any(), &PostParams::default(), &wanted).await;
    let stored = written.map_err(|error| match error {
        kube::Error::Api(status) if status.is_conflict() => Error::Conflict,
        // It was deleted, or made anew under the same name: the next pass sees that.
        kube::Error::Api(status) if status.is_not_found() => Error::Conflict,
        other => Error::Status(Box::new(other)),
    })?;
    context.metrics.wrote("FlinCluster");
    for happening in happenings {
        publish(context, cluster, happening).await;
    }
    Ok(stored)
}

/// Events are for people: one that cannot be published stops nothing.
async fn publish(context: &Context, cluster: &FlinCluster, happening: Happening) {
    // Events of one kind about different nodes must not be taken for repetitions of one.
    let node = happening.node.map(|name| ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(name),
        namespace: cluster.namespace(),
        ..ObjectReference::default()
    });
    let event = Event {
        type_: if happening.is_warning { EventType::Warning } else { EventType::Normal },
        reason: happening.reason,
        note: Some(happening.note),
        action: happening.action,
        secondary: node,
    };
    match context.recorder.publish(&event, &cluster.object_ref(&())).await {
        Ok(()) => context.metrics.wrote("Event"),
        Err(error) => warn!(error = %chain(&error), "event not published"),
    }
}
