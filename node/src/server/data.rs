//! A node's data: taking the directory, writing down whose it is, and opening what is in it.
//!
//! An identity is written before anything else and never changes; [`super::membership`] decides which one a
//! directory without one gets. A node that had voted with a log must not vote again without it (ADR-0005).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flin_engine::disk::RealDisk;
use flin_engine::lock::{CLUSTER, DataDir, DataDirError, FOUNDING};
use flin_engine::log::{LogOptions, SharedLog};
use flin_engine::rocks::{RocksEngine, RocksOptions};
use flin_groups::hosting::{Birth, HostError, establish};
use flin_state::engine::{Engine, EngineError};
use flin_state::ids::{ClusterId, GroupId, NodeId};
use flin_state::log::{GroupRecord, Log, LogError};
use tracing::info;

use crate::bootstrap::Bootstrap;
use crate::cluster::{Joined, load_cached, store_cached};
use crate::recovery::{EnactError, enact};
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
        "{path} holds data of node {found}, which is {owner}, but this node is {name}; volumes were \
         swapped: give each node its own"
    )]
    OtherNode {
        /// The data directory.
        path: PathBuf,
        /// This node's name.
        name: String,
        /// Whose data they are.
        found: NodeId,
        /// That node's name.
        owner: String,
    },
    /// There is an identity and no log.
    #[error(
        "{path} has an identity but no log: the log was removed. The node will not vote without it. \
         Restore the volume; if it is gone for good, empty the directory, and the node joins as a new one"
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
    /// A recovery that was ordered could not be carried out.
    #[error("recover")]
    Recovery(#[from] EnactError),
    /// The mark of an unfinished foundation, or what the node was told when it joined, could not be written.
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
    pub(super) directory: Arc<DataDir>,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) log: Arc<dyn Log>,
    pub(super) cluster_cache: PathBuf,
}

/// A data directory that this process holds, before anything in it is opened.
pub(super) struct Claim {
    directory: DataDir,
    /// Under which the node asked to join, if it did and is no member yet.
    pub(super) nonce: Option<String>,
}

impl Claim {
    /// Takes the directory of `settings`, unless it belongs to somebody else. One that is retired is emptied.
    pub(super) fn take(settings: &Settings, bootstrap: &Bootstrap) -> Result<Self, DataError> {
        let directory = DataDir::open(&settings.data_dir)?;
        if directory.was_emptied() {
            info!(path = %directory.path().display(), "emptied the directory of a node that was removed");
        }
        let mut claim = Claim { nonce: directory.nonce()?, directory };
        claim.refuse_other_owner(&settings.node_name, bootstrap)?;
        if claim.nonce.is_some() && claim.node().is_some() {
            claim.directory.forget_nonce()?;
            claim.nonce = None;
        }
        Ok(claim)
    }

    /// Whose data this is; `None` in an empty directory.
    pub(super) fn node(&self) -> Option<NodeId> {
        self.directory.identity().map(|identity| identity.node_id)
    }

    fn refuse_other_owner(&self, name: &str, bootstrap: &Bootstrap) -> Result<(), DataError> {
        let Some(identity) = self.directory.identity() else { return Ok(()) };
        let (path, found) = (self.directory.path().to_owned(), identity.node_id);
        let wanted = bootstrap.genesis.cluster_id;
        if identity.cluster_id != wanted {
            return Err(DataError::OtherCluster { path, found: identity.cluster_id, wanted });
        }
        // Ids are never used again, so whoever had this one still owns the data.
        let first = bootstrap.genesis.members.iter().find(|member| member.node_id == found);
        let owner = first.map(|member| member.name.clone()).or_else(|| {
            let state = load_cached(&path.join(CLUSTER))?;
            state.members.get(&found).map(|member| member.name.clone())
        });
        match owner.filter(|owner| owner != name) {
            Some(owner) => Err(DataError::OtherNode { path, name: name.to_owned(), found, owner }),
            None => Ok(()),
        }
    }

    /// Makes the directory that of a founder.
    pub(super) fn found(&mut self, cluster: ClusterId, node: NodeId) -> Result<(), DataError> {
        self.write_identity(cluster, node)?;
        info!(%cluster, %node, "founded this node");
        Ok(())
    }

    /// The nonce to join under: the one that is on disk, or `fresh` once it is.
    pub(super) fn keep_nonce(&mut self, fresh: String) -> Result<String, DataError> {
        match &self.nonce {
            Some(nonce) => Ok(nonce.clone()),
            None => {
                self.directory.keep_nonce(&fresh)?;
                self.nonce = Some(fresh.clone());
                Ok(fresh)
            }
        }
    }

    /// Makes the directory that of the member that its nonce became. A crash before the identity is written leaves
    /// the nonce, and with it the same member.
    pub(super) fn join(&mut self, cluster: ClusterId, joined: &Joined) -> Result<(), DataError> {
        self.write_identity(cluster, joined.node)?;
        let cache = self.directory.path().join(CLUSTER);
        store_cached(&cache, &joined.state)
            .map_err(|source| DataError::Mark { path: cache, source })?;
        self.directory.forget_nonce()?;
        self.nonce = None;
        Ok(())
    }

    /// The mark of a foundation is there from before the identity until the log is open and has what the node
    /// founded, so that a crash in between is told apart from a log that was lost.
    fn write_identity(&mut self, cluster: ClusterId, node: NodeId) -> Result<(), DataError> {
        mark(&self.directory.path().join(FOUNDING))?;
        Ok(self.directory.write_identity(cluster, node)?)
    }

    /// Opens the data of `node`, whose identity is written.
    pub(super) fn open(
        self,
        node: NodeId,
        settings: &Settings,
        bootstrap: &Bootstrap,
    ) -> Result<Data, DataError> {
        let path = self.directory.path();
        let founding = path.join(FOUNDING);
        let log_dir = self.directory.log_dir();
        if !founding.exists() && is_empty(&log_dir) {
            return Err(DataError::LogGone { path: path.to_owned() });
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
        let engine: Arc<dyn Engine> =
            Arc::new(RocksEngine::open(self.directory.state_dir(), options)?);
        if founding.exists() {
            found_meta(&*engine, &*log, bootstrap, node)?;
            unmark(&founding)?;
        }
        enact(path, node, &engine, &log)?;
        let cluster_cache = path.join(CLUSTER);
        Ok(Data { directory: Arc::new(self.directory), engine, log, cluster_cache })
    }
}

/// Creates this node's replica of the meta group, if it is a founder of one and it is not there yet. A node that
/// joined has an id that no founder has.
fn found_meta(
    engine: &dyn Engine,
    log: &dyn Log,
    bootstrap: &Bootstrap,
    node: NodeId,
) -> Result<(), HostError> {
    let group = GroupId::META;
    let hosted = log
        .groups()
        .iter()
        .any(|(id, record)| *id == group && matches!(record, GroupRecord::Hosted(_)));
    let first = bootstrap.genesis.begin().expect("a bootstrap file is checked when it is read");
    let configuration = first.first_configuration(group);
    let replica = configuration.replica_on(node);
    if let Some(replica) = replica.filter(|_| !hosted) {
        establish(engine, log, &[Birth { group, replica, configuration: Some(configuration) }])?;
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
