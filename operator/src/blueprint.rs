//! What pods are made from, and the revision by which a pod tells which of it it was made from.

use flin_crds::{NodeSettings, Resources, Scheduling};
use k8s_openapi::api::apps::v1::StatefulSet;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The annotation of the StatefulSet with the image of nodes whose cluster names none. A newer operator has
/// another default, and must not restart anybody for it.
pub const ANNOTATION_DEFAULT_IMAGE: &str = "flin.io/default-image";
/// How much of the hash makes a revision: enough to tell a cluster's few apart.
const REVISION_BYTES: usize = 8;

/// Everything of a spec whose change means new pods.
///
/// Its JSON makes the revision: a field added later is left out of it where it has the value that pods had
/// before, so that no operator upgrade restarts a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blueprint {
    /// The image.
    pub image: String,
    /// What a node requests and may use.
    pub resources: Resources,
    /// The nodes' settings.
    pub config: NodeSettings,
    /// Where pods may run.
    pub scheduling: Scheduling,
}

impl Blueprint {
    /// The revision: equal for equal blueprints, with any operator.
    #[must_use]
    pub fn revision(&self) -> String {
        let json = serde_json::to_string(self).expect("it has only text keys, so it is JSON");
        hex::encode(&Sha256::digest(json)[..REVISION_BYTES])
    }
}

/// What volumes are made from. Kubernetes never takes another one for a StatefulSet that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeTemplate {
    /// The size, as it was written.
    pub size: String,
    /// The class; the default one when absent.
    pub class: Option<String>,
}

impl VolumeTemplate {
    /// What the volumes of a StatefulSet are made from.
    #[must_use]
    pub fn of(set: &StatefulSet) -> Option<Self> {
        let claim = set.spec.volume_claim_templates.as_ref()?.first()?.spec.as_ref()?;
        let size = claim.resources.as_ref()?.requests.as_ref()?.get("storage")?;
        Some(Self { size: size.0.clone(), class: claim.storage_class_name.clone() })
    }
}

/// The image that a StatefulSet's nodes have when their cluster names none.
#[must_use]
pub fn default_image(set: &StatefulSet) -> Option<&str> {
    set.metadata.annotations.as_ref()?.get(ANNOTATION_DEFAULT_IMAGE).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smallest() -> Blueprint {
        Blueprint {
            image: "flin-node:0.1.0".to_owned(),
            resources: Resources::default(),
            config: NodeSettings::default(),
            scheduling: Scheduling::default(),
        }
    }

    /// Fails when a new operator would restart the nodes of unchanged clusters: mend the operator, not the
    /// test.
    #[test]
    fn revision_of_an_unchanged_spec_never_changes() {
        assert_eq!(smallest().revision(), "b18bd83fe1425a21");
    }

    #[test]
    fn every_part_of_the_blueprint_is_in_the_revision() {
        let first = smallest().revision();
        let changes: [fn(&mut Blueprint); 4] = [
            |blueprint| blueprint.image = "flin-node:0.1.1".to_owned(),
            |blueprint| blueprint.resources.limits.clear(),
            |blueprint| blueprint.config.max_connections = Some(7),
            |blueprint| blueprint.scheduling.priority_class_name = Some("high".to_owned()),
        ];
        for change in changes {
            let mut other = smallest();
            change(&mut other);
            assert_ne!(other.revision(), first, "{other:?}");
        }
    }
}
