//! RocksDB as one static library that every build links.
//!
//! It takes 15 minutes of two cores to compile, and cargo would do that anew for every profile. Here it is
//! compiled once per version, set of features and compiler, and kept.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::progress::Step;
use crate::shell::run;
use crate::workspace::{Key, Workspace, files_below};

/// The package that compiles the library.
const PACKAGE: &str = "librocksdb-sys";
/// The library, as the linker looks for it.
const LIBRARY: &str = "librocksdb.a";

/// The folder that the library is kept in, whether or not it is there yet.
pub(crate) fn folder(workspace: &Workspace) -> Result<PathBuf> {
    let read = |path: &str| {
        let path = workspace.root.join(path);
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    };
    let lock = read("Cargo.lock")?;
    let version =
        locked_version(&lock, PACKAGE).with_context(|| format!("Cargo.lock names no {PACKAGE}"))?;
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")?).context("read Cargo.toml")?;
    let features = ["workspace", "dependencies", "rocksdb", "features"]
        .iter()
        .try_fold(&toml::Value::Table(manifest), |value, name| value.get(name))
        .map(ToString::to_string)
        .context("Cargo.toml names no features of rocksdb")?;
    let compiler = run("c++").arg("--version").output()?;
    let compiler = compiler.lines().next().unwrap_or_default();
    let key = Key::default().add(version).add(features).add(compiler).short();
    Ok(workspace.cache.join("rocksdb").join(key))
}

/// Compiles the library if it is not there yet.
pub(crate) fn ensure(workspace: &Workspace, step: &Step) -> Result<()> {
    let folder = folder(workspace)?;
    let library = folder.join(LIBRARY);
    if library.is_file() {
        step.note("cached");
        return Ok(());
    }
    let target = workspace.cache.join("rocksdb/build");
    run("cargo")
        .dir(&workspace.root)
        .env("CARGO_TARGET_DIR", &target)
        // With this set in the user's environment, nothing would be compiled.
        .env("ROCKSDB_COMPILE", "1")
        .args(["build", "--release", "--package", PACKAGE])
        .logged(step.log())?;
    let built = newest_library(&target)?;
    std::fs::create_dir_all(&folder)?;
    let unfinished = folder.join("unfinished");
    std::fs::copy(&built, &unfinished).with_context(|| format!("copy {}", built.display()))?;
    // Debug information would make it thirty times as large, and every link as slow.
    run("strip").arg("--strip-debug").arg(&unfinished).logged(step.log())?;
    std::fs::rename(&unfinished, &library)?;
    // Gigabytes of objects that are all in the library now.
    std::fs::remove_dir_all(&target).ok();
    Ok(())
}

fn newest_library(target: &Path) -> Result<PathBuf> {
    let mut found: Vec<_> = files_below(target)?
        .into_iter()
        .filter(|file| file.file_name().is_some_and(|name| name == LIBRARY))
        .collect();
    found.sort_by_key(|file| file.metadata().and_then(|meta| meta.modified()).ok());
    match found.pop() {
        Some(file) => Ok(file),
        None => bail!("{PACKAGE} was built, but {} holds no {LIBRARY}", target.display()),
    }
}

fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    lines.next()?.strip_prefix("version = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_version_is_found() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n\
                    [[package]]\nname = \"librocksdb-sys\"\nversion = \"0.19.0+11.8.1\"\n";
        assert_eq!(locked_version(lock, "librocksdb-sys"), Some("0.19.0+11.8.1"));
        assert_eq!(locked_version(lock, "b"), None);
    }
}
