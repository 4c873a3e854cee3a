//! Every setting of a node, once.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::value::{FromValue, Kind};
use super::{Given, Secrets, SettingsError};

/// The one setting that says where the file is, and so cannot be in it.
pub(crate) const CONFIG_FILE: &str = "config_file";

/// One row of the table.
pub(crate) struct Setting {
    /// Its name in the file; [`flag`] and [`variable`] derive the others.
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    /// `None`: it must be given.
    pub(crate) default: Option<&'static str>,
    /// The field's docstring: one line per line of it.
    pub(crate) about: &'static [&'static str],
}

/// The name of a setting on the command line, without the dashes before it.
pub(crate) fn flag(key: &str) -> String {
    key.replace('_', "-")
}

/// The name of a setting in the environment.
pub(crate) fn variable(key: &str) -> String {
    format!("FLIN_{}", key.to_uppercase())
}

/// The row of `key`.
pub(crate) fn find(key: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|setting| setting.key == key)
}

macro_rules! settings {
    ($($(#[doc = $about:literal])+ $field:ident: $type:ty = $default:expr, $kind:expr;)+) => {
        /// What a node was told, checked.
        #[derive(Clone, Debug)]
        pub struct Settings {
            $($(#[doc = $about])+ pub $field: $type,)+
            /// The content of the secret files.
            pub secrets: Secrets,
        }

        /// Every setting, in the order of the documentation.
        pub(crate) const TABLE: &[Setting] = &[
            $(Setting {
                key: stringify!($field),
                kind: $kind,
                default: $default,
                about: &[$($about),+],
            },)+
        ];

        impl Settings {
            /// Decides every setting, each by itself, without secrets.
            pub(super) fn from_given(given: &Given) -> Result<Settings, SettingsError> {
                Ok(Settings {
                    $($field: <$type>::from_value(&given.decide(stringify!($field))?)
                        .expect("a test holds that the kind of a setting fits its field"),)+
                    secrets: Secrets::default(),
                })
            }

            /// Every setting by name, as CONFIG GET shows them; no secret is among them.
            pub fn listing(&self) -> Vec<(String, String)> {
                vec![$((stringify!($field).to_owned(), self.$field.to_text()),)+]
            }
        }
    };
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

settings! {
    /// The name of this node; in Kubernetes the pod's name. A node that is named in the bootstrap file
    /// founds the cluster with the others there, any other node joins it.
    node_name: String = None, Kind::Text;
    /// The directory that holds the node's log and state. One process at a time may use it.
    data_dir: PathBuf = Some("/var/lib/flin"), Kind::Path;
    /// The file that says which cluster this node is a member of: cluster id, partitions,
    /// replication factor, phase and first members.
    bootstrap_file: PathBuf = Some("/etc/flin/bootstrap/cluster.json"), Kind::Path;
    /// A configuration file in TOML with the settings of this table. The default one may be absent,
    /// one that is named may not. It cannot be set in the file itself.
    config_file: Option<PathBuf> = Some("/etc/flin/flin.toml"), Kind::OptionalPath;

    /// The file with the password that clients give (`AUTH` on RESP, `authorization: Bearer` on gRPC).
    client_password_file: Option<PathBuf> = Some("/etc/flin/secrets/client-password"), Kind::OptionalPath;
    /// The file with the secret that the nodes of a cluster prove to each other.
    peer_secret_file: Option<PathBuf> = Some("/etc/flin/secrets/peer-secret"), Kind::OptionalPath;
    /// Whether the node may run without a password or secret whose file is absent. Only for
    /// networks where everyone may do everything.
    allow_no_auth: bool = Some("false"), Kind::Flag;

    /// Where Redis clients are served; every command is answered here, whichever node leads its key.
    resp_address: SocketAddr = Some("0.0.0.0:6380"), Kind::Address;
    /// Where gRPC is served: keys, administration, reflection and health.
    grpc_address: SocketAddr = Some("0.0.0.0:6381"), Kind::Address;
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    http_address: SocketAddr = Some("0.0.0.0:6382"), Kind::Address;
    /// Where other nodes are heard. What they call is `advertised_peer_address`.
    peer_address: SocketAddr = Some("0.0.0.0:6383"), Kind::Address;
    /// Where Redis Cluster clients are served: a key led elsewhere answers `MOVED`. What they are
    /// told to call is `advertised_client_address`.
    cluster_resp_address: SocketAddr = Some("0.0.0.0:6384"), Kind::Address;
    /// Where other nodes reach this one's `peer_address`. A node that is named in the bootstrap file
    /// finds it there if it is not set; any other needs it to join.
    advertised_peer_address: Option<String> = Some(""), Kind::OptionalHostPort;
    /// Where clients reach this node's `cluster_resp_address`. A node that is named in the bootstrap
    /// file finds it there if it is not set; any other needs it to join.
    advertised_client_address: Option<String> = Some(""), Kind::OptionalHostPort;
    /// Where nodes of this cluster are found, whichever they are by now: the host may lead to many
    /// addresses, this node's own among them, and each is asked. A node that must join asks there after the
    /// first members. In Kubernetes it is the headless Service.
    join_address: Option<String> = Some(""), Kind::OptionalHostPort;
    /// The failure zone that this node is in. The replicas of a partition are spread over zones as
    /// far as there are enough of them.
    zone: Option<String> = Some(""), Kind::OptionalText;

    /// Client connections at a time on each RESP port; the next one is told so and closed.
    max_connections: usize = Some("10000"), Kind::Number { min: 1, max: 1_000_000 };
    /// The largest client request, all its arguments together.
    max_request_bytes: usize = Some("32MiB"), Kind::Bytes { min: 64 << 10, max: 48 * MIB };

    /// The unit of raft's time in milliseconds.
    tick_ms: u64 = Some("100"), Kind::Number { min: 10, max: 10_000 };
    /// Ticks without a word from the leader before a follower stands for election; up to twice as
    /// many by chance.
    election_ticks: u32 = Some("8"), Kind::Number { min: 2, max: 1_000 };
    /// Ticks between two heartbeats of a leader; less than `election_ticks`.
    heartbeat_ticks: u32 = Some("2"), Kind::Number { min: 1, max: 500 };

    /// The size of one file of the log.
    log_segment_bytes: u64 = Some("16MiB"), Kind::Bytes { min: MIB, max: GIB };
    /// The disk space that the log may take before it is cut, and lagging followers are sent
    /// snapshots instead; at least four segments.
    log_budget_bytes: u64 = Some("512MiB"), Kind::Bytes { min: 4 * MIB, max: TIB };
    /// Memory for blocks read from the state on disk.
    block_cache_bytes: u64 = Some("64MiB"), Kind::Bytes { min: MIB, max: TIB };
    /// Memory for state not yet written to disk.
    write_buffer_bytes: u64 = Some("32MiB"), Kind::Bytes { min: MIB, max: 64 * GIB };

    /// What is logged.
    log_level: String = Some("info"), Kind::LogFilter;
    /// How it is written, on standard error.
    log_format: String = Some("text"), Kind::OneOf(&["text", "json"]);
    /// How long a node that is told to stop may take to hand over its leaderships and answer what it
    /// accepted, in milliseconds.
    shutdown_grace_ms: u64 = Some("20000"), Kind::Number { min: 0, max: 600_000 };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_has_the_form_that_its_setting_asks_for() {
        for setting in TABLE {
            if let Some(default) = setting.default {
                assert!(setting.kind.parse(default).is_ok(), "{}", setting.key);
            }
            assert!(!setting.about.is_empty());
        }
    }

    #[test]
    fn every_limit_fits_the_field_behind_it() {
        let mut given = Given::default();
        for setting in TABLE {
            match setting.kind {
                Kind::Number { max, .. } | Kind::Bytes { max, .. } => {
                    given.flag(setting.key, &max.to_string());
                }
                Kind::Text => given.flag(setting.key, "demo-0"),
                _ => {}
            }
        }
        Settings::from_given(&given).unwrap();
    }
}
