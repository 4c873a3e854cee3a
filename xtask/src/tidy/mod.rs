//! Rules about the whole tree that no compiler checks: who may import whom, what pure code may not touch,
//! how long a file may be.

mod imports;
mod purity;
mod shape;
mod source;

use std::path::Path;

use anyhow::{Result, bail};

use crate::workspace::files_below;

/// The crates that use no clock, no randomness, no input or output and no unordered map.
const PURE: [&str; 4] = ["state", "replica", "resp", "check"];

/// One file of Rust, with its place in the tree.
pub(crate) struct SourceFile {
    /// From the root, with `/` between the parts.
    path: String,
    /// The part of the tree it belongs to: `state`, `node`, `xtask`.
    part: String,
    text: String,
}

/// Reads the tree and fails with everything that breaks a rule, one line each.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut complaints = Vec::new();
    let mut files = 0;
    for (part, folder) in parts(root)? {
        let manifest = folder.join("Cargo.toml");
        complaints.extend(imports::check_manifest(&part, &std::fs::read_to_string(&manifest)?)?);
        for path in files_below(&folder)? {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            if !name.ends_with(".rs") || name.contains("/target/") {
                continue;
            }
            let file = SourceFile {
                path: name,
                part: part.clone(),
                text: std::fs::read_to_string(&path)?,
            };
            complaints.extend(imports::check_source(&file));
            complaints.extend(purity::check(&file));
            complaints.extend(shape::check(&file));
            files += 1;
        }
    }
    if files == 0 {
        bail!("{} holds no Rust to look at", root.display());
    }
    if complaints.is_empty() {
        return Ok(());
    }
    complaints.sort();
    bail!(
        "{}\n{} rules broken; docs/DEVELOPMENT.md says why they are there",
        complaints.join("\n"),
        complaints.len()
    )
}

/// Every package of the workspace, by the name of its folder.
fn parts(root: &Path) -> Result<Vec<(String, std::path::PathBuf)>> {
    let mut folders = Vec::new();
    for parent in [root.to_owned(), root.join("crates")] {
        for entry in std::fs::read_dir(&parent)? {
            let folder = entry?.path();
            if folder.join("Cargo.toml").is_file() {
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                folders.push((name, folder));
            }
        }
    }
    folders.sort();
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_tree_keeps_the_rules() {
        let package = std::env::var("CARGO_MANIFEST_DIR").unwrap();
        let root = Path::new(&package).parent().unwrap();
        if let Err(error) = check(root) {
            panic!("{error}");
        }
    }
}
