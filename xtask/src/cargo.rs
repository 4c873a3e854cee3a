//! Cargo, always with the same folders, profile and RocksDB, so that nothing is compiled twice.

use anyhow::Result;

use crate::progress::Step;
use crate::rocksdb;
use crate::shell::{Run, run};
use crate::workspace::Workspace;

/// Cargo in the workspace, with the environment that all builds share.
pub(crate) fn cargo(workspace: &Workspace) -> Result<Run> {
    Ok(run("cargo")
        .dir(&workspace.root)
        .env("CARGO_TARGET_DIR", workspace.target())
        .env("CARGO_TERM_COLOR", "never")
        .env("ROCKSDB_LIB_DIR", rocksdb::folder(workspace)?)
        .env("ROCKSDB_STATIC", "1"))
}

/// Builds the programs of the product and of its end-to-end tests.
pub(crate) fn build_programs(workspace: &Workspace, step: &Step) -> Result<()> {
    // The same selection of packages as the tests use: another one would unite features differently
    // and compile the dependencies again.
    cargo(workspace)?
        .args(["build", "--release", "--workspace", "--exclude", "xtask", "--bins"])
        .logged(step.log())
}

/// Builds only the node, for the loopback cluster.
pub(crate) fn build_node(workspace: &Workspace, step: &Step) -> Result<()> {
    cargo(workspace)?
        .args(["build", "--release", "--package", "flin-node", "--bins"])
        .logged(step.log())
}
