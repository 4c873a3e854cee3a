//! The volume claims that an earlier cluster of the same name may have left behind. They are found by
//! name, as a StatefulSet finds them, and not by labels, which anybody may have changed.

use flin_crds::names;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;

use super::{At, Error};
use crate::validate::ValidatedCluster;

/// A volume claim that a pod of this cluster would be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// Whose pod it would be given to.
    pub ordinal: u32,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// The cluster whose data it holds, as far as it says.
    pub cluster_id: Option<String>,
    /// The number of partitions of that cluster.
    pub partitions: Option<u32>,
}

pub(super) async fn read(
    (client, namespace): At<'_>,
    cluster: &ValidatedCluster,
) -> Result<Vec<Claim>, Error> {
    let api = Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace);
    let all = api.list_metadata(&ListParams::default()).await.map_err(|source| Error {
        kind: "PersistentVolumeClaims",
        name: format!("of namespace {namespace}"),
        source,
    })?;
    let mut claims: Vec<_> =
        all.items.into_iter().filter_map(|claim| named_alike(&cluster.name, claim)).collect();
    claims.sort_by_key(|claim| claim.ordinal);
    Ok(claims)
}

fn named_alike(cluster: &str, claim: PartialObjectMeta<PersistentVolumeClaim>) -> Option<Claim> {
    let name = claim.metadata.name?;
    let ordinal = names::volume_claim_ordinal(cluster, &name)?;
    let annotations = claim.metadata.annotations.unwrap_or_default();
    let number = |key: &str| annotations.get(key).and_then(|written| written.parse().ok());
    Some(Claim {
        name,
        ordinal,
        terminating: claim.metadata.deletion_timestamp.is_some(),
        cluster_id: annotations.get(names::ANNOTATION_CLUSTER_ID).cloned(),
        partitions: number(names::ANNOTATION_PARTITIONS),
    })
}
