//! The command line.

use std::io;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::cluster::{drain, members, partitions, rebalance, status};
use crate::connection::{Connection, Whom};
use crate::failure::{EXIT_CODES, Failure};
use crate::output::Format;

/// Looks at Flin clusters and tells them what to do.
#[derive(Debug, Parser)]
#[command(name = "flin", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Flin {
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
    #[command(flatten)]
    whom: Whom,
    /// How the answer is written
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Format,
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
    /// Ending the program does not end the draining. The last copies are refused.
    ///
    /// Where the operator runs, change `spec.replicas` of the FlinCluster to have fewer nodes; a node within that
    /// number that is drained here stays drained until --undo.
    Drain(drain::Wish),
}

/// Does what the command line says, and tells how it went.
pub(crate) fn main() -> ExitCode {
    let flin = Flin::parse();
    let done = match flin.command {
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Flin::command(), "flin", &mut io::stdout());
            Ok(())
        }
        Command::Cluster(command) => run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("flin: {}", failure.to_string().replace('\n', "\n      "));
            failure.exit_code().into()
        }
    }
}

fn run(command: ClusterCommand) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let ClusterCommand { whom, output, task } = command;
        let mut connection = Connection::open(&whom).await?;
        match task {
            Task::Status => status::run(&mut connection, output).await,
            Task::Members => members::run(&mut connection, output).await,
            Task::Partitions => partitions::run(&mut connection, output).await,
            Task::Rebalance(wish) => rebalance::run(&mut connection, output, &wish).await,
            Task::Drain(wish) => drain::run(&mut connection, output, &wish).await,
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
    fn options_stand_before_or_after_the_task() {
        for line in [
            "flin cluster --address a:1 -o json status",
            "flin cluster status -o json --address a:1",
            "flin cluster rebalance --pause --max-moves 8 --bytes-per-second 64MiB",
            "flin cluster drain demo-nodes-2 --undo",
            "flin completion bash",
        ] {
            parse(line).unwrap();
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
            ("flin cluster status -o xml", "possible values: table, json, yaml"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(words), "{line}: {error}");
        }
    }
}
