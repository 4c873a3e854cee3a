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

use super::{metadata, pod};
use crate::blueprint::ANNOTATION_DEFAULT_IMAGE;
use crate::plan::Settle;
use crate::validate::ValidatedCluster;

pub(super) fn statefulset(cluster: &ValidatedCluster, settle: &Settle) -> StatefulSet {
    let mut metadata = metadata(cluster, names::statefulset(&cluster.name));
    let default_image = (ANNOTATION_DEFAULT_IMAGE.to_owned(), settle.default_image.clone());
    metadata.annotations = Some([default_image].into());
    let replicas = i32::try_from(settle.scale.replicas).unwrap_or(i32::MAX);
    StatefulSet {
        metadata,
        spec: StatefulSetSpec {
            replicas: Some(replicas),
            service_name: Some(names::headless_service(&cluster.name)),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            persistent_volume_claim_retention_policy: Some(retention(cluster)),
            selector: LabelSelector {
                match_labels: Some(names::selector(&cluster.name)),
                ..LabelSelector::default()
            },
            template: pod::template(cluster, &settle.blueprint),
            volume_claim_templates: Some(vec![volume_claim(settle)]),
            ..StatefulSetSpec::default()
        },
        status: None,
    }
}

/// What becomes of volumes when the StatefulSet goes, and of those of pods that are scaled away: by then no
/// member has data on them.
fn retention(cluster: &ValidatedCluster) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    let word = |policy| match policy {
        RetainPolicy::Retain => Some("Retain".to_owned()),
        RetainPolicy::Delete => Some("Delete".to_owned()),
    };
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: word(cluster.retain),
        when_scaled: word(cluster.on_scale_down),
    }
}

/// The template of the volume claims. It says whose data the volumes hold, for a later adoption, and
/// must never change: Kubernetes takes no other one.
fn volume_claim(settle: &Settle) -> PersistentVolumeClaim {
    let (bootstrap, volume) = (&settle.bootstrap, &settle.volume);
    let annotations = BTreeMap::from([
        (names::ANNOTATION_CLUSTER_ID.to_owned(), bootstrap.cluster_id.clone()),
        (names::ANNOTATION_PARTITIONS.to_owned(), bootstrap.partitions.to_string()),
        (names::ANNOTATION_REPLICATION_FACTOR.to_owned(), bootstrap.replication_factor.to_string()),
    ]);
    let size = Quantity(volume.size.clone());
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
            storage_class_name: volume.class.clone(),
            volume_mode: Some("Filesystem".to_owned()),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
