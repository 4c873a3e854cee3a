//! Where things are: the repository, and the folder that keeps everything slow to make.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The checkout that is worked on and its cache folder.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// `$FLIN_CACHE_DIR`, or `~/.cache/flin`.
    pub(crate) cache: PathBuf,
    /// The version that all packages share; also the tag of the images.
    pub(crate) version: String,
}

impl Workspace {
    /// Finds both folders and makes those of the cache that others rely on.
    pub(crate) fn open() -> Result<Self> {
        // At run time: the build may be shared by several checkouts. Without cargo the one it was built in.
        let package = std::env::var_os("CARGO_MANIFEST_DIR");
        let package = package.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&package).parent().context("xtask has no parent folder")?.to_owned();
        let cache = match std::env::var_os("FLIN_CACHE_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => std::path::absolute(dir)?,
            None => std::env::home_dir()
                .context("no home folder is known: set FLIN_CACHE_DIR")?
                .join(".cache/flin"),
        };
        for dir in ["bin", "log", "docker", "nodeimage", "images", "rocksdb"] {
            let dir = cache.join(dir);
            std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        }
        Ok(Self { root, cache, version: env!("CARGO_PKG_VERSION").to_owned() })
    }

    /// The one `CARGO_TARGET_DIR` of all builds except that of `xtask` itself.
    pub(crate) fn target(&self) -> PathBuf {
        self.cache.join("target")
    }

    /// A program of this workspace, built for release.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.target().join("release").join(name)
    }

    /// A program that was fetched or built for our use: kind, helm, kubectl.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.cache.join("bin").join(name)
    }

    /// The log of a step. It starts empty in every run.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.cache.join("log").join(format!("{name}.log"))
    }

    /// Waits until no other `cargo xtask` is at work, then keeps others out.
    ///
    /// The lock ends with the returned value or with this process.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.cache.join("xtask.lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        if file.try_lock().is_err() {
            println!("waiting for another cargo xtask to end (it holds {})", path.display());
            file.lock().with_context(|| format!("lock {}", path.display()))?;
        }
        Ok(file)
    }
}

/// Every file below `dir`, in a stable order, as absolute paths.
pub(crate) fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A short name for a set of inputs: equal inputs, equal key.
#[derive(Default)]
pub(crate) struct Key(Sha256);

impl Key {
    /// Adds one input. Lengths are part of the key, so that inputs cannot run into each other.
    pub(crate) fn add(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds every file below `dir`, by name and content.
    pub(crate) fn add_files(mut self, dir: &Path) -> Result<Self> {
        for file in files_below(dir)? {
            let name = file.strip_prefix(dir).unwrap_or(&file).to_string_lossy().into_owned();
            let bytes = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
            self = self.add(name).add(bytes);
        }
        Ok(self)
    }

    /// The first 12 hexadecimal digits.
    pub(crate) fn short(self) -> String {
        hex::encode(self.0.finalize())[..12].to_owned()
    }
}

/// Removes what older inputs left: entries of `dir` named `prefix...` except `keep`.
pub(crate) fn remove_older(dir: &Path, prefix: &str, keep: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let path = entry?.path();
        let named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
        if !named || path == keep {
            continue;
        }
        if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) }
            .with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_depends_on_where_inputs_end() {
        assert_ne!(
            Key::default().add("ab").add("c").short(),
            Key::default().add("a").add("bc").short()
        );
        assert_eq!(Key::default().add("ab").short(), Key::default().add("ab").short());
        assert_eq!(Key::default().add("x").short().len(), 12);
    }

    #[test]
    fn workspace_root_holds_the_manifest() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert!(root.join("Cargo.toml").is_file());
    }
}
