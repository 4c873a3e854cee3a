//! The container images of Flin, made from the programs built here: no base image is pulled.
//!
//! An image is a program, the shared libraries it links and the few files the C library reads; that of a node
//! also has `flin`, for people who look inside. It has no shell and no other user than an unprivileged one. `images/` holds Dockerfiles that do the same for
//! someone with a registry.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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

/// Where programs are in an image: on its search path.
const PROGRAMS_DIR: &str = "/usr/local/bin";

/// A program and how its image runs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    command: &'static [&'static str],
    /// Other programs that the image has for `kubectl exec`.
    beside: &'static [&'static str],
}

/// What `cargo xtask up` loads into the cluster.
pub(crate) const PROGRAMS: [Program; 3] = [
    Program { name: "flin-node", command: &["server"], beside: &["flin"] },
    Program { name: "flin-operator", command: &[], beside: &[] },
    Program { name: "flin-e2e", command: &[], beside: &[] },
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
        ..running(program.name)
    };
    let names = std::iter::once(&program.name).chain(program.beside);
    let binaries: Vec<_> = names.map(|name| workspace.binary(name)).collect();
    build(workspace, step, &binaries, &program.image(workspace), config)
}

/// Makes an image of programs; a label in Docker remembers what it was made from.
pub(crate) fn build(
    workspace: &Workspace,
    step: &Step,
    binaries: &[PathBuf],
    name: &str,
    config: Config,
) -> Result<String> {
    let mut key = Key::default();
    for binary in binaries {
        let digest = run("sha256sum").arg(binary).output()?;
        key = key.add(digest.split_whitespace().next().context("sha256sum said nothing")?);
    }
    let key = key
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
    furnish(&root)?;
    for binary in binaries {
        put(&root, binary)?;
    }
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

/// What every program finds: a place for temporary files and what the C library reads.
fn furnish(root: &Path) -> Result<()> {
    let (etc, tmp) = (root.join("etc"), root.join("tmp"));
    for folder in [&etc, &tmp, &inside(root, PROGRAMS_DIR)] {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::set_permissions(tmp, std::fs::Permissions::from_mode(0o1777))?;
    std::fs::write(etc.join("passwd"), "root:x:0:0::/:/none\nflin:x:65532:65532::/:/none\n")?;
    std::fs::write(etc.join("group"), "root:x:0:\nflin:x:65532:\n")?;
    std::fs::write(etc.join("nsswitch.conf"), "hosts: files dns\n")?;
    Ok(())
}

/// A program with the libraries that it links.
fn put(root: &Path, binary: &Path) -> Result<()> {
    let name = binary.file_name().context("a program has a name")?;
    let place = inside(root, PROGRAMS_DIR).join(name);
    // Names of functions stay for backtraces; line tables would be most of the image.
    run("strip").args(["--strip-debug", "-o"]).arg(&place).arg(binary).quiet()?;
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755))?;
    // A static program makes ldd fail, and needs nothing.
    let linked = run("ldd").arg(binary).output().unwrap_or_default();
    for library in libraries(&linked) {
        let copy = inside(root, &library);
        std::fs::create_dir_all(copy.parent().context("a library has a folder")?)?;
        std::fs::copy(&library, &copy).with_context(|| format!("copy {library}"))?;
    }
    Ok(())
}

/// Where an absolute path of the image is made.
fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
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
    Config { user: USER.to_owned(), ..running(program) }
}

fn running(program: &str) -> Config {
    Config::running(&[&format!("{PROGRAMS_DIR}/{program}")])
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
    fn programs_of_an_image_are_on_its_search_path() {
        let path = running("flin")
            .env
            .into_iter()
            .find_map(|variable| variable.strip_prefix("PATH=").map(str::to_owned));
        let path = path.unwrap();
        assert!(path.split(':').any(|folder| folder == PROGRAMS_DIR), "{path}");
    }

    #[test]
    fn every_program_of_an_image_is_executable_and_finds_its_libraries() {
        let root = std::env::temp_dir().join(format!("flin-images-{}", std::process::id()));
        furnish(&root).unwrap();
        // Linked like ours: of a program that every machine with a shell has.
        put(&root, Path::new("/bin/sh")).unwrap();
        let mode = root.join("usr/local/bin/sh").metadata().unwrap().permissions().mode();
        let linked = libraries(&run("ldd").arg("/bin/sh").output().unwrap_or_default());
        let missing: Vec<_> =
            linked.iter().filter(|library| !inside(&root, library).is_file()).collect();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(mode & 0o777, 0o755);
        assert_eq!(missing, Vec::<&String>::new());
    }

    #[test]
    fn node_image_has_the_command_line_tool() {
        let node = PROGRAMS.iter().find(|program| program.name == "flin-node").unwrap();
        assert_eq!(node.beside, ["flin"]);
    }

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
