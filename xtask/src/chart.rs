//! The Helm chart: checked, rendered, installed.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::cluster::CONTEXT;
use crate::progress::Step;
use crate::shell::{Run, run};
use crate::workspace::Workspace;

/// Where the operator lives.
pub(crate) const NAMESPACE: &str = "flin-system";
/// The name of the release.
const RELEASE: &str = "flin";
/// The folder of the chart, and in it that of the renderings kept for comparison.
const CHART: &str = "charts/flin";
const SNAPSHOTS: &str = "charts/snapshots";

fn helm(workspace: &Workspace) -> Run {
    run(workspace.tool("helm")).dir(&workspace.root)
}

/// Installs the operator, or brings it up to date, and waits until it is there.
pub(crate) fn install(workspace: &Workspace, step: &Step) -> Result<()> {
    helm(workspace)
        .args(["upgrade", "--install", RELEASE, CHART, "--kube-context", CONTEXT])
        .args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "180s"])
        .logged(step.log())
}

/// Helm's own check.
pub(crate) fn lint(workspace: &Workspace, step: &Step) -> Result<()> {
    helm(workspace).args(["lint", "--strict", CHART]).logged(step.log())
}

/// What the chart renders to, for each file of values in the snapshot folder, and for none.
fn renderings(workspace: &Workspace) -> Result<Vec<(PathBuf, String)>> {
    let folder = workspace.root.join(SNAPSHOTS);
    let mut cases = vec![("default".to_owned(), None)];
    for file in crate::workspace::files_below(&folder).unwrap_or_default() {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(case) = name.strip_suffix(".values.yaml") {
            cases.push((case.to_owned(), Some(file)));
        }
    }
    let render = |(case, values): (String, Option<PathBuf>)| {
        let mut helm = helm(workspace)
            .args(["template", RELEASE, CHART, "--namespace", NAMESPACE])
            .args(["--kube-version", "1.36.0"]);
        if let Some(values) = values {
            helm = helm.arg("--values").arg(values);
        }
        Ok((folder.join(format!("{case}.yaml")), helm.output()? + "\n"))
    };
    cases.into_iter().map(render).collect()
}

/// Fails if the chart no longer renders to what is committed.
pub(crate) fn compare_snapshots(workspace: &Workspace) -> Result<()> {
    for (file, rendered) in renderings(workspace)? {
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        if committed != rendered {
            let line = committed.lines().zip(rendered.lines()).take_while(|(a, b)| a == b).count();
            bail!(
                "the chart renders to something else than {} from line {} on; if that is meant, run \
                 `cargo xtask generate` and look at the difference",
                file.display(),
                line + 1
            );
        }
    }
    Ok(())
}

/// Writes what the chart renders to.
pub(crate) fn write_snapshots(workspace: &Workspace) -> Result<()> {
    for (file, rendered) in renderings(workspace)? {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&file, rendered).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}
