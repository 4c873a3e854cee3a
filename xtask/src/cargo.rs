//! Cargo, always with the same folders, profile and RocksDB, so that nothing is compiled twice.

use anyhow::Result;

use crate::progress::Step;
use crate::rocksdb;
use crate::shell::{Run, run};
use crate::workspace::Workspace;

/// What cargo tells a program that it runs, as it runs us, about that program's package.
///
/// Build scripts (that of `ring`, for one) watch some of these and would run again each time that cargo
/// is called from here after it was called by hand, or the other way round.
const ABOUT_US: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST", "CARGO_BIN_", "CARGO_CRATE_"];

/// Cargo in the workspace, with the environment that all builds share.
pub(crate) fn cargo(workspace: &Workspace) -> Result<Run> {
    Ok(cargo_without_rocksdb(workspace)
        .env("ROCKSDB_LIB_DIR", rocksdb::folder(workspace)?)
        .env("ROCKSDB_STATIC", "1"))
}

/// Cargo for packages that link nothing of C++.
pub(crate) fn cargo_without_rocksdb(workspace: &Workspace) -> Run {
    let mut cargo = run("cargo")
        .dir(&workspace.root)
        .env("CARGO_TARGET_DIR", workspace.target())
        .env("CARGO_TERM_COLOR", "never");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ABOUT_US.iter().any(|prefix| text.starts_with(prefix)) {
            cargo = cargo.without_env(&name);
        }
    }
    cargo
}

/// What every build selects. With fewer packages, or without a target that needs the dependencies of
/// tests, cargo would unite features differently and compile tokio and all that is above it once more.
const SELECTION: [&str; 5] = ["build", "--release", "--workspace", "--exclude", "xtask"];

/// Builds the programs of the product and of its end-to-end tests, and those that print documents.
pub(crate) fn build_programs(workspace: &Workspace, step: &Step) -> Result<()> {
    cargo(workspace)?.args(SELECTION).args(["--bins", "--examples"]).logged(step.log())
}

/// Builds only the node, for the loopback cluster.
pub(crate) fn build_node(workspace: &Workspace, step: &Step) -> Result<()> {
    let only = ["--bin", "flin-node", "--example", "commands"];
    cargo(workspace)?.args(SELECTION).args(only).logged(step.log())
}
