//! What a node is told by its configuration file, its environment and its flags: decided, or refused with a
//! reason; and what is printed as the settings in effect says the same when it is read back.
//!
//! The input is parted at its zero bytes: the file, then flags and variables (`NAME=value`).
//!
//! The module is taken in as source, because the crate it is part of links RocksDB.

#![no_main]

use std::cell::RefCell;

use clap::{ArgMatches, Command};
use flin_fuzz::file::MemoryFile;
use libfuzzer_sys::fuzz_target;
use settings::{Given, Settings, SettingsError, effective, flags};

#[allow(dead_code, missing_docs, unused_imports, reason = "the node uses all of it")]
#[path = "../../node/src/settings/mod.rs"]
mod settings;

thread_local! {
    static FILES: RefCell<[MemoryFile; 2]> = RefCell::new([MemoryFile::new(), MemoryFile::new()]);
    static COMMAND: Command = Command::new("server").no_binary_name(true).args(flags());
}

fuzz_target!(|data: &[u8]| {
    let mut parts = data.split(|byte| *byte == 0);
    let file = parts.next().unwrap_or_default();
    let (mut arguments, mut environment) = (Vec::new(), Vec::new());
    for part in parts.filter_map(|part| std::str::from_utf8(part).ok()) {
        match part.split_once('=').filter(|(name, _)| name.starts_with("FLIN_")) {
            Some((name, value)) => environment.push((name.to_owned(), value.to_owned())),
            None => arguments.push(part.to_owned()),
        }
    }
    FILES.with_borrow_mut(|[first, second]| {
        first.fill(file);
        let Some(matches) = matches(first, &arguments) else { return };
        let given = match Given::gather(&matches, environment) {
            Ok(given) => given,
            Err(error) => return explained(&error),
        };
        match effective(&given) {
            Ok(text) => read_back(&given, &text, second),
            Err(error) => explained(&error),
        }
        // No secret is read: what somebody names as one may be a device that never ends.
        let mut given = given;
        given.flag("client_password_file", "");
        given.flag("peer_secret_file", "");
        given.flag("allow_no_auth", "true");
        match Settings::load(&given) {
            Ok(settings) => listed(&settings),
            Err(error) => explained(&error),
        }
    });
});

fn matches(file: &MemoryFile, arguments: &[String]) -> Option<ArgMatches> {
    let named = ["--config-file".to_owned(), file.path().display().to_string()];
    let all = named.iter().chain(arguments);
    COMMAND.with(|command| command.clone().try_get_matches_from(all).ok())
}

fn explained(error: &SettingsError) {
    assert!(!error.to_string().is_empty());
}

/// The settings in effect, as a file, are in effect.
fn read_back(given: &Given, text: &str, file: &mut MemoryFile) {
    file.fill(text.as_bytes());
    let matches = matches(file, &[]).expect("the file alone");
    let again = Given::gather(&matches, []).expect("settings in effect are settings");
    let values = |text: &str| -> toml::Table { text.parse().expect("settings in effect are TOML") };
    let text_again = effective(&again).expect("settings in effect can be in effect");
    assert_eq!(values(&text_again), values(text), "{given:?}");
}

/// Every setting is listed as it could be given.
fn listed(settings: &Settings) {
    let listing = settings.listing();
    let mut given = Given::default();
    for (key, value) in &listing {
        given.flag(key, value);
    }
    let again = Settings::load(&given).expect("what is listed can be given");
    assert_eq!(again.listing(), listing);
}
