//! The node image itself: the base, the programs, our files, and the images of the cluster preloaded.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::inputs;
use super::mounts::WorkDir;
use crate::archive::{self, Config, Image};
use crate::progress::Step;
use crate::shell::{Run, run, tail_of_file};
use crate::versions::Versions;
use crate::workspace::{Workspace, files_below};

/// The programs of Kubernetes that kubeadm runs in containers.
const IN_CONTAINERS: [&str; 4] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"];
/// The programs of a node that are other names of `kube`.
const ON_THE_NODE: [&str; 3] = ["kubelet", "kubeadm", "kubectl"];
/// Debian's name of this kind of machine, in the paths of libraries.
const MACHINE: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" };
/// The names that the packet filter is called by.
const PACKET_FILTER_NAMES: [&str; 6] = [
    "iptables",
    "iptables-save",
    "iptables-restore",
    "ip6tables",
    "ip6tables-save",
    "ip6tables-restore",
];
/// The image that the DaemonSet in `default-cni.yaml` names.
const NODE_AGENT: &str = "kind.local/node-agent:v1";
/// Where containerd keeps the blobs of images.
const BLOBS: &str = "var/lib/containerd/io.containerd.content.v1.content/blobs/sha256";
/// Blobs up to this size are configurations and manifests, which a node reads; larger ones are layers.
const BLOB_BYTES_KEPT: u64 = 64 * 1024;
/// How long containerd may take until it answers.
const CONTAINERD_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes the image from a base and programs and writes it to `file`, named `tag` inside.
pub(super) fn assemble(
    workspace: &Workspace,
    step: &Step,
    base: &Path,
    programs: &Path,
    tag: &str,
    file: &Path,
) -> Result<()> {
    let mut work = WorkDir::make(&workspace.cache.join("nodeimage"), "node")?;
    let root = work.path().join("root");
    std::fs::create_dir_all(&root)?;
    run("tar").arg("-C").arg(&root).arg("-xpf").arg(base).logged(step.log())?;

    let version = format!("v{}", Versions::read(workspace)?.kubernetes);
    let names = ImageNames::ask(&programs.join("kube"), &version)?;
    install_files(workspace, &root, programs, &version, &names)?;
    arrange_units(&root)?;
    for folder in ["proc", "dev"] {
        work.bind(&format!("/{folder}"), &root.join(folder))?;
    }
    for name in ["iptables", "ip6tables"] {
        let nft = format!("/usr/sbin/{name}-nft");
        chroot(&root, "update-alternatives").args(["--set", name, &nft]).logged(step.log())?;
    }
    write_container_defaults(&root)?;
    let archive = cluster_images(work.path(), &root, programs, &names)?;
    preload(step, work.path(), &root, &archive)?;
    work.unmount_all()?;

    let layer = work.path().join("node.tar");
    archive::layer_with_owners(&root, &layer)?;
    let config = Config {
        env: vec!["container=docker".to_owned()],
        stop_signal: "SIGRTMIN+3".to_owned(),
        ..Config::running(&["/usr/local/bin/entrypoint", "/sbin/init"])
    };
    let parts = work.path().join("archive");
    archive::write(&parts, &[Image { names: vec![tag.to_owned()], layer, config }])?;
    let unfinished = work.path().join("node.tar.zst");
    let pipe = format!(
        "tar -C '{}' -cf - . | zstd -1 -T0 -q -f -o '{}'",
        parts.display(),
        unfinished.display()
    );
    run("bash").args(["-o", "pipefail", "-c", &pipe]).logged(step.log())?;
    std::fs::rename(&unfinished, file).with_context(|| format!("write {}", file.display()))
}

/// The names and tags of images that kubeadm's manifests are going to ask for.
struct ImageNames(Vec<String>);

impl ImageNames {
    fn ask(kube: &Path, version: &str) -> Result<Self> {
        let said = run(kube)
            .args(["kubeadm", "config", "images", "list", "--kubernetes-version", version])
            .output()?;
        Ok(Self(said.lines().map(|line| line.trim().to_owned()).collect()))
    }

    fn of(&self, program: &str) -> Result<String> {
        let part = format!("/{program}:");
        let name = self.0.iter().find(|name| name.contains(&part));
        name.cloned().with_context(|| format!("kubeadm names no image of {program}"))
    }
}

