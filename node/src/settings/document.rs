//! The table of settings, for people to read.

use std::fmt::Write as _;

use super::table::{self, Setting, TABLE};
use super::value::{Kind, Size, Value};
use super::{Given, SettingsError};

const PREFACE: &str = "\
# Configuration

<!-- Made by `flin-node config --markdown`; a test holds that it is current. -->

A node is told what to do by flags, by environment variables, by a TOML file, or not at all. Each setting
has one name in three spellings: `data_dir` in the file is `--data-dir` on the command line and
`FLIN_DATA_DIR` in the environment. A flag outranks the environment, which outranks the file, which
outranks the default. A name that means nothing and a value beyond its limits are refused at the start, by
name, with exit code 64.

Sizes are bytes, or have a unit: `64KiB`, `16MiB`, `1GiB`. Secrets are read from files, without the white
space around them, and are never printed. `flin-node config` prints what is in effect and who decided it.

| Setting | Default | May be | What it is |
|---|---|---|---|
";

const EPILOGUE: &str = "
## Exit codes

| Code | What it means |
|---|---|
| 0 | The node was told to stop and did. |
| 64 | A flag, setting, secret or bootstrap file is wrong. Starting it again does not help; the message says what to change. |
| 70 | Something failed inside or on the machine, for instance a disk or a port in use. Starting it again may help. |
| 78 | The data directory is not this node's: in use by another process, of another cluster or node, written by something else, or without the log that belongs to it. |
| 79 | The node was removed from the cluster, or another node took its name. Started again, it empties its data directory and joins as a new node, as soon as no replica in it counts any more. |
";

/// `docs/CONFIGURATION.md`, whole.
pub fn markdown() -> String {
    let mut text = PREFACE.to_owned();
    for setting in TABLE {
        let default = match setting.default {
            Some("") => "none".to_owned(),
            Some(default) => format!("`{default}`"),
            None => "must be given".to_owned(),
        };
        let about: Vec<&str> = setting.about.iter().map(|line| line.trim()).collect();
        let row =
            [format!("`{}`", setting.key), default, setting.kind.to_string(), about.join(" ")];
        let row = row.map(|cell| cell.replace('|', "\\|"));
        writeln!(text, "| {} |", row.join(" | ")).expect("writing to a String does not fail");
    }
    text + EPILOGUE
}

/// The settings in effect as a TOML file, each with who decided it. Secrets are not in it, only the
/// names of their files.
///
/// # Errors
/// [`SettingsError::Invalid`]; a setting that is missing is shown as such.
pub fn effective(given: &Given) -> Result<String, SettingsError> {
    let mut text = String::new();
    for setting in TABLE {
        let line = match given.decide(setting.key) {
            Ok(value) => assignment(setting, &value),
            Err(SettingsError::Missing { key }) => format!("# {key} is not set"),
            Err(error) => return Err(error),
        };
        let source = given.source(setting.key);
        writeln!(text, "{line:<60} # {source}").expect("writing to a String does not fail");
    }
    Ok(text)
}

fn assignment(setting: &Setting, value: &Value) -> String {
    let comment = if setting.key == table::CONFIG_FILE { "# " } else { "" };
    let value = match (setting.kind, value) {
        (Kind::Bytes { .. }, Value::Number(bytes)) => format!("\"{}\"", Size(*bytes)),
        (_, Value::Number(_) | Value::Flag(_)) => value.to_string(),
        _ => toml::Value::String(value.to_string()).to_string(),
    };
    format!("{comment}{} = {value}", setting.key)
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path};

    use super::*;

    #[test]
    fn committed_documentation_is_current() {
        // At run time: a build may be shared by several checkouts.
        let package = env::var("CARGO_MANIFEST_DIR").unwrap();
        let file = path::Path::new(&package).join("../docs/CONFIGURATION.md");
        if env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&file, markdown()).unwrap();
        }
        let committed = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            committed == markdown(),
            "docs/CONFIGURATION.md is stale: run this test with UPDATE_DOCS=1, or `flin-node config --markdown`"
        );
    }

    #[test]
    fn effective_settings_can_be_read_back_as_a_file() {
        let mut given = Given::default();
        given.flag("node_name", "demo \"0\"");
        given.flag("log_segment_bytes", "8MiB");
        let table: toml::Table = effective(&given).unwrap().parse().unwrap();
        assert_eq!(table["node_name"].as_str(), Some("demo \"0\""));
        assert_eq!(table["log_segment_bytes"].as_str(), Some("8MiB"));
        assert_eq!(table["tick_ms"].as_integer(), Some(100));
        assert!(!table.contains_key("config_file"));
        assert_eq!(table.len(), TABLE.len() - 1);
    }
}
