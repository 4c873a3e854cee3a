//! The Flin cluster of `examples/flincluster.yaml`: applied, brought up to date, awaited.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::chart;
use crate::cluster::kubectl;
use crate::progress::Step;
use crate::shell::Run;
use crate::workspace::Workspace;

/// Its namespace and name in the example.
pub(crate) const NAMESPACE: &str = "flin";
pub(crate) const NAME: &str = "demo";
/// The example itself.
const EXAMPLE: &str = "examples/flincluster.yaml";
/// How long it may take until it serves.
const AVAILABLE_TIMEOUT: Duration = Duration::from_secs(180);

fn flin(workspace: &Workspace) -> Run {
    kubectl(workspace).args(["--namespace", NAMESPACE])
}

/// Applies the example, which brings its namespace.
pub(crate) fn apply(workspace: &Workspace, step: &Step) -> Result<()> {
    kubectl(workspace)
        .args(["apply", "--filename"])
        .arg(workspace.root.join(EXAMPLE))
        .logged(step.log())
}

/// Waits until the cluster says that it is available; if it does not, tells what is known.
pub(crate) fn wait_available(workspace: &Workspace, step: &Step) -> Result<()> {
    let resource = format!("flincluster/{NAME}");
    let waited = flin(workspace)
        .args(["wait", "--for=condition=Available", &resource])
        .arg(format!("--timeout={}s", AVAILABLE_TIMEOUT.as_secs()))
        .logged(step.log());
    let Err(error) = waited else { return Ok(()) };
    let ask = |question: Run| question.output().unwrap_or_else(|error| error.to_string());
    let pods = ask(flin(workspace).args([
        "get",
        "flinclusters,pods,persistentvolumeclaims",
        "-o",
        "wide",
    ]));
    let described = ask(flin(workspace).args(["describe", &resource]));
    let operator = ask(kubectl(workspace).args([
        "--namespace",
        chart::NAMESPACE,
        "logs",
        "deployment/flin-operator",
        "--tail=20",
    ]));
    let node = ask(flin(workspace).args(["logs", &format!("{NAME}-0"), "--tail=20"]));
    bail!("{error}\n\n{pods}\n\n{described}\n\noperator:\n{operator}\n\n{NAME}-0:\n{node}")
}

/// Runs the operator anew, after its image changed under the same name.
pub(crate) fn restart_operator(workspace: &Workspace, step: &Step) -> Result<()> {
    let operator = || kubectl(workspace).args(["--namespace", chart::NAMESPACE]);
    operator().args(["rollout", "restart", "deployment/flin-operator"]).logged(step.log())?;
    operator()
        .args(["rollout", "status", "deployment/flin-operator", "--timeout=120s"])
        .logged(step.log())
}

/// Runs the nodes anew one after the other, each only when the one before serves again.
pub(crate) fn restart_nodes(workspace: &Workspace, step: &Step) -> Result<()> {
    let selector = format!("flin.io/cluster={NAME}");
    let pods =
        flin(workspace).args(["get", "pods", "-o", "name", "--selector", &selector]).output()?;
    for pod in pods.lines() {
        flin(workspace).args(["delete", pod, "--wait=true", "--timeout=90s"]).logged(step.log())?;
        wait_ready(workspace, step, pod)?;
    }
    step.note(format!("{} nodes, one after the other", pods.lines().count()));
    Ok(())
}

fn wait_ready(workspace: &Workspace, step: &Step, pod: &str) -> Result<()> {
    let deadline = Instant::now() + AVAILABLE_TIMEOUT;
    loop {
        // Right after its end the pod does not exist yet, which kubectl would not wait for.
        let ready = flin(workspace)
            .args(["wait", "--for=condition=Ready", pod, "--timeout=20s"])
            .logged(step.log());
        match ready {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
        }
    }
}
