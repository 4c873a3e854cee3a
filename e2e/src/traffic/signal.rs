//! Signals the processes of a pod: `SIGKILL` as a power cut would, no notice, no grace; `SIGTERM` to tell
//! traffic of ours that it is enough.
//!
//! Deleting a pod, even by force, lets the kubelet ask politely first. A pod of ours in the process
//! namespace of the same machine and under the same user id needs no privilege to do worse.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use rustix::process;

use super::note::{self, Note};

/// Options of `traffic signal`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The pod's uid, as Kubernetes names it.
    #[arg(long)]
    pod_uid: String,
    /// Which signal.
    #[arg(long, value_enum, default_value = "kill")]
    signal: Signal,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Signal {
    Kill,
    Term,
}

/// Signals every process whose control group names the pod, except the sandbox.
///
/// # Errors
/// When there is none that may be signalled.
pub(super) fn run(options: &Options) -> Result<()> {
    // The systemd driver writes the uid with underscores, the cgroupfs driver as it is.
    let names = [options.pod_uid.clone(), options.pod_uid.replace('-', "_")];
    let mut reached = 0;
    for entry in std::fs::read_dir("/proc").context("list the processes")? {
        let path = entry.context("list the processes")?.path();
        let pid = path.file_name().and_then(|name| name.to_str()).and_then(|n| n.parse().ok());
        let Some(pid) = pid else { continue };
        let groups = std::fs::read_to_string(path.join("cgroup")).unwrap_or_default();
        let program = program(&path);
        if names.iter().any(|name| groups.contains(name.as_str())) && program != "pause" {
            // A sandbox under another name and user is out of reach, and none of our business.
            if send(options.signal, pid).is_ok() {
                note::print(&Note::Signalled { pid, program });
                reached += 1;
            }
        }
    }
    ensure!(
        reached > 0,
        "no process here that may be signalled belongs to pod {}",
        options.pod_uid
    );
    Ok(())
}

fn program(process: &Path) -> String {
    let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
    name.trim().to_owned()
}

fn send(signal: Signal, pid: i32) -> Result<()> {
    let pid = process::Pid::from_raw(pid).context("a process id is not zero")?;
    let signal = match signal {
        Signal::Kill => process::Signal::KILL,
        Signal::Term => process::Signal::TERM,
    };
    Ok(process::kill_process(pid, signal)?)
}
