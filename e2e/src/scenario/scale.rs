//! A changed replica count is not possible yet: it is refused where a user looks, and nothing half happens.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;

use crate::harness::{FlinCluster, Kubernetes, condition, small_spec, with_namespace};

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_namespace(kubernetes, "e2e-scale", async |space| {
        let cluster = FlinCluster::create_available(space, "fixed", small_spec()).await?;
        let before: Vec<_> = uids(&cluster).await?;
        cluster.scale(4).await?;
        let message = cluster.await_reason("Progressing", "False", "ScalingNotSupported").await?;
        ensure!(message.contains('4') && message.contains('3'), "the message says only: {message}");
        let object = cluster.get().await?.data;
        let available = condition(&object, "Available");
        ensure!(available["status"] == "True", "it does not serve any more: {available}");
        let set = space.api::<StatefulSet>().get("fixed").await?;
        let replicas = set.spec.replicas;
        ensure!(replicas == Some(3), "the StatefulSet has {replicas:?} replicas");
        ensure!(uids(&cluster).await? == before, "pods were made or replaced");
        cluster.scale(3).await?;
        let what = "it is settled once the count is back";
        cluster
            .await_status(what, Duration::from_secs(60), |object| {
                condition(object, "Progressing")["reason"] == "Settled"
            })
            .await?;
        Ok(message)
    })
    .await
}

async fn uids(cluster: &FlinCluster) -> Result<Vec<Option<String>>> {
    Ok(cluster.pods().await?.into_iter().map(|pod| pod.metadata.uid).collect())
}
