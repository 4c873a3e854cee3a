//! The programs of a node: all of Kubernetes in one file, etcd, CoreDNS and two small ones of ours.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::inputs;
use crate::gotools::go;
use crate::progress::Step;
use crate::shell::run;
use crate::versions::Versions;
use crate::workspace::{Key, Workspace, remove_older};

/// The packages of the Go module; `kube` is every Kubernetes program, by the name it is called by.
const PACKAGES: [&str; 5] =
    ["./cmd/kube", "./cmd/etcd", "./cmd/coredns", "./cmd/node-agent", "./cmd/crictl"];

/// Names what the programs are made from.
pub(super) fn key(workspace: &Workspace) -> Result<String> {
    let inputs = inputs(workspace);
    Ok(Key::default()
        .add(linker_flags(&Versions::read(workspace)?.kubernetes))
        .add_files(&inputs.join("gomod"))?
        .add(std::fs::read(inputs.join("node/pause.c"))?)
        .short())
}

/// The folder with the programs, built if they are not there yet.
pub(crate) fn ensure(workspace: &Workspace, step: &Step) -> Result<PathBuf> {
    let cache = workspace.cache.join("nodeimage");
    let dir = cache.join(format!("programs-{}", key(workspace)?));
    if dir.join("complete").is_file() {
        step.note("cached");
        return Ok(dir);
    }
    build(workspace, step, &PACKAGES, &dir)?;
    run("cc")
        .args(["-Os", "-static", "-s", "-o"])
        .arg(dir.join("pause"))
        .arg(inputs(workspace).join("node/pause.c"))
        .logged(step.log())?;
    std::fs::write(dir.join("complete"), "")?;
    remove_older(&cache, "programs-", &dir)?;
    Ok(dir)
}

/// etcd alone, for benchmarks beside it: from the programs if they are there, else built by itself.
pub(crate) fn ensure_etcd(workspace: &Workspace, step: &Step) -> Result<PathBuf> {
    let dir = workspace.cache.join(format!("nodeimage/programs-{}", key(workspace)?));
    let etcd = dir.join("etcd");
    if !etcd.is_file() {
        build(workspace, step, &["./cmd/etcd"], &dir)?;
    }
    Ok(etcd)
}

fn build(workspace: &Workspace, step: &Step, packages: &[&str], dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut output = dir.as_os_str().to_owned();
    output.push("/");
    go(workspace)
        .dir(inputs(workspace).join("gomod"))
        // The state of our own repository would be linked in and change the programs at every commit.
        .args(["build", "-trimpath", "-buildvcs=false", "-ldflags"])
        .arg(linker_flags(&Versions::read(workspace)?.kubernetes))
        .arg("-o")
        .arg(output)
        .args(packages)
        .logged(step.log())
}

/// Kubernetes takes its version from the linker; kubeadm refuses to work without one.
fn linker_flags(kubernetes: &str) -> String {
    let mut parts = kubernetes.split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let version = format!("v{kubernetes}");
    let values = [
        ("gitVersion", version.as_str()),
        ("gitMajor", major),
        ("gitMinor", minor),
        ("gitTreeState", "clean"),
        ("gitCommit", "0000000000000000000000000000000000000000"),
        ("buildDate", "1970-01-01T00:00:00Z"),
    ];
    let mut flags = "-s -w".to_owned();
    for (name, value) in values {
        for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
            let _ = write!(flags, " -X {package}.{name}={value}");
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linker_flags_carry_the_version_of_kubernetes() {
        let flags = linker_flags("1.36.3");
        assert!(flags.contains("-X k8s.io/component-base/version.gitVersion=v1.36.3"));
        assert!(flags.contains("-X k8s.io/client-go/pkg/version.gitMinor=36"));
    }
}
