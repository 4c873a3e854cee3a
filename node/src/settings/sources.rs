//! Who gave which setting: a flag before the environment, that before the file, that before the default.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, fs};

use clap::{Arg, ArgMatches};

use super::SettingsError;
use super::nearest::nearest;
use super::table::{self, CONFIG_FILE, Setting, TABLE, find};
use super::value::{Kind, Value};

/// The longest configuration file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Names that begin like ours and belong to the build, the tests and the load generator.
const FOREIGN_VARIABLES: [&str; 4] =
    ["FLIN_ADDRESS", "FLIN_CACHE_DIR", "FLIN_NODE_IMAGE", "FLIN_PASSWORD"];

/// Who decided a setting. A later one outranks an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody: the default.
    Default,
    /// The configuration file.
    File,
    /// A variable of the environment.
    Environment,
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Default => "default",
            Source::File => "configuration file",
            Source::Environment => "environment",
            Source::Flag => "flag",
        })
    }
}

/// The texts that were given for settings, with their sources. Only known settings are in it.
#[derive(Clone, Debug, Default)]
pub struct Given {
    texts: BTreeMap<&'static str, (Source, String)>,
}

impl Given {
    /// Gathers what flags, environment and file say.
    ///
    /// # Errors
    /// [`SettingsError::Unknown`] for a name that means nothing, [`SettingsError::File`] for a file that
    /// cannot be used. Values are not looked at yet.
    pub fn gather(
        flags: &ArgMatches,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Given, SettingsError> {
        let mut given = Given::default();
        for setting in TABLE {
            if let Some(value) = flags.get_one::<String>(setting.key) {
                given.add(setting.key, Source::Flag, value.clone());
            }
        }
        given.read_environment(environment)?;
        given.read_file()?;
        Ok(given)
    }

    /// Adds a setting as if by flag.
    ///
    /// # Panics
    /// If there is no such setting: `key` comes from the program, not from a person.
    pub fn flag(&mut self, key: &str, value: &str) {
        let setting = find(key).expect("the program names settings that exist");
        self.add(setting.key, Source::Flag, value.to_owned());
    }

    /// Who decides `key`.
    pub(super) fn source(&self, key: &str) -> Source {
        self.texts.get(key).map_or(Source::Default, |(source, _)| *source)
    }

    /// The value of `key`, from whoever has the last word.
    pub(super) fn decide(&self, key: &'static str) -> Result<Value, SettingsError> {
        let setting = find(key).expect("the program names settings that exist");
        let (giver, text) = match self.texts.get(key) {
            Some((source, text)) => (*source, text.as_str()),
            None => (Source::Default, setting.default.ok_or(SettingsError::Missing { key })?),
        };
        let invalid = |what| SettingsError::Invalid { key, value: text.to_owned(), giver, what };
        setting.kind.parse(text).map_err(invalid)
    }

    fn add(&mut self, key: &'static str, source: Source, text: String) {
        let entry = self.texts.entry(key).or_insert_with(|| (source, text.clone()));
        if source > entry.0 {
            *entry = (source, text);
        }
    }

    fn read_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), SettingsError> {
        for (name, value) in environment {
            let Some(rest) = name.strip_prefix("FLIN_") else { continue };
            match find(&rest.to_lowercase()) {
                Some(setting) if table::variable(setting.key) == name => {
                    self.add(setting.key, Source::Environment, value);
                }
                _ if is_foreign(&name) => {}
                _ => return Err(unknown(&name, "the environment", table::variable)),
            }
        }
        Ok(())
    }

    fn read_file(&mut self) -> Result<(), SettingsError> {
        let named = self.source(CONFIG_FILE) != Source::Default;
        let Value::Path(path) = self.decide(CONFIG_FILE)? else { return Ok(()) };
        if path.as_os_str().is_empty() || (!named && !path.exists()) {
            return Ok(());
        }
        for (name, value) in parse_file(&path)? {
            let Some(setting) = find(&name) else {
                return Err(unknown(&name, &path.display().to_string(), str::to_owned));
            };
            let wrong = |what: String| SettingsError::File { path: path.clone(), what };
            if setting.key == CONFIG_FILE {
                return Err(wrong("config_file cannot be set in the file itself".to_owned()));
            }
            let text =
                text_of(&value).ok_or_else(|| wrong(format!("{name} must be {}", setting.kind)))?;
            self.add(setting.key, Source::File, text);
        }
        Ok(())
    }
}

/// One flag per setting, for the subcommands that take them.
pub fn flags() -> impl Iterator<Item = Arg> {
    TABLE.iter().map(flag)
}

fn flag(setting: &'static Setting) -> Arg {
    let about = setting.about.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    let default = setting.default.filter(|text| !text.is_empty());
    let default = default.map(|text| format!(", default: {text}")).unwrap_or_default();
    let arg = Arg::new(setting.key)
        .long(table::flag(setting.key))
        .help(format!("{about} [env: {}{default}]", table::variable(setting.key)));
    match setting.kind {
        Kind::Flag => arg
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Kind::Text | Kind::OptionalText => arg.value_name("TEXT"),
        Kind::Path | Kind::OptionalPath => arg.value_name("PATH"),
        Kind::Address => arg.value_name("IP:PORT"),
        Kind::OptionalHostPort => arg.value_name("HOST:PORT"),
        Kind::Number { .. } => arg.value_name("NUMBER"),
        Kind::Bytes { .. } => arg.value_name("SIZE"),
        Kind::OneOf(_) | Kind::LogFilter => arg.value_name("WORD"),
    }
}

