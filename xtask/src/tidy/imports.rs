//! Who may import whom: the layers of docs/ARCHITECTURE.md, and libraries that only one crate names.

use anyhow::{Context, Result};
use toml::Table;

use super::SourceFile;
use super::source::{code, line_with};

/// For each part of the tree, the parts it may depend on.
const LAYERS: &[(&str, &[&str])] = &[
    ("state", &[]),
    ("resp", &[]),
    ("check", &[]),
    ("proto", &[]),
    ("crds", &[]),
    ("xtask", &[]),
    ("replica", &["state"]),
    ("engine", &["state"]),
    ("node", &["state", "replica", "engine", "proto", "resp"]),
    ("operator", &["crds", "proto"]),
    ("e2e", &["crds", "proto", "check"]),
];

/// Libraries that are hidden behind a part: nobody else may depend on them or name them.
const HIDDEN: &[(&str, &str, &[&str])] = &[
    ("rocksdb", "rocksdb::", &["engine"]),
    ("raft", "raft::", &["replica"]),
    ("kube", "kube::", &["crds", "operator", "e2e"]),
    ("kube-runtime", "kube_runtime::", &["operator", "e2e"]),
    ("k8s-openapi", "k8s_openapi::", &["crds", "operator", "e2e"]),
];

/// Checks the dependencies of one package.
pub(super) fn check_manifest(part: &str, manifest: &str) -> Result<Vec<String>> {
    let manifest: Table =
        toml::from_str(manifest).with_context(|| format!("read the manifest of {part}"))?;
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == part) else {
        return Ok(vec![format!(
            "{part}: no rule says what it may import; add it to LAYERS in xtask/src/tidy/imports.rs"
        )]);
    };
    let mut complaints = Vec::new();
    for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(dependencies) = manifest.get(table).and_then(toml::Value::as_table) else {
            continue;
        };
        for name in dependencies.keys() {
            if let Some(other) = name.strip_prefix("flin-")
                && !allowed.contains(&other)
            {
                complaints.push(format!("{part}/Cargo.toml: {part} must not depend on {other}"));
            }
            if let Some((_, _, owners)) = HIDDEN.iter().find(|(library, ..)| library == name)
                && !owners.contains(&part)
            {
                complaints.push(format!(
                    "{part}/Cargo.toml: only {} may depend on {name}",
                    owners.join(", ")
                ));
            }
        }
    }
    Ok(complaints)
}

/// Checks that a file names no library that is hidden from it.
pub(super) fn check_source(file: &SourceFile) -> Vec<String> {
    let code = code(&file.text);
    let hidden = HIDDEN.iter().filter(|(_, _, owners)| !owners.contains(&file.part.as_str()));
    hidden
        .filter_map(|(library, path, owners)| {
            let line = line_with(&code, path)?;
            Some(format!("{}:{line}: only {} may name {library}", file.path, owners.join(", ")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(dependency: &str) -> String {
        format!("[package]\nname = \"x\"\n\n[dependencies]\n{dependency}.workspace = true\n")
    }

    #[test]
    fn state_imports_none_of_ours() {
        assert_eq!(check_manifest("state", &manifest("bytes")).unwrap(), [""; 0]);
        let complaints = check_manifest("state", &manifest("flin-engine")).unwrap();
        assert_eq!(complaints, ["state/Cargo.toml: state must not depend on engine"]);
    }

    #[test]
    fn operator_never_imports_the_data_plane() {
        for part in ["node", "state", "replica", "engine"] {
            let dependency = format!("flin-{part}");
            assert_eq!(check_manifest("operator", &manifest(&dependency)).unwrap().len(), 1);
        }
    }

    #[test]
    fn hidden_library_is_found_in_manifest_and_source() {
        assert_eq!(check_manifest("node", &manifest("rocksdb")).unwrap().len(), 1);
        let file = SourceFile {
            path: "node/src/a.rs".into(),
            part: "node".into(),
            text: "//! raft::nothing\nuse raft::RawNode;\n".into(),
        };
        assert_eq!(check_source(&file), ["node/src/a.rs:2: only replica may name raft"]);
    }

    #[test]
    fn new_part_needs_a_rule() {
        assert_eq!(check_manifest("cli", &manifest("bytes")).unwrap().len(), 1);
    }
}
