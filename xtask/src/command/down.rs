//! `cargo xtask down`: all that `up` made is removed; what is slow to make is kept, unless asked.

use anyhow::Result;
use clap::Args;

use crate::cluster;
use crate::docker::{self, docker};
use crate::gotools;
use crate::images::{self, PROGRAMS};
use crate::loaded;
use crate::network;
use crate::nodeimage;
use crate::packages::docker_answers;
use crate::progress::{Progress, human};
use crate::workspace::Workspace;

/// What else to remove.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Also remove everything that is kept to be fast next time (about an hour of work to make again)
    #[arg(long)]
    caches: bool,
}

pub(crate) fn down(workspace: &Workspace, options: Options) -> Result<()> {
    let progress = Progress::start(workspace);
    if docker_answers() {
        if workspace.tool("kind").is_file() && cluster::exists(workspace) {
            progress.step("kind cluster", |_| cluster::delete(workspace))?;
        }
        progress.step("images", |step| {
            let mut names: Vec<String> =
                PROGRAMS.iter().map(|program| program.image(workspace)).collect();
            names.extend(images::all_tags(nodeimage::NAME));
            names.extend(images::all_tags("etcd"));
            names.retain(|name| docker().args(["image", "inspect", name]).succeeds());
            images::remove(&names);
            images::remove_nameless();
            step.note(names.join(" "));
            Ok(())
        })?;
    }
    loaded::forget(workspace)?;
    progress.step("network fences", |_| network::unfence(workspace))?;
    progress.step("docker daemon", |step| {
        let stopped = docker::stop(workspace)?;
        step.note(if stopped { "ended" } else { "not ours" });
        Ok(())
    })?;
    if options.caches {
        progress.step("caches", |_| remove_caches(workspace))?;
    }
    println!("{:>8}  down", human(progress.elapsed()));
    if !options.caches {
        println!("kept: the caches in {} and Debian's packages", workspace.cache.display());
    }
    Ok(())
}

/// Go makes the folders of its cache read-only, so they are first made writable by their own command.
fn remove_caches(workspace: &Workspace) -> Result<()> {
    gotools::go(workspace).args(["clean", "-cache"]).succeeds();
    for entry in std::fs::read_dir(&workspace.cache)? {
        let path = entry?.path();
        if path.is_dir() { std::fs::remove_dir_all(&path)? } else { std::fs::remove_file(&path)? }
    }
    Ok(())
}