fn parse_file(path: &Path) -> Result<toml::Table, SettingsError> {
    let wrong = |what: String| SettingsError::File { path: path.to_owned(), what };
    let metadata = fs::metadata(path).map_err(|error| wrong(format!("cannot read it: {error}")))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(wrong(format!("it has {} bytes, at most {FILE_BYTES_MAX}", metadata.len())));
    }
    let text =
        fs::read_to_string(path).map_err(|error| wrong(format!("cannot read it: {error}")))?;
    text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))
}

/// The text of a scalar; tables, arrays, dates and fractions are no settings.
fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// The refusal of `name`, spoken with the nearest known name in the same form.
fn unknown(name: &str, place: &str, spell: impl Fn(&str) -> String) -> SettingsError {
    let key = name.strip_prefix("FLIN_").unwrap_or(name).to_lowercase().replace('-', "_");
    let nearest = nearest(&key, TABLE.iter().map(|setting| setting.key)).map(spell);
    SettingsError::Unknown { name: name.to_owned(), place: place.to_owned(), nearest }
}

/// Whether a variable is no mistyped setting: Kubernetes describes each Service of the namespace to every
/// pod, and a Service may be called `flin` or `flin-something`.
fn is_foreign(name: &str) -> bool {
    let numbered = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    FOREIGN_VARIABLES.contains(&name)
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, rest)| numbered(rest))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use clap::Command;

    use super::*;

    fn gather(args: &[&str], environment: &[(&str, &str)]) -> Result<Given, SettingsError> {
        let command = Command::new("server").no_binary_name(true).args(flags());
        let matches = command.try_get_matches_from(args).unwrap();
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Given::gather(&matches, environment)
    }

    fn file(content: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    }

    fn path(file: &tempfile::NamedTempFile) -> &str {
        file.path().to_str().unwrap()
    }

    #[test]
    fn flag_outranks_environment_outranks_file_outranks_default() {
        let file = file("tick_ms = 20\nelection_ticks = 20\nlog_level = 'warn'\n");
        let environment = [
            ("FLIN_TICK_MS", "30"),
            ("FLIN_ELECTION_TICKS", "30"),
            ("FLIN_CONFIG_FILE", path(&file)),
        ];
        let given = gather(&["--tick-ms", "40"], &environment).unwrap();
        assert_eq!(given.decide("tick_ms").unwrap(), Value::Number(40));
        assert_eq!(given.decide("election_ticks").unwrap(), Value::Number(30));
        assert_eq!(given.decide("log_level").unwrap(), Value::Text("warn".into()));
        assert_eq!(given.decide("heartbeat_ticks").unwrap(), Value::Number(2));
        assert_eq!(given.source("election_ticks"), Source::Environment);
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest_known_one() {
        let error = gather(&[], &[("FLIN_DATADIR", "/x")]).unwrap_err().to_string();
        assert!(error.contains("unknown setting FLIN_DATADIR in the environment"), "{error}");
        assert!(error.contains("did you mean FLIN_DATA_DIR?"), "{error}");

        let file = file("tick-ms = 20\n");
        let error = gather(&["--config-file", path(&file)], &[]).unwrap_err().to_string();
        assert!(error.contains("did you mean tick_ms?"), "{error}");
    }

    #[test]
    fn what_kubernetes_says_of_services_named_flin_is_no_setting() {
        let environment = [
            ("FLIN_SERVICE_HOST", "10.96.0.7"),
            ("FLIN_SERVICE_PORT_RESP", "6380"),
            ("FLIN_PORT", "tcp://10.96.0.7:6380"),
            ("FLIN_PORT_6380_TCP_ADDR", "10.96.0.7"),
            ("FLIN_OPERATOR_PORT", "tcp://10.96.0.8:8080"),
            ("FLIN_CACHE_DIR", "/tmp"),
        ];
        gather(&[], &environment).unwrap();
        assert!(TABLE.iter().all(|setting| !is_foreign(&table::variable(setting.key))));
    }

    #[test]
    fn bad_file_is_refused_with_the_line() {
        let file = file("tick_ms = 20\nlog_level = \n");
        let error = gather(&["--config-file", path(&file)], &[]).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn table_or_fraction_in_the_file_is_refused_by_name() {
        for content in ["tick_ms = 1.5", "[tick_ms]\nvalue = 1"] {
            let file = file(content);
            let error = gather(&["--config-file", path(&file)], &[]).unwrap_err().to_string();
            assert!(error.contains("tick_ms must be a number from 10 to 10000"), "{error}");
        }
    }

    #[test]
    fn named_file_must_be_there() {
        assert!(gather(&["--config-file", "/nowhere/flin.toml"], &[]).is_err());
        gather(&["--config-file", ""], &[]).unwrap();
    }

    #[test]
    fn boolean_flag_needs_no_value() {
        let given = gather(&["--allow-no-auth"], &[]).unwrap();
        assert_eq!(given.decide("allow_no_auth").unwrap(), Value::Flag(true));
    }
}
