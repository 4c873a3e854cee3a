//! Container images as files that `docker load` and containerd read, made without a builder.
//!
//! An image here is one layer and a configuration. No base image is pulled and nothing in the archive
//! depends on the time or the machine: equal content has equal identity.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::shell::run;

/// The path that programs of an image are looked for on.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One image to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    /// Its names, with tags.
    pub(crate) names: Vec<String>,
    /// The tar file that holds its file system.
    pub(crate) layer: PathBuf,
    pub(crate) config: Config,
}

/// What the image says about how to run it, as Docker spells it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Config {
    pub(crate) entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cmd: Vec<String>,
    pub(crate) env: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) stop_signal: String,
    pub(crate) labels: std::collections::BTreeMap<String, String>,
}

impl Config {
    /// Runs `entrypoint` with the usual search path.
    pub(crate) fn running(entrypoint: &[&str]) -> Self {
        Self {
            entrypoint: entrypoint.iter().map(|&word| word.to_owned()).collect(),
            env: vec![PATH.to_owned()],
            ..Self::default()
        }
    }
}

/// Packs the folder `root` as a layer, owned by root, in a stable order and without times.
pub(crate) fn layer(root: &Path, file: &Path) -> Result<()> {
    tar(root, file, &["--owner=0", "--group=0"])
}

/// As [`layer`], with owners as they are.
pub(crate) fn layer_with_owners(root: &Path, file: &Path) -> Result<()> {
    tar(root, file, &[])
}

fn tar(root: &Path, file: &Path, more: &[&str]) -> Result<()> {
    run("tar")
        .args(["--sort=name", "--mtime=@0", "--numeric-owner"])
        .args(more)
        .arg("-C")
        .arg(root)
        .arg("-cf")
        .arg(file)
        .arg(".")
        .quiet()
}

/// Writes the parts of an archive into the new folder `dir`. Layers are moved there.
///
/// Returns the identity (a digest) of each image.
pub(crate) fn write(dir: &Path, images: &[Image]) -> Result<Vec<String>> {
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let mut manifest = Vec::new();
    let mut identities = Vec::new();
    let mut layers: Vec<(&Path, String)> = Vec::new();
    for image in images {
        let known = layers.iter().find(|(path, _)| *path == image.layer);
        let digest = match known {
            Some((_, digest)) => digest.clone(),
            None => {
                let digest = sha256sum(&image.layer)?;
                std::fs::rename(&image.layer, dir.join(format!("{digest}.tar")))
                    .with_context(|| format!("move {}", image.layer.display()))?;
                layers.push((&image.layer, digest.clone()));
                digest
            }
        };
        let config = serde_json::to_vec(&configuration(&image.config, &digest))?;
        let identity = hex::encode(Sha256::digest(&config));
        std::fs::write(dir.join(format!("{identity}.json")), config)?;
        manifest.push(json!({
            "Config": format!("{identity}.json"),
            "RepoTags": image.names,
            "Layers": [format!("{digest}.tar")],
        }));
        identities.push(identity);
    }
    std::fs::write(dir.join("manifest.json"), serde_json::to_vec(&manifest)?)?;
    Ok(identities)
}

fn configuration(config: &Config, layer: &str) -> Value {
    json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask" }],
    })
}

/// Layers are large and this program is built for speed of building: hash them elsewhere.
fn sha256sum(file: &Path) -> Result<String> {
    let said = run("sha256sum").arg("--binary").arg(file).output()?;
    let digest = said.trim_start_matches('\\').split_whitespace().next();
    digest.map(str::to_owned).context("sha256sum said nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_content_has_equal_identity() {
        let dir = std::env::temp_dir().join(format!("flin-archive-{}", std::process::id()));
        let make = |name: &str, word: &str| {
            let root = dir.join(name).join("root");
            std::fs::create_dir_all(&root).unwrap();
            std::fs::write(root.join("file"), word).unwrap();
            let file = dir.join(name).join("layer.tar");
            layer(&root, &file).unwrap();
            let config = Config::running(&["/file"]);
            let image = Image { names: vec!["a:1".into()], layer: file, config };
            write(&dir.join(name).join("archive"), &[image]).unwrap()
        };
        let (one, same, other) = (make("one", "x"), make("same", "x"), make("other", "y"));
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(one, same);
        assert_ne!(one, other);
    }
}
