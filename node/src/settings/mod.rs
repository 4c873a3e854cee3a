//! What a node can be told: by flag, by environment, by file, or not at all.
//!
//! [`table`] is the single source: the fields of [`Settings`], the flags, the names in environment and
//! file, the limits and `docs/CONFIGURATION.md` all come from it. [`sources`] decides who has the last
//! word, [`rules`] what cannot be true at once.

mod document;
mod nearest;
mod rules;
mod secret;
mod sources;
mod table;
mod value;

use std::path::PathBuf;

pub use document::{effective, markdown};
pub use secret::{SECRET_BYTES_MAX, Secret, SecretError};
pub use sources::{Given, Source, flags};
pub use table::Settings;

/// What is read from the secret files. `None` only where [`Settings::allow_no_auth`] permits it.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// What clients must prove on the RESP and gRPC ports.
    pub client_password: Option<Secret>,
    /// What nodes must prove to each other.
    pub peer_secret: Option<Secret>,
}

/// Why a node cannot start with what it was told. Every message names the setting and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A name that means nothing.
    #[error("unknown setting {name} in {place}{}; `flin-node config --markdown` lists all", hint(.nearest.as_deref()))]
    Unknown {
        /// The name as it was written.
        name: String,
        /// Where it was written.
        place: String,
        /// The known name most like it.
        nearest: Option<String>,
    },
    /// A value that is not of the right form, or beyond a limit.
    #[error("{key} = {value:?} ({giver}): {what}")]
    Invalid {
        /// The setting.
        key: &'static str,
        /// What was given.
        value: String,
        /// Who gave it.
        giver: Source,
        /// What it must be.
        what: String,
    },
    /// Nobody gave a setting that has no default.
    #[error("{key} is not set: give --{}, {} or `{key}` in the file", table::flag(.key), table::variable(.key))]
    Missing {
        /// The setting.
        key: &'static str,
    },
    /// Two settings that cannot both be.
    #[error("{0}")]
    Impossible(String),
    /// The configuration file cannot be used.
    #[error("configuration file {path}: {what}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        what: String,
    },
    /// A secret file cannot be used.
    #[error("{key}")]
    Secret {
        /// The setting that names the file.
        key: &'static str,
        /// What is wrong with it.
        #[source]
        source: SecretError,
    },
    /// There is no secret, and nobody said that this is meant.
    #[error(
        "{key}: {path} does not exist; mount the secret there, or set allow_no_auth = true if \
         everyone who can reach this node may use it"
    )]
    NoSecret {
        /// The setting that names the file.
        key: &'static str,
        /// The file.
        path: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

impl Settings {
    /// Decides every setting from what was `given`, checks them, and reads the secrets.
    ///
    /// # Errors
    /// [`SettingsError`], for the first thing found wrong.
    pub fn load(given: &Given) -> Result<Settings, SettingsError> {
        let mut settings = Settings::from_given(given)?;
        rules::check(&settings)?;
        settings.secrets = rules::read_secrets(&settings, given)?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn load(flags: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let base = [("node_name", "demo-0"), ("allow_no_auth", "true")];
        let mut given = Given::default();
        for (key, value) in base.iter().chain(flags) {
            given.flag(key, value);
        }
        Settings::load(&given)
    }

    #[test]
    fn defaults_are_possible() {
        let settings = load(&[]).unwrap();
        assert_eq!(settings.election_ticks, 8);
        assert_eq!(settings.resp_address.port(), 6380);
        assert!(settings.secrets.client_password.is_none());
    }

    #[test]
    fn impossible_values_are_refused_by_name_with_the_limit() {
        let refused = |key, value| load(&[(key, value)]).unwrap_err().to_string();
        assert_eq!(
            refused("heartbeat_ticks", "8"),
            "heartbeat_ticks = 8 must be less than election_ticks = 8: a follower would stand for \
             election between two heartbeats"
        );
        assert!(refused("max_connections", "0").contains("must be a number from 1 to"));
        assert!(refused("log_budget_bytes", "32MiB").contains("log_segment_bytes"));
        assert!(refused("http_address", "0.0.0.0:6380").contains("resp_address"));
    }

    #[test]
    fn listing_shows_every_setting_as_it_could_be_given() {
        let listing = load(&[("log_segment_bytes", "8MiB")]).unwrap().listing();
        let mut given = Given::default();
        for (key, value) in &listing {
            given.flag(key, value);
        }
        let again = Settings::from_given(&given).unwrap();
        assert_eq!(again.listing(), listing);
        assert!(listing.contains(&("log_segment_bytes".into(), (8 << 20).to_string())));
    }

    #[test]
    fn missing_name_says_where_to_give_it() {
        let error = Settings::load(&Given::default()).unwrap_err().to_string();
        assert_eq!(
            error,
            "node_name is not set: give --node-name, FLIN_NODE_NAME or `node_name` in the file"
        );
    }

    #[test]
    fn no_secret_without_leave_is_refused() {
        let mut given = Given::default();
        given.flag("node_name", "demo-0");
        let error = Settings::load(&given).unwrap_err();
        assert!(matches!(error, SettingsError::NoSecret { key: "client_password_file", .. }));
    }

    #[test]
    fn no_secret_file_at_all_needs_leave_too() {
        let mut given = Given::default();
        given.flag("node_name", "demo-0");
        given.flag("client_password_file", "");
        let error = Settings::load(&given).unwrap_err();
        assert!(matches!(error, SettingsError::NoSecret { key: "client_password_file", .. }));
    }

    #[test]
    fn named_secret_that_is_not_there_is_refused_even_with_leave() {
        let error = load(&[("client_password_file", "/nowhere/password")]).unwrap_err();
        assert!(matches!(error, SettingsError::Secret { key: "client_password_file", .. }));
    }

    #[test]
    fn secrets_are_read_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        fs::write(&path, "hunter2\n").unwrap();
        let settings = load(&[("client_password_file", path.to_str().unwrap())]).unwrap();
        assert!(settings.secrets.client_password.as_ref().unwrap().matches(b"hunter2"));
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
