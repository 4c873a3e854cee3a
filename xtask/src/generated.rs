//! Files that are generated and committed: the resource definition, and two tables of the documentation.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cargo;
use crate::progress::Step;
use crate::shell::run;
use crate::workspace::Workspace;

/// A committed file and what prints it: a program in `target/release`, and its arguments.
struct Generated {
    file: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
}

const FILES: [Generated; 4] = [
    Generated { file: "crds/flinclusters.yaml", program: "flin-crds", arguments: &[] },
    Generated {
        file: "charts/flin/templates/crd.yaml",
        program: "flin-crds",
        arguments: &["--chart"],
    },
    Generated { file: "docs/COMMANDS.md", program: "examples/commands", arguments: &[] },
    Generated {
        file: "docs/CONFIGURATION.md",
        program: "flin-node",
        arguments: &["config", "--markdown"],
    },
];

/// Writes the files.
pub(crate) fn write(workspace: &Workspace, step: &Step) -> Result<()> {
    cargo::build_programs(workspace, step)?;
    for generated in &FILES {
        let text = generated.print(workspace)?;
        let path = workspace.root.join(generated.file);
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        if old.trim() != text.trim() {
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            step.note(format!("{} is new", generated.file));
        }
    }
    Ok(())
}

/// Fails if a committed file is not what would be written.
pub(crate) fn compare(workspace: &Workspace, step: &Step) -> Result<()> {
    cargo::build_programs(workspace, step)?;
    for generated in &FILES {
        let committed = read(&workspace.root.join(generated.file))?;
        if committed.trim() != generated.print(workspace)?.trim() {
            bail!("{} is out of date: run `cargo xtask generate` and commit it", generated.file);
        }
    }
    Ok(())
}

impl Generated {
    fn print(&self, workspace: &Workspace) -> Result<String> {
        Ok(run(workspace.binary(self.program)).args(self.arguments).output()? + "\n")
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}
