//! The container images of Flin, made from the programs built here: no base image is pulled.
//!
//! An image is one program, the shared libraries it links and the few files the C library reads. It has
//! no shell and no other user than an unprivileged one. `images/` holds Dockerfiles that do the same for
//! someone with a registry.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::archive::{self, Config, Image};
use crate::docker::docker;
use crate::progress::Step;
use crate::shell::run;
use crate::workspace::{Key, Workspace};

/// The user that every image runs as.
const USER: &str = "65532:65532";

/// The label that says what an image was made from.
const LABEL: &str = "flin.io/made-from";

/// A program and how its image runs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    command: &'static [&'static str],
}

/// What `cargo xtask up` loads into the cluster.
pub(crate) const PROGRAMS: [Program; 3] = [
    Program { name: "flin-node", command: &["server"] },
    Program { name: "flin-operator", command: &[] },
    Program { name: "flin-e2e", command: &[] },
];

impl Program {
    /// The name of its image, with the tag.
    pub(crate) fn image(&self, workspace: &Workspace) -> String {
        format!("{}:{}", self.name, workspace.version)
    }
}

/// Makes the image of a program of this workspace and gives it to Docker, unless Docker has just that.
///
/// Returns the key of what the image is made from.
pub(crate) fn ensure(workspace: &Workspace, step: &Step, program: Program) -> Result<String> {
    let config = Config {
        user: USER.to_owned(),
        cmd: program.command.iter().map(|&word| word.to_owned()).collect(),
        ..Config::running(&[&format!("/usr/local/bin/{}", program.name)])
    };
    build(workspace, step, &workspace.binary(program.name), &program.image(workspace), config)
}

/// Makes an image of one program; `label` in Docker remembers what it was made from.
pub(crate) fn build(
    workspace: &Workspace,
    step: &Step,
    binary: &Path,
    name: &str,
    config: Config,
) -> Result<String> {
    let digest = run("sha256sum").arg(binary).output()?;
    let digest = digest.split_whitespace().next().context("sha256sum said nothing")?;
    let key = Key::default()
        .add(digest)
        .add(serde_json::to_vec(&config)?)
        .add(include_str!("images.rs"))
        .add(include_str!("archive.rs"))
        .short();
    let known = docker()
        .args([
            "image",
            "inspect",
            "--format",
            &format!("{{{{index .Config.Labels \"{LABEL}\"}}}}"),
            name,
        ])
        .output();
    if known.is_ok_and(|known| known == key) {
        step.note(format!("{name} is unchanged"));
        return Ok(key);
    }
    let work = workspace.cache.join("images").join(name.replace(':', "-"));
    std::fs::remove_dir_all(&work).ok();
    let root = work.join("root");
    fill(&root, binary)?;
    let layer = work.join("layer.tar");
    archive::layer(&root, &layer)?;
    let mut config = config;
    config.labels.insert(LABEL.to_owned(), key.clone());
    let parts = work.join("archive");
    archive::write(&parts, &[Image { names: vec![name.to_owned()], layer, config }])?;
    let file = work.join("image.tar");
    run("tar").arg("-C").arg(&parts).arg("-cf").arg(&file).arg(".").quiet()?;
    docker().args(["load", "--input"]).arg(&file).logged(step.log())?;
    remove_nameless();
    step.note(format!("{name} is new, {} MB", file.metadata()?.len() / 1_000_000));
    std::fs::remove_dir_all(&work)?;
    Ok(key)
}

/// Everything that the program reads at run time, and nothing else.
fn fill(root: &Path, binary: &Path) -> Result<()> {
    let name = binary.file_name().context("a program has a name")?;
    let place = root.join("usr/local/bin").join(name);
    for folder in ["usr/local/bin", "etc", "tmp"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    std::fs::set_permissions(root.join("tmp"), std::fs::Permissions::from_mode(0o1777))?;
    // Names of functions stay for backtraces; line tables would be most of the image.
    run("strip").args(["--strip-debug", "-o"]).arg(&place).arg(binary).quiet()?;
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755))?;
    // A static program makes ldd fail, and needs nothing.
    let linked = run("ldd").arg(binary).output().unwrap_or_default();
    for library in libraries(&linked) {
        let copy = root.join(library.trim_start_matches('/'));
        std::fs::create_dir_all(copy.parent().context("a library has a folder")?)?;
        std::fs::copy(&library, &copy).with_context(|| format!("copy {library}"))?;
    }
    let etc = root.join("etc");
    std::fs::write(etc.join("passwd"), "root:x:0:0::/:/none\nflin:x:65532:65532::/:/none\n")?;
    std::fs::write(etc.join("group"), "root:x:0:\nflin:x:65532:\n")?;
    std::fs::write(etc.join("nsswitch.conf"), "hosts: files dns\n")?;
    Ok(())
}

/// The files that `ldd` names, in its words: `libm.so.6 => /lib/libm.so.6 (0x..)`, `/lib64/ld.so (0x..)`.
pub(crate) fn libraries(ldd: &str) -> Vec<String> {
    let mut files: Vec<String> = ldd
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let file = line.split_once("=> ").map_or(line, |(_, file)| file);
            let (file, _) = file.split_once(" (0x")?;
            file.starts_with('/').then(|| file.to_owned())
        })
        .collect();
    files.sort();
    files.dedup();
    files
}

/// How the image of another project's program runs it.
pub(crate) fn peer_config(program: &str) -> Config {
    Config { user: USER.to_owned(), ..Config::running(&[&format!("/usr/local/bin/{program}")]) }
}

/// Removes the images made here from Docker.
pub(crate) fn remove(names: &[String]) {
    for name in names {
        docker().args(["image", "rm", "--force", name]).succeeds();
    }
}

/// Removes images made here that lost their name to a newer one.
pub(crate) fn remove_nameless() {
    let ours = format!("label={LABEL}");
    docker().args(["image", "prune", "--force", "--filter", &ours]).succeeds();
}

/// All images in Docker with the given name, whatever their tag.
pub(crate) fn all_tags(name: &str) -> Vec<String> {
    let said = docker()
        .args(["image", "ls", "--filter", &format!("reference={name}"), "--format"])
        .arg("{{.Repository}}:{{.Tag}}")
        .output();
    said.unwrap_or_default().lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_says() {
        let said = "\tlinux-vdso.so.1 (0x00007ffd)\n\
            \tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n\
            /usr/lib/xtables/libxt_a.so:\n\
            \tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)\n";
        assert_eq!(
            libraries(said),
            ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
    }
}
