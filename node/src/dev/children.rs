//! The processes of the nodes: started, watched, and stopped together.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::future::select_all;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::DevError;
use super::plan::{NodePlan, Plan};

/// How long nodes may take to hand over, drain and flush before they are killed.
const STOP_TIME: Duration = Duration::from_secs(40);
/// How much of a dead node's log is shown.
const TAIL_BYTES: u64 = 2_048;

/// The nodes that run. Dropping it kills them.
pub(super) struct Children {
    running: Vec<NodeProcess>,
}

struct NodeProcess {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Children {
    /// Starts every node of `plan`.
    pub(super) fn start(program: &Path, plan: &Plan) -> Result<Self, DevError> {
        let start = |node| NodeProcess::start(program, plan, node);
        Ok(Children { running: plan.nodes.iter().map(start).collect::<Result<_, _>>()? })
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Waits until one ends, and tells which and how. Never returns when none runs.
    pub(super) async fn ended(&mut self) -> DevError {
        if self.running.is_empty() {
            return std::future::pending().await;
        }
        let waits = self.running.iter_mut().map(|node| Box::pin(node.child.wait()));
        let (status, index, _) = select_all(waits).await;
        let NodeProcess { name, log, .. } = self.running.remove(index);
        match status {
            Ok(status) => DevError::NodeEnded { name, status, tail: tail(&log), log },
            Err(source) => DevError::Io { act: format!("wait for {name}"), source },
        }
    }

    /// Asks every node to stop and waits for it. Whoever takes longer than [`STOP_TIME`], or is still there
    /// when `hurry` says so, is killed.
    pub(super) async fn stop(mut self, hurry: &mut mpsc::Receiver<()>) {
        if self.running.is_empty() {
            return;
        }
        println!("Stopping {} (once more: at once)", super::plural(self.running.len(), "node"));
        for node in &self.running {
            node.terminate();
        }
        let in_time = tokio::select! {
            () = self.all_ended() => true,
            () = tokio::time::sleep(STOP_TIME) => false,
            Some(()) = hurry.recv() => false,
        };
        if in_time {
            println!("Stopped.");
            return;
        }
        for node in &mut self.running {
            println!("Killing {}; its data are as a power loss would leave them", node.name);
            let _ = node.child.kill().await;
        }
    }

    async fn all_ended(&mut self) {
        while !self.running.is_empty() {
            match self.ended().await {
                // One that has just been started ends by the signal itself.
                DevError::NodeEnded { status, .. }
                    if status.success() || status.signal() == Some(Signal::TERM.as_raw()) => {}
                DevError::NodeEnded { name, status, log, tail } => {
                    println!(
                        "{name} failed to stop ({status}); {} ends with:\n{tail}",
                        log.display()
                    );
                }
                error => println!("{error}"),
            }
        }
    }
}

impl NodeProcess {
    fn start(program: &Path, plan: &Plan, node: &NodePlan) -> Result<Self, DevError> {
        let log = plan.log(node);
        let open = || {
            // The log of the run before is kept, and only that.
            if log.exists() {
                fs::rename(&log, log.with_extension("log.1"))?;
            }
            let file = File::create(&log)?;
            Ok((file.try_clone()?, file))
        };
        let (out, err) = open().map_err(DevError::io(format!("write {}", log.display())))?;
        let mut command = Command::new(program);
        command
            .args(plan.arguments(node))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            // Ctrl-C reaches the whole foreground group: a group of their own leaves it to this process
            // to tell the nodes.
            .process_group(0)
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FLIN_") {
                command.env_remove(name);
            }
        }
        let act = format!("start {} as {}", program.display(), node.name);
        let child = command.spawn().map_err(DevError::io(act))?;
        Ok(NodeProcess { name: node.name.clone(), log, child })
    }

    fn terminate(&self) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended just now; whoever waits for it will see.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// The last that the node wrote.
fn tail(log: &Path) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        // The first line is whole only when the file begins with it.
        let whole =
            if length > TAIL_BYTES { text.split_once('\n').map(|(_, rest)| rest) } else { None };
        Ok::<_, std::io::Error>(whole.unwrap_or(&text).trim_end().to_owned())
    };
    read().unwrap_or_else(|error| format!("(cannot be read: {error})"))
}
