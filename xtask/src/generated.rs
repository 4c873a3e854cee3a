//! Files that are generated and committed: the resource definition, by itself and in the chart.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cargo::cargo;
use crate::progress::Step;
use crate::shell::run;
use crate::workspace::Workspace;

/// The program that knows the resource, and which of its answers is committed where.
const PROGRAM: &str = "flin-crds";
const FILES: [(&[&str], &str); 2] =
    [(&[], "crds/flinclusters.yaml"), (&["--chart"], "charts/flin/templates/crd.yaml")];

/// Writes the files.
pub(crate) fn write(workspace: &Workspace, step: &Step) -> Result<()> {
    build(workspace, step)?;
    for (arguments, file) in FILES {
        let text = rendered(workspace, arguments)?;
        let path = workspace.root.join(file);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Fails if a committed file is not what would be written.
pub(crate) fn compare(workspace: &Workspace, step: &Step) -> Result<()> {
    build(workspace, step)?;
    for (arguments, file) in FILES {
        let committed = read(&workspace.root.join(file))?;
        if committed != rendered(workspace, arguments)? {
            bail!("{file} is not what the types say: run `cargo xtask generate` and commit it");
        }
    }
    Ok(())
}

fn build(workspace: &Workspace, step: &Step) -> Result<()> {
    cargo(workspace)?
        .args(["build", "--release", "--workspace", "--exclude", "xtask", "--bin", PROGRAM])
        .logged(step.log())
}

fn rendered(workspace: &Workspace, arguments: &[&str]) -> Result<String> {
    Ok(run(workspace.binary(PROGRAM)).args(arguments).output()? + "\n")
}

fn read(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(text.trim().to_owned() + "\n")
}
