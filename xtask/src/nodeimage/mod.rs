//! Our own kind node image, for machines that reach no container registry.
//!
//! Everything in it comes from Debian and from Go modules: a base file system (`base`), the programs of
//! Kubernetes (`programs`), and both put together with their container images preloaded (`assemble`). Each
//! part is kept in the cache under a key of its inputs, so a second run takes seconds.

mod assemble;
mod base;
mod mounts;
mod programs;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::docker::docker;
use crate::progress::{Progress, Step};
use crate::shell::{is_root, run};
use crate::versions::Versions;
use crate::workspace::{Key, Workspace, remove_older};

pub(crate) use programs::ensure_etcd;

/// The name of the image in Docker, without its tag.
pub(crate) const NAME: &str = "flin-kind-node";

/// The image as it has to be: what it is made of says which one that is.
#[derive(Debug)]
pub(crate) struct NodeImage {
    key: String,
    /// Its name in Docker.
    pub(crate) tag: String,
    file: PathBuf,
}

impl NodeImage {
    pub(crate) fn described(workspace: &Workspace) -> Result<Self> {
        let versions = Versions::read(workspace)?;
        let key = Key::default()
            .add(programs::key(workspace)?)
            .add(base::key(&versions))
            .add(include_str!("assemble.rs"))
            .add(include_str!("../archive.rs"))
            .add_files(&inputs(workspace).join("node"))?
            .short();
        let tag = format!("{NAME}:v{}-{key}", versions.kubernetes);
        let file = workspace.cache.join(format!("nodeimage/node-{key}.tar.zst"));
        Ok(Self { key, tag, file })
    }

    /// Whether it was made before and is still here.
    pub(crate) fn is_cached(&self) -> bool {
        self.file.is_file() || self.is_loaded()
    }

    fn is_loaded(&self) -> bool {
        docker().args(["image", "inspect", &self.tag]).succeeds()
    }

    /// Makes what is missing of it, and gives it to Docker.
    pub(crate) fn ensure(&self, workspace: &Workspace, progress: &Progress) -> Result<()> {
        if !self.is_loaded() {
            if !self.file.is_file() {
                self.make(workspace, progress)?;
            }
            progress.step("node image: load", |step| self.load(step))?;
        }
        // The programs are needed beside the image too: kubectl is one of their names.
        if !workspace.tool("kubectl").is_file() {
            progress.step("kubectl", |step| {
                let programs = programs::ensure(workspace, step)?;
                install_kubectl(workspace, &programs)
            })?;
        }
        Ok(())
    }

    fn make(&self, workspace: &Workspace, progress: &Progress) -> Result<()> {
        if !is_root() {
            bail!(
                "making a node image takes root (it unpacks a system and mounts file systems): run this \
                 as root, or set FLIN_NODE_IMAGE=public where kind's public node image can be pulled"
            );
        }
        let base =
            progress.step("node image: base system", |step| base::ensure(workspace, step))?;
        let programs = progress
            .step("node image: Kubernetes programs", |step| programs::ensure(workspace, step))?;
        install_kubectl(workspace, &programs)?;
        progress.step("node image: assemble", |step| {
            assemble::assemble(workspace, step, &base, &programs, &self.tag, &self.file)?;
            remove_older(&workspace.cache.join("nodeimage"), "node-", &self.file)?;
            step.note(format!("key {}", self.key));
            Ok(())
        })
    }

    fn load(&self, step: &Step) -> Result<()> {
        let pipe = format!("zstd -dcq '{}' | docker load", self.file.display());
        run("bash").args(["-o", "pipefail", "-c", &pipe]).logged(step.log())
    }
}

/// `kubectl` is one of the names of the program that is all of Kubernetes.
fn install_kubectl(workspace: &Workspace, programs: &Path) -> Result<()> {
    let link = workspace.tool("kubectl");
    std::fs::remove_file(&link).ok();
    std::os::unix::fs::symlink(programs.join("kube"), &link)?;
    Ok(())
}

/// The folder of the repository that the image is made from.
fn inputs(workspace: &Workspace) -> PathBuf {
    workspace.root.join("e2e/nodeimage")
}
