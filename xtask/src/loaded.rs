//! Which images the cluster's nodes have, and whose pods still run an older one under the same name.
//!
//! Images keep their names when their content changes, so Kubernetes does not see that pods are out of
//! date. This remembers it across a run that was ended half way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cluster;
use crate::progress::Step;
use crate::workspace::Workspace;

/// The record, kept in the cache as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Loaded {
    /// By the image's name, the key of what it was made from.
    keys: BTreeMap<String, String>,
    /// Images that were replaced while pods may have run them.
    outdated: BTreeSet<String>,
}

/// Gives the nodes these images, by name and key. kind skips a node that has just this image.
pub(crate) fn load(workspace: &Workspace, step: &Step, images: &[(String, String)]) -> Result<()> {
    let mut record = read(workspace);
    for (name, key) in images {
        if record.keys.insert(name.clone(), key.clone()).is_some_and(|old| old != *key) {
            record.outdated.insert(name.clone());
        }
    }
    // Before the load: if this run ends within it, the next one knows.
    write(workspace, &record)?;
    cluster::kind(workspace)
        .args(["load", "docker-image", "--name", cluster::NAME])
        .args(images.iter().map(|(name, _)| name))
        .logged(step.log())
}

/// Whether pods may run an older image under this name.
pub(crate) fn is_outdated(workspace: &Workspace, name: &str) -> bool {
    read(workspace).outdated.contains(name)
}

/// Notes that no pod runs an older image under this name any more.
pub(crate) fn is_current_now(workspace: &Workspace, name: &str) -> Result<()> {
    let mut record = read(workspace);
    record.outdated.remove(name);
    write(workspace, &record)
}

/// The nodes are new or gone: nothing is loaded.
pub(crate) fn forget(workspace: &Workspace) -> Result<()> {
    write(workspace, &Loaded::default())
}

fn read(workspace: &Workspace) -> Loaded {
    let text = std::fs::read(path(workspace)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn write(workspace: &Workspace, record: &Loaded) -> Result<()> {
    let path = path(workspace);
    std::fs::write(&path, serde_json::to_vec_pretty(record)?)
        .with_context(|| format!("write {}", path.display()))
}

fn path(workspace: &Workspace) -> PathBuf {
    workspace.cache.join("docker/loaded.json")
}
