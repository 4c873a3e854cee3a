//! Opening a node's data, and deciding who this node is.
//!
//! An identity is written before anything else and never changes. A disk without one may found a node only
//! while the cluster is forming: afterwards an empty disk means lost data, and a node that had voted with
//! it must not vote again under the same name (ADR-0005).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flin_engine::disk::RealDisk;
use flin_engine::lock::{DataDir, DataDirError, FOUNDING};
use flin_engine::log::{LogOptions, SharedLog};
use flin_engine::rocks::{RocksEngine, RocksOptions};
use flin_state::engine::{Engine, EngineError};
use flin_state::ids::{ClusterId, GroupId, NodeId};
use flin_state::log::{GroupRecord, Log, LogError};
use tracing::info;

use crate::bootstrap::{Bootstrap, Phase};
use crate::groups::hosting::{Birth, HostError, establish};
use crate::settings::Settings;

/// Why a node's data cannot be used. A restart does not help; the words say what does.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// The data belong to another cluster.
    #[error(
        "{path} holds data of cluster {found}, but this node is told to serve cluster {wanted}; give it \
         the right volume, or an empty one"
    )]
    OtherCluster {
        /// The data directory.
        path: PathBuf,
        /// Whose data they are.
        found: ClusterId,
        /// Whose data they should be.
        wanted: ClusterId,
    },
    /// The data belong to another node.
    #[error(
        "{path} holds data of node {found}, but {name} is node {wanted} of the cluster; volumes were \
         swapped: give each member its own"
    )]
    OtherNode {
        /// The data directory.
        path: PathBuf,
        /// This member's name.
        name: String,
        /// Whose data they are.
        found: NodeId,
        /// Whose data they should be.
        wanted: NodeId,
    },
    /// The cluster is formed and the disk is empty.
    #[error(
        "{path} is empty, but {name} is a member of a cluster that is formed: its data are lost. It will \
         not vote without them. Restore the volume; if it is gone for good, the member must be replaced"
    )]
    DataLost {
        /// The data directory.
        path: PathBuf,
        /// This member's name.
        name: String,
    },
    /// There is an identity and no log.
    #[error(
        "{path} has an identity but no log: the log was removed. The node will not vote without it. \
         Restore the volume; if it is gone for good, the member must be replaced"
    )]
    LogGone {
        /// The data directory.
        path: PathBuf,
    },
    /// The log cannot be used.
    #[error("open the log")]
    Log(#[from] LogError),
    /// The engine cannot be used.
    #[error("open the state")]
    Engine(#[from] EngineError),
    /// A group could not be established.
    #[error("establish the meta group")]
    Host(#[from] HostError),
    /// The mark of an unfinished foundation could not be written or removed.
    #[error("write {path}")]
    Mark {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A node's data, opened. Dropping it lets another process use the directory.
pub(super) struct Data {
    _directory: DataDir,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) log: Arc<dyn Log>,
    pub(super) cluster_cache: PathBuf,
}

/// Opens the data of the node that `bootstrap` names; founds it when it may be.
pub(super) fn open(settings: &Settings, bootstrap: &Bootstrap) -> Result<Data, DataError> {
    let path = &settings.data_dir;
    let mut directory = DataDir::open(path)?;
    let founding = path.join(FOUNDING);
    identify(&mut directory, &founding, settings, bootstrap)?;
    let log_dir = directory.log_dir();
    if !founding.exists() && is_empty(&log_dir) {
        return Err(DataError::LogGone { path: path.clone() });
    }
    let options = LogOptions {
        segment_bytes: settings.log_segment_bytes,
        budget_bytes: settings.log_budget_bytes,
        ..LogOptions::default()
    };
    let log: Arc<dyn Log> = Arc::new(SharedLog::open(RealDisk, &log_dir, options)?);
    let options = RocksOptions {
        block_cache_bytes: memory(settings.block_cache_bytes),
        write_buffer_bytes: memory(settings.write_buffer_bytes),
        ..RocksOptions::default()
    };
    let engine: Arc<dyn Engine> = Arc::new(RocksEngine::open(directory.state_dir(), options)?);
    if founding.exists() {
        found_meta(&*engine, &*log, bootstrap)?;
        unmark(&founding)?;
    }
    Ok(Data { _directory: directory, engine, log, cluster_cache: path.join("cluster.json") })
}

/// Finds out whose data the directory holds, or says so for the first time. The mark of a foundation is there
/// from before the identity until the meta group is in the log, so that a crash in between is told apart
/// from a log that was lost.
fn identify(
    directory: &mut DataDir,
    founding: &Path,
    settings: &Settings,
    bootstrap: &Bootstrap,
) -> Result<(), DataError> {
    let (path, name) = (settings.data_dir.clone(), settings.node_name.clone());
    let (cluster_id, node_id) = (bootstrap.genesis.cluster_id, bootstrap.node_id);
    match directory.identity() {
        Some(found) if found.cluster_id != cluster_id => {
            Err(DataError::OtherCluster { path, found: found.cluster_id, wanted: cluster_id })
        }
        Some(found) if found.node_id != node_id => {
            Err(DataError::OtherNode { path, name, found: found.node_id, wanted: node_id })
        }
        Some(_) => Ok(()),
        None if bootstrap.phase == Phase::Formed => Err(DataError::DataLost { path, name }),
        None => {
            mark(founding)?;
            directory.write_identity(cluster_id, node_id)?;
            info!(cluster = %cluster_id, node = %node_id, "founded this node");
            Ok(())
        }
    }
}

/// Creates this node's replica of the meta group, if it has one and it is not there yet.
fn found_meta(engine: &dyn Engine, log: &dyn Log, bootstrap: &Bootstrap) -> Result<(), HostError> {
    let group = GroupId::META;
    let hosted = log
        .groups()
        .iter()
        .any(|(id, record)| *id == group && matches!(record, GroupRecord::Hosted(_)));
    let first = bootstrap.genesis.begin().expect("a bootstrap file is checked when it is read");
    let configuration = first.first_configuration(group);
    let replica = configuration.replica_on(bootstrap.node_id);
    if let Some(replica) = replica.filter(|_| !hosted) {
        establish(engine, log, &[Birth { group, replica, configuration }])?;
    }
    Ok(())
}

fn memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none())
}

fn mark(path: &Path) -> Result<(), DataError> {
    let failed = |source| DataError::Mark { path: path.to_owned(), source };
    fs::File::create(path).and_then(|file| file.sync_all()).map_err(failed)?;
    sync_parent(path).map_err(failed)
}

fn unmark(path: &Path) -> Result<(), DataError> {
    let failed = |source| DataError::Mark { path: path.to_owned(), source };
    fs::remove_file(path).and_then(|()| sync_parent(path)).map_err(failed)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
