//! Changes of the spec that cannot be carried out yet. They are refused in words, all of them and
//! altogether: what runs stays exactly as it was made.

use flin_crds::{Bootstrap, reason};

use super::ANNOTATION_BLUEPRINT;
use crate::observe::Observed;
use crate::validate::{Blueprint, ValidatedCluster};

/// A change that is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Another number of nodes.
    Scaling {
        /// How many there are.
        have: u32,
        /// How many are asked for.
        want: u32,
    },
    /// Another size of volumes.
    StorageResize {
        /// The size they have.
        have: String,
        /// The size asked for.
        want: String,
    },
    /// Other pods.
    Rollout {
        /// The part of the spec that changed.
        field: &'static str,
    },
}

impl Refusal {
    /// The reason for the condition.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Scaling { .. } => reason::SCALING_NOT_SUPPORTED,
            Self::StorageResize { .. } => reason::STORAGE_RESIZE_NOT_SUPPORTED,
            Self::Rollout { .. } => reason::ROLLOUT_NOT_SUPPORTED,
        }
    }

    /// The refusal in words, with the remedy.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Scaling { have, want } => format!(
                "spec.replicas is {want} and the cluster has {have} nodes: changing the number of nodes \
                 is not supported yet, nothing was changed; set it back to {have}"
            ),
            Self::StorageResize { have, want } => format!(
                "spec.storage.size is {want} and the volumes have {have}: growing volumes is not \
                 supported yet, nothing was changed"
            ),
            Self::Rollout { field } => format!(
                "{field} differs from what the pods were made from: changing it under a running \
                 cluster is not supported yet, nothing was changed"
            ),
        }
    }
}

/// What the pods that run were made from.
pub(super) fn running_blueprint(observed: &Observed) -> Option<Blueprint> {
    let set = observed.statefulset.as_ref()?;
    let written = set.metadata.annotations.as_ref()?.get(ANNOTATION_BLUEPRINT)?;
    serde_json::from_str(written).ok()
}

pub(super) fn of_scale(cluster: &ValidatedCluster, bootstrap: &Bootstrap) -> Option<Refusal> {
    let have = u32::try_from(bootstrap.members.len()).unwrap_or(u32::MAX);
    (have != cluster.replicas).then_some(Refusal::Scaling { have, want: cluster.replicas })
}

pub(super) fn of_blueprint(cluster: &ValidatedCluster, running: &Blueprint) -> Vec<Refusal> {
    let wanted = &cluster.blueprint;
    let mut refusals = Vec::new();
    if wanted.storage_size != running.storage_size {
        refusals.push(Refusal::StorageResize {
            have: running.storage_size.clone(),
            want: wanted.storage_size.clone(),
        });
    }
    // A cluster that names no image keeps the one it was made with when the operator becomes newer.
    let changed = [
        ("spec.image", cluster.names_image && wanted.image != running.image),
        ("spec.storage.storageClassName", wanted.storage_class_name != running.storage_class_name),
        ("spec.resources", wanted.resources != running.resources),
        ("spec.config", wanted.config != running.config),
        ("spec.scheduling", wanted.scheduling != running.scheduling),
    ];
    let rollouts = changed.into_iter().filter(|(_, changed)| *changed);
    refusals.extend(rollouts.map(|(field, _)| Refusal::Rollout { field }));
    refusals
}
