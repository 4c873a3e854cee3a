//! Kills the processes of a pod as a power cut would: `SIGKILL`, no notice, no grace.
//!
//! Deleting a pod, even by force, lets the kubelet ask politely first. A pod of ours in the process
//! namespace of the same machine and under the same user id needs no privilege to do worse.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::note::{self, Note};

/// Options of `traffic sigkill`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The pod's uid, as Kubernetes names it.
    #[arg(long)]
    pod_uid: String,
}

/// Kills every process whose control group names the pod, except the sandbox.
///
/// # Errors
/// When there is none, or one cannot be killed.
pub(super) fn run(options: &Options) -> Result<()> {
    // The systemd driver writes the uid with underscores, the cgroupfs driver as it is.
    let names = [options.pod_uid.clone(), options.pod_uid.replace('-', "_")];
    let mut killed = 0;
    for entry in std::fs::read_dir("/proc").context("list the processes")? {
        let path = entry.context("list the processes")?.path();
        let pid = path.file_name().and_then(|name| name.to_str()).and_then(|n| n.parse().ok());
        let Some(pid) = pid else { continue };
        let groups = std::fs::read_to_string(path.join("cgroup")).unwrap_or_default();
        let program = program(&path);
        if names.iter().any(|name| groups.contains(name.as_str())) && program != "pause" {
            // A sandbox under another name and user is out of reach, and none of our business.
            if kill(pid).is_ok() {
                note::print(&Note::Killed { pid, program });
                killed += 1;
            }
        }
    }
    ensure!(killed > 0, "no process here that may be killed belongs to pod {}", options.pod_uid);
    Ok(())
}

fn program(process: &Path) -> String {
    let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
    name.trim().to_owned()
}

fn kill(pid: i32) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(pid).context("a process id is not zero")?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::KILL)?)
}
