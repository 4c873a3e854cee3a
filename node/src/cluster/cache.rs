//! The last known state of the cluster, kept in a file for a restart without a meta quorum.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use flin_state::cluster::ClusterState;

/// The state in `path`, if there is one that can be read. It is only a hint: a damaged file is no state.
pub(crate) fn load(path: &Path) -> Option<ClusterState> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Replaces the state in `path`; a crash leaves the old one or the new one.
pub(crate) fn store(path: &Path, state: &ClusterState) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(state)?)?;
    file.sync_data()?;
    fs::rename(&fresh, path)
}
