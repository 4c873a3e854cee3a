//! The command line: `flin-node server|dev|config|version`, and what its exit codes mean.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _};
use tracing::error;
use tracing_subscriber::EnvFilter;

use crate::cluster::JoinError;
use crate::dev::{self, DevError, DevOptions};
use crate::server::{self, ServerError};
use crate::settings::{self, Given, Settings, SettingsError};

/// Something that was told to the program is wrong (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;
/// Something failed inside or on the machine (`EX_SOFTWARE`).
const EXIT_INTERNAL: u8 = 70;
/// The data directory is not this node's (`EX_CONFIG`).
const EXIT_DATA: u8 = 78;
/// The cluster let the node go: started again, it is a new one.
const EXIT_RETIRED: u8 = 79;

/// How long what is left of a node that has stopped may take to end.
const LAST_TIME: Duration = Duration::from_secs(1);

/// What `flin-node server --help` says at its end.
const EXIT_CODES: &str = "\
Exit codes:
   0  it was told to stop and did
  64  a flag, setting, secret or bootstrap file is wrong
  70  something failed inside or on the machine
  78  the data directory is not this node's
  79  the cluster removed or replaced the node; started again, it joins as a new one";

const MARKDOWN: &str = "markdown";
const END_WITH_PARENT: &str = "end_with_parent";

/// Does what the command line says, and tells how it went.
pub fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { EXIT_USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match matches.subcommand() {
        Some(("server", flags)) => serve(flags),
        Some(("dev", flags)) => develop(flags),
        Some(("config", flags)) => show_config(flags),
        _ => show_version(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, words, logged }) => {
            if !logged {
                eprintln!("flin-node: {words}");
            }
            code.into()
        }
    }
}

fn command() -> Command {
    let server =
        Command::new("server").about("Run one node of a cluster").args(settings::flags()).arg(
            Arg::new(END_WITH_PARENT)
                .long("end-with-parent")
                .help("Stop, as if by SIGTERM, when the parent process ends")
                .action(ArgAction::SetTrue)
                .hide(true),
        );
    let server = server.after_help(EXIT_CODES);
    let dev = DevOptions::augment_args(Command::new("dev"))
        .about("Run a whole cluster on this machine, without any password");
    let config = Command::new("config")
        .about("Print the settings in effect and who decided them, and whether a node would start")
        .args(settings::flags())
        .arg(
            Arg::new(MARKDOWN)
                .long(MARKDOWN)
                .help("Print the documentation of all settings instead")
                .action(ArgAction::SetTrue),
        );
    Command::new("flin-node")
        .about("A Flin node: keys, replicated and durable, for any Redis client")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([server, dev, config])
        .subcommand(Command::new("version").about("Print the version"))
}

/// Why the program ends with another code than 0.
struct Failure {
    code: u8,
    words: String,
    /// Whether the log has it already, in its own format.
    logged: bool,
}

impl Failure {
    fn new(code: u8, error: &dyn Error) -> Self {
        Failure { code, words: chain(error), logged: false }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Failure::new(EXIT_USAGE, &error)
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        let code = match error {
            ServerError::Bootstrap(_) | ServerError::Join(JoinError::NoAddress { .. }) => {
                EXIT_USAGE
            }
            ServerError::Data(_) | ServerError::Join(JoinError::NobodyToAsk { .. }) => EXIT_DATA,
            ServerError::Removed | ServerError::Replaced => EXIT_RETIRED,
            _ => EXIT_INTERNAL,
        };
        Failure::new(code, &error)
    }
}

impl From<DevError> for Failure {
    fn from(error: DevError) -> Self {
        let code = match error {
            DevError::Ports { .. } | DevError::OtherCluster { .. } | DevError::Bootstrap(_) => {
                EXIT_USAGE
            }
            DevError::InUse { .. } => EXIT_DATA,
            DevError::Io { .. } | DevError::NodeEnded { .. } | DevError::NotInTime { .. } => {
                EXIT_INTERNAL
            }
        };
        Failure::new(code, &error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::new(EXIT_INTERNAL, &error)
    }
}

/// An error with its causes in one line; a cause that its error quotes already is left out.
fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_words = cause.to_string();
        if !words.ends_with(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        next = cause.source();
    }
    words
}

fn gather(flags: &ArgMatches) -> Result<Given, SettingsError> {
    let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
    Given::gather(flags, std::env::vars_os().map(|(name, value)| (text(name), text(value))))
}

fn serve(flags: &ArgMatches) -> Result<(), Failure> {
    if flags.get_flag(END_WITH_PARENT) {
        let signal = rustix::process::Signal::TERM;
        rustix::process::set_parent_process_death_signal(Some(signal)).map_err(io::Error::from)?;
    }
    let settings = Settings::load(&gather(flags)?)?;
    init_tracing(&settings);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(server::run(settings));
    // Whatever of the node may still live ends here.
    runtime.shutdown_timeout(LAST_TIME);
    if matches!(ended, Err(ServerError::Recovering)) {
        return Err(start_again().into());
    }
    ended.map_err(|error| {
        let failure = Failure { logged: true, ..Failure::from(error) };
        error!(exit_code = failure.code, reason = failure.words, "node ended");
        failure
    })
}

/// Becomes the program that this process began as; returns only why it could not.
fn start_again() -> io::Error {
    let mut arguments = std::env::args_os();
    let mut again = std::process::Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    again.args(arguments).exec()
}

/// The runtime has one thread: nodes end with the thread that started them, so it must be this one.
fn develop(flags: &ArgMatches) -> Result<(), Failure> {
    let options =
        DevOptions::from_arg_matches(flags).map_err(|error| Failure::new(EXIT_USAGE, &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(dev::run(options))?)
}

fn show_config(flags: &ArgMatches) -> Result<(), Failure> {
    if flags.get_flag(MARKDOWN) {
        return print(&settings::markdown());
    }
    let given = gather(flags)?;
    print(&settings::effective(&given)?)?;
    Settings::load(&given)?;
    Ok(())
}

fn show_version() -> Result<(), Failure> {
    print(concat!("flin-node ", env!("CARGO_PKG_VERSION"), "\n"))
}

/// A reader that has seen enough, like `head`, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn init_tracing(settings: &Settings) {
    let filter = EnvFilter::new(&settings.log_level);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if settings.log_format == "json" {
        subscriber.json().init();
    } else {
        subscriber.with_ansi(io::stderr().is_terminal()).init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn mistyped_flag_is_refused_with_the_nearest_known_one() {
        let error = command().try_get_matches_from(["flin-node", "server", "--datadir=x"]);
        let text = error.unwrap_err().to_string();
        assert!(text.contains("unexpected argument '--datadir'"), "{text}");
        assert!(text.contains("'--data-dir'"), "{text}");
    }

    #[test]
    fn causes_are_told_once() {
        let source = crate::settings::Secret::read("/nowhere".as_ref()).unwrap_err();
        let error = SettingsError::Secret { key: "peer_secret_file", source };
        let text = chain(&error);
        assert!(text.starts_with("peer_secret_file: cannot read /nowhere"), "{text}");
        assert_eq!(text.matches("No such file").count(), 1, "{text}");
    }
}
