//! The Docker daemon: the one that answers is used; else one is started, and found again later.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::packages::docker_answers;
use crate::progress::Step;
use crate::shell::{Run, find, is_root, run, tail_of_file};
use crate::workspace::Workspace;

/// How long a daemon may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The wrapper that takes away the capabilities that the machine does not have.
const CAPPED_RUNC: &str = include_str!("../runc-capped");

pub(crate) fn docker() -> Run {
    run("docker")
}

/// Makes sure that a daemon answers.
pub(crate) fn ensure(workspace: &Workspace, step: &Step) -> Result<()> {
    if docker_answers() {
        step.note(if daemon_pid(workspace).is_some() {
            "ours, running"
        } else {
            "the machine's own"
        });
        return Ok(());
    }
    if !is_root() {
        bail!(
            "no Docker daemon answers. Start one (for example: sudo systemctl start docker) and make \
             sure that you may use it (sudo usermod -aG docker $USER, then log in again)"
        );
    }
    if Path::new("/run/systemd/system").is_dir() {
        run("systemctl").args(["start", "docker"]).logged(step.log())?;
        step.note("started by systemd");
        return wait_until_it_answers(&PathBuf::from("/var/log/syslog"));
    }
    start(workspace)?;
    step.note("started on the default socket");
    Ok(())
}

/// Starts a daemon on the default socket. It stays when this process ends.
fn start(workspace: &Workspace) -> Result<()> {
    let dockerd = find("dockerd").context("dockerd is not installed")?;
    remove_stale_bridges()?;
    let dir = workspace.cache.join("docker");
    let mut daemon = run(dockerd)
        .arg("--data-root")
        .arg(dir.join("data"))
        .arg("--pidfile")
        .arg(pid_file(workspace))
        // Only networks that are asked for: the default bridge would claim a subnet of its own.
        .args(["--host", "unix:///var/run/docker.sock", "--bridge", "none"])
        .args(["--log-level", "warn"]);
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        daemon = daemon.args(["--exec-opt", "native.cgroupdriver=cgroupfs"]);
    }
    if lacks_capabilities()? {
        let wrapper = dir.join("runc-capped");
        std::fs::write(&wrapper, CAPPED_RUNC)?;
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755))?;
        daemon = daemon
            .arg("--add-runtime")
            .arg(format!("capped={}", wrapper.display()))
            .args(["--default-runtime", "capped"]);
    }
    let log = workspace.log("dockerd");
    daemon.detached(&log)?;
    wait_until_it_answers(&log)
}

fn wait_until_it_answers(log: &Path) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while !docker_answers() {
        if Instant::now() > deadline {
            bail!(
                "the Docker daemon does not answer after {} s; the end of {}:\n{}",
                START_TIMEOUT.as_secs(),
                log.display(),
                tail_of_file(log)
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Ends the daemon that [`ensure`] started, if it did, and waits until it is gone.
///
/// Returns whether there was one.
pub(crate) fn stop(workspace: &Workspace) -> Result<bool> {
    let Some(pid) = daemon_pid(workspace) else { return Ok(false) };
    run("kill").arg(pid.to_string()).quiet()?;
    let deadline = Instant::now() + START_TIMEOUT;
    while daemon_pid(workspace).is_some() {
        if Instant::now() > deadline {
            bail!("the Docker daemon (process {pid}) does not end");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    remove_stale_bridges()?;
    Ok(true)
}

/// The process of the daemon that we started, if it lives.
fn daemon_pid(workspace: &Workspace) -> Option<u32> {
    let pid = std::fs::read_to_string(pid_file(workspace)).ok()?.trim().parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim() == "dockerd").then_some(pid)
}

fn pid_file(workspace: &Workspace) -> PathBuf {
    workspace.cache.join("docker/dockerd.pid")
}

/// A bridge that a dead daemon left keeps its subnet and takes the traffic of the next one.
///
/// Only called while no daemon runs.
fn remove_stale_bridges() -> Result<()> {
    let links = run("ip").args(["-brief", "link", "show", "type", "bridge"]).output()?;
    for bridge in stale_bridges(&links) {
        run("ip").args(["link", "delete", bridge]).quiet()?;
    }
    Ok(())
}

/// The bridges that carry a name as Docker gives it: `br-` and 12 hexadecimal digits.
fn stale_bridges(links: &str) -> Vec<&str> {
    let dockers = |name: &&str| {
        name.strip_prefix("br-")
            .is_some_and(|id| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    links.lines().filter_map(|line| line.split_whitespace().next()).filter(dockers).collect()
}

/// Whether this machine withholds a capability that a privileged container would be given.
fn lacks_capabilities() -> Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let last: u32 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")?.trim().parse()?;
    let bound = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .context("/proc/self/status has no CapBnd")?;
    let bound = u64::from_str_radix(bound.trim(), 16).context("read CapBnd")?;
    let all = (1_u64 << (last + 1)) - 1;
    Ok(bound & all != all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bridges_named_by_docker_are_stale() {
        let links = "br-0123456789ab  DOWN  02:42\nbr-lan  UP  aa:bb\nvirbr0 UP cc:dd\n";
        assert_eq!(stale_bridges(links), ["br-0123456789ab"]);
    }
}
