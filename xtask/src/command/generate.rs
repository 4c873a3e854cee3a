//! `cargo xtask generate`: the files that are made from others.

use anyhow::Result;

use crate::chart;
use crate::generated;
use crate::gotools;
use crate::packages::{self, Purpose};
use crate::progress::Progress;
use crate::rocksdb;
use crate::workspace::Workspace;

pub(crate) fn generate(workspace: &Workspace) -> Result<()> {
    let progress = Progress::start(workspace);
    progress.step("packages", |step| packages::ensure(step, Purpose::Build))?;
    progress.step("RocksDB library", |step| rocksdb::ensure(workspace, step))?;
    progress.step("generated files", |step| generated::write(workspace, step))?;
    progress.step("helm", |step| gotools::ensure_helm(workspace, step))?;
    progress.step("chart snapshots", |_| chart::write_snapshots(workspace))
}
