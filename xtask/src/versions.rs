//! The versions of everything that the cluster is made of, from `e2e/nodeimage/versions.toml`.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::workspace::Workspace;

/// What is pinned, and to what.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Versions {
    pub(crate) kind: String,
    pub(crate) helm: String,
    pub(crate) kubernetes: String,
    pub(crate) debian: Debian,
}

/// The base system of the node image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Debian {
    pub(crate) suite: String,
    pub(crate) packages: Vec<String>,
}

impl Versions {
    pub(crate) fn read(workspace: &Workspace) -> Result<Self> {
        let path = workspace.root.join("e2e/nodeimage/versions.toml");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("understand {}", path.display()))
    }
}

/// The version of a module that the Go module of the node image requires, without its `v`.
pub(crate) fn go_module(workspace: &Workspace, module: &str) -> Result<String> {
    let path = workspace.root.join("e2e/nodeimage/gomod/go.mod");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    required(&text, module)
        .map(str::to_owned)
        .with_context(|| format!("{} does not require {module}", path.display()))
}

fn required<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let (name, version) = line.trim().split_once(' ')?;
        (name == module).then(|| version.split_whitespace().next())??.strip_prefix('v')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_of_a_required_module_is_found() {
        let go_mod =
            "require (\n\tgo.etcd.io/etcd/server/v3 v3.6.8\n\tother v1.0.0 // indirect\n)\n";
        assert_eq!(required(go_mod, "go.etcd.io/etcd/server/v3"), Some("3.6.8"));
        assert_eq!(required(go_mod, "other"), Some("1.0.0"));
        assert_eq!(required(go_mod, "absent"), None);
    }

    #[test]
    fn pinned_versions_are_understood_and_agree_with_the_go_module() {
        let workspace = Workspace::open().unwrap();
        let versions = Versions::read(&workspace).unwrap();
        assert_eq!(versions.kubernetes, go_module(&workspace, "k8s.io/kubernetes").unwrap());
    }
}
