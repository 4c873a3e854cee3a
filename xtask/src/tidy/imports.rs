//! Who may import whom: the layers of docs/ARCHITECTURE.md, and libraries that stay behind one crate.

use anyhow::{Context, Result};
use toml::Table;

use super::SourceFile;
use super::source::{code, line_with};

/// For each part of the tree, the parts it may depend on.
const LAYERS: &[(&str, &[&str])] = &[
    ("mutant", &[]),
    ("state", &["mutant"]),
    ("resp", &[]),
    ("check", &[]),
    ("proto", &[]),
    ("crds", &[]),
    ("xtask", &[]),
    ("fuzz", &["state", "replica", "engine", "resp", "check", "crds"]),
    ("replica", &["state", "mutant"]),
    ("engine", &["state", "mutant"]),
    ("groups", &["state", "replica", "proto", "engine", "mutant"]),
    ("node", &["state", "replica", "groups", "engine", "proto", "resp"]),
    ("sim", &["state", "replica", "groups", "engine", "proto", "check", "mutant"]),
    ("operator", &["crds", "proto"]),
    ("cli", &["proto"]),
    ("e2e", &["crds", "proto", "check"]),
];

/// Libraries that are hidden behind parts: nobody else may depend on them, and so nobody can name them.
const HIDDEN: &[(&str, &[&str])] = &[
    ("rocksdb", &["engine"]),
    ("raft", &["replica"]),
    ("kube", &["crds", "operator", "e2e"]),
    ("kube-runtime", &["operator", "e2e"]),
    ("k8s-openapi", &["crds", "operator", "e2e"]),
];

/// Libraries that even the parts that use them do not hand on.
const NOT_HANDED_ON: [(&str, &str); 2] = [("engine", "rocksdb"), ("replica", "raft")];

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
            if let Some((_, owners)) = HIDDEN.iter().find(|(library, _)| library == name)
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

/// Checks that a file does not hand on a hidden library under its own name.
pub(super) fn check_source(file: &SourceFile) -> Vec<String> {
    let code = code(&file.text);
    let mut complaints = Vec::new();
    for (part, library) in NOT_HANDED_ON {
        if part != file.part {
            continue;
        }
        for export in [format!("pub use {library}"), format!("pub extern crate {library}")] {
            if let Some(line) = line_with(&code, &export) {
                complaints.push(format!("{}:{line}: {library} must not be handed on", file.path));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(dependency: &str) -> String {
        format!("[package]\nname = \"x\"\n\n[dependencies]\n{dependency}.workspace = true\n")
    }

    #[test]
    fn state_imports_none_of_ours_but_the_switch_for_deliberate_bugs() {
        assert_eq!(check_manifest("state", &manifest("bytes")).unwrap(), [""; 0]);
        assert_eq!(check_manifest("state", &manifest("flin-mutant")).unwrap(), [""; 0]);
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
    fn hidden_library_stays_where_it_is() {
        assert_eq!(check_manifest("node", &manifest("rocksdb")).unwrap().len(), 1);
        assert!(check_manifest("engine", &manifest("rocksdb")).unwrap().is_empty());
        let file = SourceFile {
            path: "crates/replica/src/a.rs".into(),
            part: "replica".into(),
            text: "//! pub use raft\nuse raft::RawNode;\npub use raft::Config;\n".into(),
        };
        assert_eq!(check_source(&file), ["crates/replica/src/a.rs:3: raft must not be handed on"]);
    }

    #[test]
    fn new_part_needs_a_rule() {
        assert_eq!(check_manifest("attic", &manifest("bytes")).unwrap().len(), 1);
    }
}
