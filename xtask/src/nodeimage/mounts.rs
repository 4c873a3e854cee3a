//! A folder to build in that leaves nothing behind: no mount, no file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell::run;

/// A folder that is removed, with what was mounted in it, when the work ends or fails.
#[derive(Debug)]
pub(super) struct WorkDir {
    path: PathBuf,
    mounts: Vec<PathBuf>,
}

impl WorkDir {
    /// Makes `parent/work-name` anew. Callers hold the lock of the workspace, so the name is free.
    pub(super) fn make(parent: &Path, name: &str) -> Result<Self> {
        let path = parent.join(format!("work-{name}"));
        unmount_below(&path);
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self { path, mounts: Vec::new() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Shows the folder `source` of the machine at `target`.
    pub(super) fn bind(&mut self, source: &str, target: &Path) -> Result<()> {
        run("mount").args(["--bind", source]).arg(target).quiet()?;
        self.mounts.push(target.to_owned());
        Ok(())
    }

    pub(super) fn unmount_all(&mut self) -> Result<()> {
        while let Some(target) = self.mounts.pop() {
            run("umount").arg(&target).quiet()?;
        }
        Ok(())
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        unmount_below(&self.path);
        // With something still mounted, removing would reach into the machine itself.
        if mounted_below(&self.path).is_empty() {
            std::fs::remove_dir_all(&self.path).ok();
        } else {
            eprintln!("{} still has mounts in it and is left as it is", self.path.display());
        }
    }
}

/// Takes away what a build that was killed left mounted.
fn unmount_below(dir: &Path) {
    for target in mounted_below(dir).into_iter().rev() {
        run("umount").arg("--lazy").arg(&target).succeeds();
    }
}

fn mounted_below(dir: &Path) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let targets = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    targets.filter(|target| target.starts_with(dir)).collect()
}