fn install_files(
    workspace: &Workspace,
    root: &Path,
    programs: &Path,
    version: &str,
    names: &ImageNames,
) -> Result<()> {
    let files = inputs(workspace).join("node/files");
    for file in files_below(&files)? {
        let place = root.join(file.strip_prefix(&files)?);
        let folder = place.parent().context("a file has a folder")?;
        std::fs::create_dir_all(folder)?;
        // Modes come from here, since a checkout keeps only one bit of them.
        install(&file, &place, if folder.ends_with("bin") { 0o755 } else { 0o644 })?;
    }
    let settings = root.join("etc/containerd/config.toml");
    let text = std::fs::read_to_string(&settings)?.replace("@SANDBOX@", &names.of("pause")?);
    std::fs::write(&settings, text)?;

    install(&programs.join("kube"), &root.join("usr/bin/kube"), 0o755)?;
    install(&programs.join("crictl"), &root.join("usr/local/bin/crictl"), 0o755)?;
    for name in ON_THE_NODE {
        symlink("kube", root.join("usr/bin").join(name))?;
    }
    std::fs::write(root.join("kind/version"), version)?;
    link_over("/usr/lib/systemd/systemd", &root.join("sbin/init"))
}

/// Leaves systemd to start the journal, containerd and the kubelet, and nothing else.
fn arrange_units(root: &Path) -> Result<()> {
    let system = root.join("lib/systemd/system");
    let own = root.join("etc/systemd/system");
    for target in ["multi-user", "local-fs", "basic"] {
        remove_entries(&system.join(format!("{target}.target.wants")), |_| true)?;
    }
    for target in ["sysinit", "sockets"] {
        let of_a_machine = |name: &str| name.contains("udev") || name.contains("initctl");
        remove_entries(&system.join(format!("{target}.target.wants")), of_a_machine)?;
    }
    for entry in std::fs::read_dir(&own)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "wants") {
            remove_entries(&path, |_| true)?;
        }
    }

    link_over(
        "../systemd-journald.service",
        &system.join("sysinit.target.wants/systemd-journald.service"),
    )?;
    link_over("/lib/systemd/system/multi-user.target", &own.join("default.target"))?;
    let wants = own.join("multi-user.target.wants");
    std::fs::create_dir_all(&wants)?;
    link_over("/lib/systemd/system/containerd.service", &wants.join("containerd.service"))?;
    for unit in ["kubelet.service", "node-unhide.service"] {
        link_over(&format!("/etc/systemd/system/{unit}"), &wants.join(unit))?;
    }
    Ok(())
}

/// The defaults of every container: as containerd makes them, without limits that this machine may refuse.
fn write_container_defaults(root: &Path) -> Result<()> {
    let said = chroot(root, "ctr").args(["oci", "spec"]).output()?;
    let mut spec: Value = serde_json::from_str(&said).context("read the default of containers")?;
    if let Some(process) = spec.get_mut("process").and_then(Value::as_object_mut) {
        process.remove("rlimits");
    }
    std::fs::write(root.join("etc/containerd/cri-base.json"), serde_json::to_vec_pretty(&spec)?)?;
    Ok(())
}

/// The images that run in the cluster, as one archive: a static program each, and kube-proxy's tools.
fn cluster_images(
    work: &Path,
    root: &Path,
    programs: &Path,
    names: &ImageNames,
) -> Result<PathBuf> {
    let single = [
        ("etcd", names.of("etcd")?, "usr/local/bin/etcd"),
        ("coredns", names.of("coredns")?, "coredns"),
        ("pause", names.of("pause")?, "pause"),
        ("node-agent", NODE_AGENT.to_owned(), "node-agent"),
    ];
    let mut images = Vec::new();
    for (program, name, place) in single {
        let dir = work.join("layers").join(program);
        let place_in_layer = dir.join(place);
        std::fs::create_dir_all(place_in_layer.parent().context("a file has a folder")?)?;
        std::fs::create_dir_all(dir.join("etc"))?;
        make_tmp(&dir)?;
        install(&programs.join(program), &place_in_layer, 0o755)?;
        std::fs::copy(root.join("etc/nsswitch.conf"), dir.join("etc/nsswitch.conf")).ok();
        images.push(pack(&dir, vec![name], &format!("/{place}"))?);
    }

    let dir = work.join("layers/kube");
    std::fs::create_dir_all(dir.join("usr/local/bin"))?;
    std::fs::create_dir_all(dir.join("run"))?;
    make_tmp(&dir)?;
    copy_packet_filter(root, &dir)?;
    install(&programs.join("kube"), &dir.join("usr/local/bin/kube"), 0o755)?;
    let mut kube = Vec::new();
    for program in IN_CONTAINERS {
        symlink("kube", dir.join("usr/local/bin").join(program))?;
        kube.push(names.of(program)?);
    }
    // One image under four names: kubeadm's manifests name the program to run.
    images.push(pack(&dir, kube, "/usr/local/bin/kube")?);

    let parts = work.join("cluster-images");
    archive::write(&parts, &images)?;
    let archive = work.join("images.tar");
    run("tar").arg("-C").arg(&parts).arg("-cf").arg(&archive).arg(".").quiet()?;
    std::fs::remove_dir_all(&parts)?;
    Ok(archive)
}

