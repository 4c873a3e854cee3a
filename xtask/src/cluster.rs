//! The kind cluster: made, found whole, or made anew.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::docker::docker;
use crate::gotools;
use crate::images;
use crate::loaded;
use crate::network;
use crate::nodeimage::{self, NodeImage};
use crate::progress::{Progress, Step};
use crate::shell::{Run, run};
use crate::workspace::{Key, Workspace};

/// Its name; kind calls the context `kind-flin`.
pub(crate) const NAME: &str = "flin";
/// The context in the user's kubeconfig.
pub(crate) const CONTEXT: &str = "kind-flin";
/// The node of the control plane, as kind names its container.
const CONTROL_PLANE: &str = "flin-control-plane";
/// How long a registry may take to answer when we ask whether there is one.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(10);
/// A very small image that registries have, to ask for.
const SMALL_IMAGE: &str = "hello-world";
/// How long a cluster that is up may take to say so.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// The ports of this machine that `kind-config.yaml` leads into the cluster.
const HOST_PORTS: [u16; 2] = [6380, 6381];

/// Where the machines of the cluster come from.
#[derive(Debug)]
enum Source {
    /// The image that kind itself asks for.
    Public,
    /// Ours, made without a registry.
    Own(NodeImage),
}

impl Source {
    fn image(&self) -> &str {
        match self {
            Self::Public => "the public one",
            Self::Own(image) => &image.tag,
        }
    }
}

pub(crate) fn kind(workspace: &Workspace) -> Run {
    run(workspace.tool("kind"))
}

pub(crate) fn kubectl(workspace: &Workspace) -> Run {
    run(gotools::kubectl_program(workspace)).args(["--context", CONTEXT])
}

/// Makes sure of a cluster that is whole. What a dead Docker daemon left broken is made anew.
pub(crate) fn ensure(workspace: &Workspace, progress: &Progress) -> Result<()> {
    progress.step("kind", |step| gotools::ensure_kind(workspace, step))?;
    let source = progress.step("node image: choose", |step| choose(workspace, step))?;
    if let Source::Own(image) = &source {
        image.ensure(workspace, progress)?;
        progress.step("network fences", |_| network::fence(workspace))?;
    }
    progress.step("kind cluster", |step| create_or_keep(workspace, step, &source))?;
    if !gotools::kubectl_program(workspace).is_file() {
        progress.step("kubectl", |_| copy_kubectl(workspace))?;
    }
    progress.step("cluster ready", |step| wait_ready(workspace, step))
}

/// Public where a registry is reachable, ours where not; `FLIN_NODE_IMAGE` (`public`, `own`) decides.
fn choose(workspace: &Workspace, step: &Step) -> Result<Source> {
    let wish = std::env::var("FLIN_NODE_IMAGE").unwrap_or_default();
    let own = NodeImage::described(workspace)?;
    let source = match wish.as_str() {
        "public" => Source::Public,
        "own" => Source::Own(own),
        "" if has_public_image() => Source::Public,
        "" if own.is_cached() => Source::Own(own),
        "" if registry_answers() => Source::Public,
        "" => Source::Own(own),
        other => bail!(
            "FLIN_NODE_IMAGE is `{other}`: say `public` or `own`, or nothing to let us choose"
        ),
    };
    step.note(source.image());
    Ok(source)
}

fn has_public_image() -> bool {
    let images = docker().args(["image", "ls", "--quiet", "kindest/node"]).output();
    images.is_ok_and(|images| !images.is_empty())
}

/// Asks by way of the daemon, which may reach a registry where this process does not.
fn registry_answers() -> bool {
    let pulled =
        docker().args(["pull", "--quiet", SMALL_IMAGE]).timeout(REGISTRY_TIMEOUT).succeeds();
    if pulled {
        docker().args(["image", "rm", SMALL_IMAGE]).succeeds();
    }
    pulled
}

fn create_or_keep(workspace: &Workspace, step: &Step, source: &Source) -> Result<()> {
    let config = workspace.root.join("kind-config.yaml");
    let text = std::fs::read(&config).with_context(|| format!("read {}", config.display()))?;
    let made_from = Key::default().add(source.image()).add(text).short();
    let mark = workspace.cache.join("docker/cluster");
    let clusters = kind(workspace).args(["get", "clusters"]).output()?;
    let mut note = "made";
    if clusters.lines().any(|name| name == NAME) {
        if std::fs::read_to_string(&mark).is_ok_and(|known| known != made_from) {
            note = "made anew: its configuration changed";
        } else if is_whole(workspace) {
            step.note("running");
            return Ok(std::fs::write(&mark, made_from)?);
        } else {
            note = "made anew: it was broken";
        }
        delete(workspace)?;
    }
    for port in HOST_PORTS {
        TcpListener::bind(("127.0.0.1", port)).with_context(|| {
            format!(
                "port {port} of 127.0.0.1 is taken, and the cluster needs it: end what uses it \
                 (perhaps `cargo xtask dev`)"
            )
        })?;
    }
    std::fs::remove_file(&mark).ok();
    loaded::forget(workspace)?;
    let mut create = kind(workspace)
        .args(["create", "cluster", "--name", NAME, "--wait", "120s", "--config"])
        .arg(&config);
    if let Source::Own(image) = source {
        create = create.args(["--image", &image.tag]);
    }
    create.logged(step.log())?;
    std::fs::write(&mark, made_from)?;
    if let Source::Own(image) = source {
        let mut older = images::all_tags(nodeimage::NAME);
        older.retain(|tag| *tag != image.tag);
        images::remove(&older);
    }
    step.note(note);
    Ok(())
}

/// Whether the API server answers and every node is ready.
fn is_whole(workspace: &Workspace) -> bool {
    let answers =
        || kubectl(workspace).args(["get", "--raw", "/readyz"]).timeout(READY_TIMEOUT).succeeds();
    // The user's kubeconfig may have lost the context while the cluster is well.
    if !answers() {
        kind(workspace).args(["export", "kubeconfig", "--name", NAME]).succeeds();
        if !answers() {
            return false;
        }
    }
    kubectl(workspace)
        .args(["wait", "--for=condition=Ready", "node", "--all", "--timeout=60s"])
        .succeeds()
}

fn wait_ready(workspace: &Workspace, step: &Step) -> Result<()> {
    kubectl(workspace)
        .args(["wait", "--for=condition=Ready", "node", "--all", "--timeout=120s"])
        .logged(step.log())?;
    kubectl(workspace)
        .args(["--namespace", "kube-system", "rollout", "status", "deployment/coredns"])
        .arg("--timeout=120s")
        .logged(step.log())
}

/// The control plane has a kubectl of the right version.
fn copy_kubectl(workspace: &Workspace) -> Result<()> {
    let from = format!("{CONTROL_PLANE}:/usr/bin/kubectl");
    docker().args(["cp", "--follow-link", &from]).arg(workspace.tool("kubectl")).quiet()
}

/// Whether there is a cluster of our name, whole or broken.
pub(crate) fn exists(workspace: &Workspace) -> bool {
    let clusters = kind(workspace).args(["get", "clusters"]).output();
    clusters.is_ok_and(|clusters| clusters.lines().any(|name| name == NAME))
}

pub(crate) fn delete(workspace: &Workspace) -> Result<()> {
    kind(workspace).args(["delete", "cluster", "--name", NAME]).quiet()
}
