//! What the machine itself must have: Debian's packages, and Go.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::progress::Step;
use crate::shell::{find, is_root, run};

/// The oldest Go that fetches by itself the release that a module asks for.
const GO_OLDEST: (u32, u32) = (1, 21);

/// One thing that is needed, and the Debian package that brings it.
struct Need {
    present: fn() -> bool,
    package: &'static str,
    purpose: &'static str,
}

/// What every build needs.
const BUILD: &[Need] = &[
    Need {
        present: || find("c++").is_some() && find("strip").is_some() && find("make").is_some(),
        package: "build-essential",
        purpose: "compiling RocksDB and the libraries it links",
    },
    Need {
        present: || find("clang").is_some(),
        package: "clang",
        purpose: "reading RocksDB's header",
    },
    Need { present: has_libclang, package: "libclang-dev", purpose: "reading RocksDB's header" },
    Need {
        present: || find("protoc").is_some(),
        package: "protobuf-compiler",
        purpose: "compiling the messages of the raft library",
    },
];

/// What a kind cluster needs besides.
const CLUSTER: &[Need] = &[
    Need {
        present: || find("docker").is_some() && (docker_answers() || find("dockerd").is_some()),
        package: "docker.io",
        purpose: "running the cluster's machines",
    },
    Need {
        present: || find("iptables").is_some(),
        package: "iptables",
        purpose: "Docker's networks",
    },
    Need { present: || find("ip").is_some(), package: "iproute2", purpose: "Docker's networks" },
    Need { present: has_cgroups, package: "cgroupfs-mount", purpose: "Docker's limits" },
    Need {
        present: || find("zstd").is_some(),
        package: "zstd",
        purpose: "keeping the node image small",
    },
    Need {
        present: || find("debootstrap").is_some(),
        package: "debootstrap",
        purpose: "making a node image where no registry is reachable",
    },
    Need {
        present: || find("redis-cli").is_some(),
        package: "redis-tools",
        purpose: "talking to Flin",
    },
];

/// What tests need besides.
const TEST: &[Need] = &[Need {
    // Debian keeps the server's program in the tools, under a name by which it checks dumps; the package
    // redis-server adds its own name and a service that would be started.
    present: || find("redis-server").is_some() || find("redis-check-rdb").is_some(),
    package: "redis-tools",
    purpose: "comparing Flin's replies with those of Redis",
}];

/// What a run is going to do, and so what the machine must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Compile and test, nothing else.
    Build,
    /// Also make a kind cluster.
    Cluster,
    /// Also run every test.
    Test,
}

/// Makes sure that everything for `purpose` is there: installs it as root, else says what to install.
pub(crate) fn ensure(step: &Step, purpose: Purpose) -> Result<()> {
    if purpose != Purpose::Build {
        ensure_go()?;
    }
    let needs: &[&[Need]] = match purpose {
        Purpose::Build => &[BUILD],
        Purpose::Cluster => &[BUILD, CLUSTER],
        Purpose::Test => &[BUILD, CLUSTER, TEST],
    };
    let needs = needs.iter().copied().flatten();
    let missing: Vec<&Need> = needs.filter(|need| !(need.present)()).collect();
    if missing.is_empty() {
        step.note("nothing is missing");
        return Ok(());
    }
    let packages: BTreeSet<&str> = missing.iter().map(|need| need.package).collect();
    let packages: Vec<&str> = packages.into_iter().collect();
    if !is_root() || find("apt-get").is_none() {
        let purposes: String =
            missing.iter().map(|n| format!("\n  {:<16} {}", n.package, n.purpose)).collect();
        bail!(
            "this machine lacks what follows (names of Debian's packages):{purposes}\n\
             install it, for example with: sudo apt-get install {}",
            packages.join(" ")
        );
    }
    install(step, &packages)?;
    if !has_cgroups() && find("cgroupfs-mount").is_some() {
        run("cgroupfs-mount").logged(step.log())?;
    }
    if let Some(need) = missing.iter().find(|need| !(need.present)()) {
        bail!(
            "{} was installed but does not bring what is needed ({})",
            need.package,
            need.purpose
        );
    }
    step.note(format!("installed {}", packages.join(" ")));
    Ok(())
}

fn install(step: &Step, packages: &[&str]) -> Result<()> {
    let get = || {
        run("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-o", "DPkg::Lock::Timeout=120"])
            .timeout(Duration::from_secs(1200))
    };
    let install = || get().args(["install", "-y", "--no-install-recommends"]).args(packages);
    // The lists of packages may be absent or old: ask for new ones only if the first try fails.
    if install().logged(step.log()).is_ok() {
        return Ok(());
    }
    get().arg("update").logged(step.log())?;
    install().logged(step.log())
}

fn ensure_go() -> Result<()> {
    let said = match find("go") {
        Some(go) => run(go).arg("version").output()?,
        None => bail!(
            "Go is missing: kind, helm and the cluster's programs are built from their Go modules.\n\
             Install Go {}.{} or newer and put its folder `bin` on PATH.",
            GO_OLDEST.0,
            GO_OLDEST.1
        ),
    };
    match go_version(&said) {
        Some(version) if version >= GO_OLDEST => Ok(()),
        _ => bail!("Go {}.{} or newer is needed; here is: {said}", GO_OLDEST.0, GO_OLDEST.1),
    }
}

/// Reads the answer of `go version`: `go version go1.26.8 linux/amd64`.
fn go_version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.split_whitespace().nth(2)?.strip_prefix("go")?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor: String = numbers.next()?.chars().take_while(char::is_ascii_digit).collect();
    Some((major, minor.parse().ok()?))
}

/// Whether a Docker daemon answers where the client looks for one.
pub(crate) fn docker_answers() -> bool {
    run("docker").arg("info").timeout(Duration::from_secs(10)).succeeds()
}

fn has_libclang() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let folders = |parent: &str| std::fs::read_dir(parent).into_iter().flatten().flatten();
    let llvm = folders("/usr/lib").filter(|e| e.file_name().to_string_lossy().starts_with("llvm-"));
    llvm.map(|entry| entry.path().join("lib"))
        .chain(
            [
                "/usr/lib/x86_64-linux-gnu",
                "/usr/lib/aarch64-linux-gnu",
                "/usr/lib64",
                "/usr/local/lib",
            ]
            .map(Into::into),
        )
        .any(|dir| has_file(&dir, "libclang.so") || has_file(&dir, "libclang-"))
}

fn has_file(dir: &Path, prefix: &str) -> bool {
    let mut entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with(prefix) && name.contains(".so")
    })
}

fn has_cgroups() -> bool {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts.lines().any(|line| matches!(line.split_whitespace().nth(2), Some("cgroup" | "cgroup2")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_of_go_is_read() {
        assert_eq!(go_version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(go_version("go version go1.27rc1 linux/arm64"), Some((1, 27)));
        assert_eq!(go_version("something else"), None);
    }
}
