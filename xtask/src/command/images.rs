//! `cargo xtask images`: the container images, in Docker.

use anyhow::Result;

use crate::cargo;
use crate::docker;
use crate::images::{self, PROGRAMS};
use crate::packages::{self, Purpose};
use crate::progress::Progress;
use crate::rocksdb;
use crate::workspace::Workspace;

pub(crate) fn images(workspace: &Workspace) -> Result<()> {
    let progress = Progress::start(workspace);
    progress.step("packages", |step| packages::ensure(step, Purpose::Cluster))?;
    progress.step("docker daemon", |step| docker::ensure(workspace, step))?;
    progress.step("RocksDB library", |step| rocksdb::ensure(workspace, step))?;
    progress.step("programs", |step| cargo::build_programs(workspace, step))?;
    for program in PROGRAMS {
        let name = format!("image {}", program.name);
        progress.step(&name, |step| images::ensure(workspace, step, program))?;
    }
    Ok(())
}
