//! What settings must be to each other.

use std::path::PathBuf;

use super::{Given, Secret, Secrets, Settings, SettingsError, Source};

/// Refuses settings that are possible one by one and not together.
pub(super) fn check(settings: &Settings) -> Result<(), SettingsError> {
    let Settings { heartbeat_ticks, election_ticks, .. } = settings;
    if heartbeat_ticks >= election_ticks {
        return Err(SettingsError::Impossible(format!(
            "heartbeat_ticks = {heartbeat_ticks} must be less than election_ticks = \
             {election_ticks}: a follower would stand for election between two heartbeats"
        )));
    }
    let Settings { log_segment_bytes, log_budget_bytes, .. } = settings;
    if *log_budget_bytes < 4 * log_segment_bytes {
        return Err(SettingsError::Impossible(format!(
            "log_budget_bytes = {log_budget_bytes} must be at least four times log_segment_bytes \
             = {log_segment_bytes}: the log is cut a segment at a time"
        )));
    }
    distinct_ports(settings)
}

fn distinct_ports(settings: &Settings) -> Result<(), SettingsError> {
    let addresses = [
        ("resp_address", settings.resp_address),
        ("grpc_address", settings.grpc_address),
        ("http_address", settings.http_address),
        ("peer_address", settings.peer_address),
        ("cluster_resp_address", settings.cluster_resp_address),
    ];
    for (i, (key, address)) in addresses.iter().enumerate() {
        for (other, taken) in &addresses[..i] {
            let overlap = taken.ip() == address.ip()
                || taken.ip().is_unspecified()
                || address.ip().is_unspecified();
            if address.port() != 0 && address.port() == taken.port() && overlap {
                return Err(SettingsError::Impossible(format!(
                    "{key} = {address} and {other} = {taken} are the same port: give each its own"
                )));
            }
        }
    }
    Ok(())
}

/// Reads the secret files. A default file may be absent where `allow_no_auth` permits it; a file that
/// somebody named must be there.
pub(super) fn read_secrets(settings: &Settings, given: &Given) -> Result<Secrets, SettingsError> {
    let read = |key, path: &Option<PathBuf>| {
        let named = given.source(key) != Source::Default;
        match path {
            Some(path) if named || path.exists() => match Secret::read(path) {
                Ok(secret) => Ok(Some(secret)),
                Err(source) => Err(SettingsError::Secret { key, source }),
            },
            _ if settings.allow_no_auth => Ok(None),
            Some(path) => Err(SettingsError::NoSecret { key, path: path.display().to_string() }),
            None => Err(SettingsError::NoSecret { key, path: "a file that is not named".into() }),
        }
    };
    Ok(Secrets {
        client_password: read("client_password_file", &settings.client_password_file)?,
        peer_secret: read("peer_secret_file", &settings.peer_secret_file)?,
    })
}
