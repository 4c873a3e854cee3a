//! `cargo xtask dev`: three nodes on loopback, without Kubernetes.

use anyhow::Result;
use clap::Args;

use crate::cargo;
use crate::packages::{self, Purpose};
use crate::progress::Progress;
use crate::rocksdb;
use crate::shell::run;
use crate::workspace::Workspace;

/// Passed on to `flin-node dev`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Options of `flin-node dev`, for example `--nodes 1`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Builds the node and becomes it.
pub(crate) fn dev(workspace: &Workspace, options: Options) -> Result<()> {
    {
        let _lock = workspace.lock()?;
        let progress = Progress::start(workspace);
        progress.step("packages", |step| packages::ensure(step, Purpose::Build))?;
        progress.step("RocksDB library", |step| rocksdb::ensure(workspace, step))?;
        progress.step("flin-node", |step| cargo::build_node(workspace, step))?;
    }
    Err(run(workspace.binary("flin-node")).arg("dev").args(options.options).replace())
}
