//! The base file system of a node: a small Debian with systemd and containerd.

use std::path::PathBuf;

use anyhow::Result;

use super::mounts::WorkDir;
use crate::archive;
use crate::progress::Step;
use crate::shell::run;
use crate::versions::Versions;
use crate::workspace::{Key, Workspace, remove_older};

/// What a node never reads.
const USELESS: [&str; 6] = [
    "var/cache/apt/archives",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
];

pub(super) fn key(versions: &Versions) -> String {
    Key::default().add(&versions.debian.suite).add(versions.debian.packages.join(" ")).short()
}

/// The base as a tar file, made if it is not there yet.
pub(super) fn ensure(workspace: &Workspace, step: &Step) -> Result<PathBuf> {
    let versions = Versions::read(workspace)?;
    let dir = workspace.cache.join("nodeimage");
    let file = dir.join(format!("base-{}.tar", key(&versions)));
    if file.is_file() {
        step.note("cached");
        return Ok(file);
    }
    let work = WorkDir::make(&dir, "base")?;
    let root = work.path().join("root");
    run("debootstrap")
        .args(["--variant=minbase", &format!("--include={}", versions.debian.packages.join(","))])
        .arg(&versions.debian.suite)
        .arg(&root)
        .logged(step.log())?;
    for folder in USELESS {
        let folder = root.join(folder);
        std::fs::remove_dir_all(&folder).ok();
        std::fs::create_dir_all(&folder)?;
    }
    let unfinished = work.path().join("base.tar");
    archive::layer_with_owners(&root, &unfinished)?;
    std::fs::rename(&unfinished, &file)?;
    remove_older(&dir, "base-", &file)?;
    Ok(file)
}
