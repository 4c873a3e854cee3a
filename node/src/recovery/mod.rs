//! Going on after nodes were lost for good, with what is left of their groups (ADR-0012).
//!
//! A group without a majority of its voters decides nothing, ever. Only people can know that the others never
//! come back, so nothing here happens unasked. A node that is asked to recover surveys every other node that
//! is left ([`survey`]), judges group by group (`flin_state::cluster::judge`), and with consent gives each node
//! an [`Order`]: the groups that it is to go on with alone ([`desk`]). A node writes its order down and starts
//! again; what it orders is done before anything else, while no replica lives ([`enact`]).

mod desk;
mod enact;
mod survey;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use flin_engine::lock::RECOVERY;
use flin_state::cluster::ClusterState;
use flin_state::ids::{ClusterId, GroupId, LogIndex, NodeId, ReplicaId, Term};
use serde::{Deserialize, Serialize};

pub(crate) use desk::Desk;
pub use enact::EnactError;
pub(crate) use enact::enact;

/// What one node is to do at its next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Order {
    cluster_id: ClusterId,
    node: NodeId,
    /// The groups that the node's replica goes on with alone.
    alone: BTreeMap<GroupId, Alone>,
    /// The newest state of the cluster that any node knows, if the node is to hold the meta group: with the
    /// replica named in `alone`, or else with a new one.
    meta: Option<ClusterState>,
}

/// A replica that goes on alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Alone {
    replica: ReplicaId,
    /// The last entry of its log when it was chosen.
    last: LogIndex,
    /// The term that it begins with, above all that were seen.
    term: Term,
}

/// The order in `directory`; `None` when there is none.
fn load(directory: &Path) -> io::Result<Option<Order>> {
    match fs::read(directory.join(RECOVERY)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes an order down; it is durable on return, and whole or not there after a crash.
fn store(directory: &Path, order: &Order) -> io::Result<()> {
    let path = directory.join(RECOVERY);
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(order)?)?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    File::open(directory)?.sync_all()
}

/// Forgets an order that was carried out.
fn forget(directory: &Path) -> io::Result<()> {
    fs::remove_file(directory.join(RECOVERY))?;
    File::open(directory)?.sync_all()
}
