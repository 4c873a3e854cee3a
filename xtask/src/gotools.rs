//! kind, helm and kubectl: built from their Go modules once, then kept.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::progress::Step;
use crate::shell::{Run, find, run};
use crate::versions::Versions;
use crate::workspace::Workspace;

/// `go`, told to keep what it compiles in our cache and to link nothing of C.
pub(crate) fn go(workspace: &Workspace) -> Run {
    run(find("go").unwrap_or_else(|| "go".into()))
        .env("GOCACHE", workspace.cache.join("go-build"))
        .env("CGO_ENABLED", "0")
}

/// Makes sure of kind in the pinned version.
pub(crate) fn ensure_kind(workspace: &Workspace, step: &Step) -> Result<()> {
    let version = Versions::read(workspace)?.kind;
    install(workspace, step, "kind", &format!("sigs.k8s.io/kind@v{version}"))
}

/// Makes sure of helm in the pinned version.
pub(crate) fn ensure_helm(workspace: &Workspace, step: &Step) -> Result<()> {
    let version = Versions::read(workspace)?.helm;
    install(workspace, step, "helm", &format!("helm.sh/helm/v4/cmd/helm@v{version}"))
}

/// Installs one program; a file beside it remembers which version it is.
fn install(workspace: &Workspace, step: &Step, name: &str, module: &str) -> Result<()> {
    let program = workspace.tool(name);
    let mark = workspace.tool(&format!(".{name}.version"));
    if program.is_file() && std::fs::read_to_string(&mark).is_ok_and(|text| text == module) {
        step.note("cached");
        return Ok(());
    }
    let bin = workspace.cache.join("bin");
    go(workspace)
        .env("GOBIN", bin)
        .args(["install", "-trimpath", "-ldflags", "-s -w", module])
        .logged(step.log())?;
    std::fs::write(&mark, module).with_context(|| format!("write {}", mark.display()))
}

/// `kubectl`: the user's own, else the one that came with the cluster.
pub(crate) fn kubectl_program(workspace: &Workspace) -> PathBuf {
    let own = workspace.tool("kubectl");
    if own.is_file() { own } else { find("kubectl").unwrap_or(own) }
}