fn pack(dir: &Path, names: Vec<String>, entrypoint: &str) -> Result<Image> {
    let layer = dir.with_extension("tar");
    archive::layer(dir, &layer)?;
    std::fs::remove_dir_all(dir)?;
    Ok(Image { names, layer, config: Config::running(&[entrypoint]) })
}

fn copy_packet_filter(root: &Path, dir: &Path) -> Result<()> {
    // The libraries in `xtables` are loaded by name, so no program tells what they need.
    let filters =
        ["usr/sbin/nft", "usr/sbin/xtables-nft-multi", &format!("usr/lib/{MACHINE}/xtables")]
            .map(str::to_owned);
    let ask = format!("ldd /{} /{} /{}/*.so", filters[0], filters[1], filters[2]);
    let libraries = chroot(root, "sh").args(["-c", &ask]).output()?;
    let mut files: Vec<String> = filters.to_vec();
    files.extend(crate::images::libraries(&libraries).iter().map(|path| path[1..].to_owned()));
    let archive = dir.with_extension("packet-filter.tar");
    run("tar").arg("-C").arg(root).arg("-chf").arg(&archive).args(files).quiet()?;
    run("tar").arg("-C").arg(dir).arg("-xf").arg(&archive).quiet()?;
    std::fs::remove_file(&archive)?;
    for name in PACKET_FILTER_NAMES {
        symlink("xtables-nft-multi", dir.join("usr/sbin").join(name))?;
    }
    Ok(())
}

/// Unpacks the images with the node's own containerd, then drops the layers they came in.
fn preload(step: &Step, work: &Path, root: &Path, archive: &Path) -> Result<()> {
    std::fs::rename(archive, root.join("images.tar"))?;
    let settings = root.join("build.toml");
    std::fs::write(&settings, "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n")?;
    let state = "/run/flin-build";
    let socket = format!("{state}.sock");
    let log = work.join("containerd.log");
    let daemon = chroot(root, "containerd")
        .args(["--root", "/var/lib/containerd", "--state", state])
        .args(["--address", &socket, "--config", "/build.toml"])
        .background(&log)?;
    let mut daemon = Daemon(daemon);
    let ctr = || chroot(root, "ctr").args(["-a", &socket, "-n", "k8s.io"]);
    let deadline = Instant::now() + CONTAINERD_TIMEOUT;
    while !ctr().arg("version").succeeds() {
        if Instant::now() > deadline {
            bail!("containerd does not answer:\n{}", tail_of_file(&log));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    ctr()
        .args(["images", "import", "--snapshotter", "overlayfs", "/images.tar"])
        .logged(step.log())?;
    for name in ctr().args(["images", "ls", "-q"]).output()?.lines() {
        ctr().args(["images", "label", name, "io.cri-containerd.pinned=pinned"]).quiet()?;
    }
    // A node restores nothing from layers: the unpacked snapshots are enough.
    let layers: Vec<PathBuf> = files_below(&root.join(BLOBS))?
        .into_iter()
        .filter(|blob| blob.metadata().is_ok_and(|meta| meta.len() > BLOB_BYTES_KEPT))
        .collect();
    let digests = layers.iter().filter_map(|blob| blob.file_name());
    let digests = digests.map(|name| format!("sha256:{}", name.to_string_lossy()));
    ctr().args(["content", "rm"]).args(digests).logged(step.log())?;
    daemon.end()?;
    // containerd frees what was removed some time later, and it has no later here.
    for layer in layers {
        std::fs::remove_file(layer).ok();
    }
    std::fs::remove_file(settings)?;
    std::fs::remove_file(root.join("images.tar"))?;
    remove_entries(&root.join("run"), |_| true)
}

/// A daemon that does not outlive the build.
struct Daemon(Child);

impl Daemon {
    fn end(&mut self) -> Result<()> {
        run("kill").arg(self.0.id().to_string()).quiet()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.end().ok();
        }
    }
}

fn chroot(root: &Path, program: &str) -> Run {
    run("chroot")
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .arg(root)
        .arg(program)
}

fn install(from: &Path, to: &Path, mode: u32) -> Result<()> {
    std::fs::copy(from, to)
        .with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    Ok(std::fs::set_permissions(to, std::fs::Permissions::from_mode(mode))?)
}

fn make_tmp(root: &Path) -> Result<()> {
    let dir = root.join("tmp");
    std::fs::create_dir_all(&dir)?;
    Ok(std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o1777))?)
}

fn link_over(target: &str, link: &Path) -> Result<()> {
    std::fs::remove_file(link).ok();
    symlink(target, link).with_context(|| format!("link {}", link.display()))
}

fn remove_entries(folder: &Path, unwanted: impl Fn(&str) -> bool) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if !unwanted(&entry.file_name().to_string_lossy()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
