//! The command line.

use std::io;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::cluster::{drain, members, partitions, rebalance, recover, status};
use crate::connection::{Connection, Whom};
use crate::failure::{EXIT_CODES, Failure};
use crate::output::Format;

/// Looks at Flin clusters and tells them what to do.
#[derive(Debug, Parser)]
#[command(name = "flin", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Flin {
    #[command(flatten)]
    whom: Whom,
    /// How the answer is written
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at a cluster, and say where replicas are to be
    Cluster(ClusterCommand),
    /// Print a script that completes commands in a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
#[command(arg_required_else_help = true, after_help = EXIT_CODES)]
struct ClusterCommand {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Tell whether the cluster is healthy; exit code 10 if not
    Status,
    /// List the nodes: what they hold, and what is to become of them
    Members,
    /// List the partitions: who leads and holds them, and where they move
    Partitions,
    /// Show how replicas are being moved, or change how
    ///
    /// Where the operator runs, change `spec.rebalance` of the FlinCluster instead: it puts back what is changed
    /// here.
    Rebalance(rebalance::Wish),
    /// Empty a node, and wait until it is empty
    ///
    /// Its replicas are copied to other nodes before they are removed; nothing is lost and clients are served.
    /// Ending the program does not end the draining. It is refused when fewer nodes would remain than each
    /// partition has replicas.
    ///
    /// Where the operator runs, change `spec.replicas` of the FlinCluster to have fewer nodes; a node within that
    /// number that is drained here stays drained until --undo.
    Drain(drain::Wish),
    /// Go on after nodes were lost for good, with what is left
    ///
    /// Partitions that keep a majority of their replicas lose nothing and need no help. Of every other, the replica
    /// that has the most goes on alone, and what only the lost nodes had acknowledged is lost; one that has no
    /// replica left begins empty. Without --accept-data-loss nothing is changed and the numbers are told. The
    /// lost nodes are never used again, even if their disks turn up.
    Recover(recover::Wish),
}

/// Does what the command line says, and tells how it went.
pub(crate) fn main() -> ExitCode {
    let Flin { whom, output, command } = Flin::parse();
    let done = match command {
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Flin::command(), "flin", &mut io::stdout());
            Ok(())
        }
        Command::Cluster(command) => run(&whom, output, command.task),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("flin: {}", failure.to_string().replace('\n', "\n      "));
            failure.exit_code().into()
        }
    }
}

fn run(whom: &Whom, output: Format, task: Task) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = Connection::open(whom).await?;
        match task {
            Task::Status => status::run(&mut connection, output).await,
            Task::Members => members::run(&mut connection, output).await,
            Task::Partitions => partitions::run(&mut connection, output).await,
            Task::Rebalance(wish) => rebalance::run(&mut connection, output, &wish).await,
            Task::Drain(wish) => drain::run(&mut connection, output, &wish).await,
            Task::Recover(wish) => recover::run(&mut connection, output, &wish).await,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flin, clap::Error> {
        Flin::try_parse_from(line.split(' '))
    }

    #[test]
    fn command_line_is_well_formed() {
        Flin::command().debug_assert();
    }

    #[test]
    fn every_task_and_option_is_in_the_documentation() {
        let page = include_str!("../../../docs/CLI.md");
        let flin = Flin::command();
        let cluster = flin.find_subcommand("cluster").unwrap();
        for task in cluster.get_subcommands() {
            let name = task.get_name();
            assert!(page.contains(&format!("### `flin cluster {name}")), "{name}");
        }
        let options = [&flin].into_iter().chain(cluster.get_subcommands());
        for option in options.flat_map(clap::Command::get_arguments) {
            let Some(name) = option.get_long() else { continue };
            assert!(page.contains(&format!("`--{name}")), "--{name}");
        }
    }

    #[test]
    fn tasks_and_their_options_are_understood() {
        for line in [
            "flin cluster status",
            "flin cluster rebalance --pause --max-moves 8 --bytes-per-second 64MiB",
            "flin cluster drain demo-nodes-2 --undo",
            "flin cluster recover demo-nodes-1 3 --accept-data-loss",
            "flin completion bash",
        ] {
            parse(line).unwrap();
        }
    }

    #[test]
    fn whom_to_ask_and_how_to_answer_stand_anywhere() {
        for line in [
            "flin --address a:1 --password-file f -o json cluster status",
            "flin cluster --address a:1 --password-file f -o json status",
            "flin cluster status --address a:1 --password-file f --output json",
            "flin --address a:1 cluster --output=json status --password-file=f",
            "flin --address a:1 --password-file f -o json completion bash",
            "flin completion bash --address a:1 --password-file f -o json",
            // Who says it twice means the last.
            "flin --address b:2 -o yaml cluster status --address a:1 --password-file f -o json",
        ] {
            let flin = parse(line).unwrap();
            assert_eq!(flin.whom, Whom::of("a:1", Some("f".into())), "{line}");
            assert_eq!(flin.output, Format::Json, "{line}");
        }
    }

    #[test]
    fn wrong_usage_ends_with_exit_code_2_and_says_what_is_meant() {
        for (line, words) in [
            ("flin cluster statsu", "status"),
            ("flin cluster rebalance --pause --resume", "cannot be used with"),
            ("flin cluster rebalance --max-moves 65", "1..=64"),
            ("flin cluster rebalance --bytes-per-second 10M", "64MiB"),
            ("flin cluster drain", "<NODE>"),
            ("flin cluster recover", "<NODE>"),
            ("flin cluster status -o xml", "possible values: table, json, yaml"),
            ("flin -o xml cluster status", "possible values: table, json, yaml"),
            ("flin --address a:1", "requires a subcommand"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(words), "{line}: {error}");
        }
    }
}
