//! The StatefulSet of the nodes. Parallel, because a cluster that lost all its pods needs a majority at
//! once to answer again; OnDelete, because Kubernetes must never restart a node on its own account.

use std::collections::BTreeMap;

use flin_crds::{RetainPolicy, names};
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::ObjectMeta;

use super::{Unwritable, metadata, pod};
use crate::plan::{ANNOTATION_BLUEPRINT, Settle};
use crate::validate::ValidatedCluster;

pub(super) fn statefulset(
    cluster: &ValidatedCluster,
    settle: &Settle,
) -> Result<StatefulSet, Unwritable> {
    let blueprint = serde_json::to_string(&settle.blueprint)
        .map_err(|source| Unwritable { what: "the pods' blueprint", source })?;
    let mut metadata = metadata(cluster, names::statefulset(&cluster.name));
    metadata.annotations = Some([(ANNOTATION_BLUEPRINT.to_owned(), blueprint)].into());
    let replicas = settle.bootstrap.members.len();
    Ok(StatefulSet {
        metadata,
        spec: StatefulSetSpec {
            replicas: Some(i32::try_from(replicas).expect("validation bounds it to 100")),
            service_name: Some(names::headless_service(&cluster.name)),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            persistent_volume_claim_retention_policy: Some(retention(cluster.retain)),
            selector: LabelSelector {
                match_labels: Some(names::selector(&cluster.name)),
                ..LabelSelector::default()
            },
            template: pod::template(cluster, &settle.blueprint),
            volume_claim_templates: Some(vec![volume_claim(settle)]),
            ..StatefulSetSpec::default()
        },
        status: None,
    })
}

/// What becomes of volumes when the StatefulSet goes; one that is only scaled never deletes any.
fn retention(policy: RetainPolicy) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    let when_deleted = match policy {
        RetainPolicy::Retain => "Retain",
        RetainPolicy::Delete => "Delete",
    };
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some(when_deleted.to_owned()),
        when_scaled: Some("Retain".to_owned()),
    }
}

/// The template of the volume claims. It says whose data the volumes hold, for a later adoption, and
/// must never change: Kubernetes takes no other one.
fn volume_claim(settle: &Settle) -> PersistentVolumeClaim {
    let (bootstrap, blueprint) = (&settle.bootstrap, &settle.blueprint);
    let annotations = BTreeMap::from([
        (names::ANNOTATION_CLUSTER_ID.to_owned(), bootstrap.cluster_id.clone()),
        (names::ANNOTATION_PARTITIONS.to_owned(), bootstrap.partitions.to_string()),
        (names::ANNOTATION_REPLICATION_FACTOR.to_owned(), bootstrap.replication_factor.to_string()),
    ]);
    let size = Quantity(blueprint.storage_size.clone());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(pod::VOLUME_DATA.to_owned()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size)].into()),
                limits: None,
            }),
            storage_class_name: blueprint.storage_class_name.clone(),
            volume_mode: Some("Filesystem".to_owned()),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
