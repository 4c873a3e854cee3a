//! Changes of the spec that cannot be carried out. They are refused in words: what runs stays as it is.

use flin_crds::{Quantity, reason};

use super::capacity::Lack;
use crate::blueprint::VolumeTemplate;

/// A change that is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Fewer nodes than have room for the data, or more replicas.
    Capacity {
        /// How many nodes are asked for.
        want: u32,
        /// How many replicas are asked for.
        replication_factor: u32,
        /// What is lacking.
        lack: Lack,
    },
    /// What the nodes themselves refuse.
    ByNodes {
        /// Their words.
        words: String,
    },
    /// Another size of volumes.
    StorageResize {
        /// The size they have.
        have: String,
        /// The size asked for.
        want: String,
    },
}

impl Refusal {
    /// The reason for the condition.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Capacity { .. } => reason::INSUFFICIENT_CAPACITY,
            Self::ByNodes { .. } => reason::REFUSED_BY_NODES,
            Self::StorageResize { .. } => reason::STORAGE_RESIZE_NOT_SUPPORTED,
        }
    }

    /// The refusal in words, with the remedy.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Capacity { want, replication_factor, lack } => format!(
                "spec.replicas {want} with spec.replicationFactor {replication_factor} has no room for the data, \
                 nothing was changed: {lack}. Ask for more nodes, or delete data"
            ),
            Self::ByNodes { words } => format!("the nodes refused: {words}"),
            Self::StorageResize { have, want } => format!(
                "spec.storage.size is {want} and the volumes have {have}: growing volumes is not \
                 supported yet, nothing was changed"
            ),
        }
    }
}

/// Refuses another size than the volumes have, however it is spelled.
pub(super) fn of_volume(wanted: &VolumeTemplate, running: &VolumeTemplate) -> Option<Refusal> {
    let amount = |size: &str| Quantity::from(size).thousandths();
    (amount(&wanted.size) != amount(&running.size))
        .then(|| Refusal::StorageResize { have: running.size.clone(), want: wanted.size.clone() })
}
