//! `cargo xtask up`: from a fresh machine to a Flin cluster that answers, and to an up-to-date one later.

use anyhow::{Result, anyhow};
use clap::Args;

use crate::cargo;
use crate::chart;
use crate::cluster;
use crate::docker;
use crate::flincluster;
use crate::gotools;
use crate::images::{self, PROGRAMS};
use crate::loaded;
use crate::nodeimage::NodeImage;
use crate::packages::{self, Purpose};
use crate::progress::{Progress, Step, human};
use crate::rocksdb;
use crate::shell::{find, last_line, run};
use crate::workspace::Workspace;

/// So many processors make it worth while to compile two things at a time even when both are cold.
const PROCESSORS_FOR_TWO: usize = 4;

/// How far to go.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Stop when the kind cluster is there, with nothing of Flin in it
    #[arg(long)]
    cluster_only: bool,
}

/// Does all of it and tells the user what to do next.
pub(crate) fn up(workspace: &Workspace, options: Options) -> Result<()> {
    let progress = Progress::start(workspace);
    println!("cargo xtask up (logs are in {})", workspace.cache.join("log").display());
    if options.cluster_only {
        prepare(workspace, &progress)?;
        return cluster(workspace, &progress);
    }
    bring_up(workspace, &progress)?;
    println!("{:>8}  up\n", human(progress.elapsed()));
    print_what_next(workspace);
    Ok(())
}

/// The steps, as the tests take them too.
pub(crate) fn bring_up(workspace: &Workspace, progress: &Progress) -> Result<()> {
    prepare(workspace, progress)?;
    if worth_two_lanes(workspace)? {
        std::thread::scope(|scope| {
            let programs = scope.spawn(|| programs(workspace, progress));
            let cluster = cluster(workspace, progress);
            let programs =
                programs.join().map_err(|_| anyhow!("building the programs panicked"))?;
            cluster.and(programs)
        })?;
    } else {
        cluster(workspace, progress)?;
        programs(workspace, progress)?;
    }
    deploy(workspace, progress)
}

/// What both lanes need.
fn prepare(workspace: &Workspace, progress: &Progress) -> Result<()> {
    progress.step("packages", |step| packages::ensure(step, Purpose::Cluster))?;
    progress.step("docker daemon", |step| docker::ensure(workspace, step))
}

/// The lane that makes the cluster.
fn cluster(workspace: &Workspace, progress: &Progress) -> Result<()> {
    cluster::ensure(workspace, progress)?;
    progress.step("helm", |step| gotools::ensure_helm(workspace, step))
}

/// The lane that makes the programs.
fn programs(workspace: &Workspace, progress: &Progress) -> Result<()> {
    progress.step("RocksDB library", |step| rocksdb::ensure(workspace, step))?;
    progress.step("programs", |step| cargo::build_programs(workspace, step))
}

/// On two cores two cold builds only get in each other's way; one cold and one warm do not.
fn worth_two_lanes(workspace: &Workspace) -> Result<bool> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let cold_library = !rocksdb::folder(workspace)?.is_dir();
    let cold_node_image =
        !NodeImage::described(workspace)?.is_cached() || !workspace.tool("helm").is_file();
    Ok(processors >= PROCESSORS_FOR_TWO || !(cold_library || cold_node_image))
}

/// What happens in the cluster.
fn deploy(workspace: &Workspace, progress: &Progress) -> Result<()> {
    let mut images = Vec::new();
    for program in PROGRAMS {
        let name = program.image(workspace);
        let key = progress.step(&format!("image {}", program.name), |step| {
            images::ensure(workspace, step, program)
        })?;
        images.push((name, key));
    }
    progress.step("load images", |step| loaded::load(workspace, step, &images))?;
    let [node, operator, _] = PROGRAMS.map(|program| program.image(workspace));
    progress.step("operator", |step| {
        chart::install(workspace, step)?;
        if loaded::is_outdated(workspace, &operator) {
            flincluster::restart_operator(workspace, step)?;
            step.note("restarted: its image changed");
        }
        loaded::is_current_now(workspace, &operator)
    })?;
    progress.step("flincluster", |step| flincluster::apply(workspace, step))?;
    progress.step("available", |step| flincluster::wait_available(workspace, step))?;
    if loaded::is_outdated(workspace, &node) {
        progress.step("restart nodes", |step| flincluster::restart_nodes(workspace, step))?;
        progress.step("available again", |step| flincluster::wait_available(workspace, step))?;
        loaded::is_current_now(workspace, &node)?;
    }
    progress.step("write and read a key", |step| smoke(workspace, step))
}

fn smoke(workspace: &Workspace, step: &Step) -> Result<()> {
    run(workspace.binary("flin-e2e")).arg("smoke").logged(step.log())?;
    step.note(last_line(step.log()).unwrap_or_default());
    Ok(())
}

fn print_what_next(workspace: &Workspace) {
    let kubectl = gotools::kubectl_program(workspace);
    let kubectl = if find("kubectl").is_some() {
        "kubectl".to_owned()
    } else {
        kubectl.display().to_string()
    };
    let secret = format!(
        "{kubectl} get secret demo-auth -n {0} -o go-template='{{{{index .data \"client-password\" | base64decode}}}}'",
        flincluster::NAMESPACE
    );
    println!(
        "Flin answers Redis clients on 127.0.0.1:6380 and gRPC clients on 127.0.0.1:6381.\n\
         \n\
         Try next:\n\
         \x20 export REDISCLI_AUTH=$({secret})\n\
         \x20 redis-cli -p 6380 set greeting hello\n\
         \x20 redis-cli -p 6380 get greeting\n\
         \x20 {kubectl} get flin -n {0}\n\
         \x20 {kubectl} describe flin {1} -n {0}\n\
         \x20 {kubectl} get pods -n {0} -o wide\n\
         \x20 {kubectl} exec -n {0} {1}-0 -- flin cluster status\n\
         \n\
         The context {2} is in your kubeconfig. `cargo xtask down` removes all of it.",
        flincluster::NAMESPACE,
        flincluster::NAME,
        cluster::CONTEXT,
    );
}
