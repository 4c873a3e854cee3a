//! The bootstrap file: which cluster this node is a member of, and whether that cluster exists already.
//!
//! The operator (or `flin-node dev`) writes it. Every first member begins from the same file, so that all agree
//! on the first configuration of every group before any of them has talked to another. To a node that joins
//! later it says whom to ask first; they may be gone by then.

use std::path::{Path, PathBuf};
use std::{fs, io};

use flin_state::cluster::{BadGenesis, Genesis, GenesisMember};
use flin_state::ids::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};

/// The longest bootstrap file that is read; a thousand members need less than half of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Whether the cluster exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It is being made: an empty disk is as it should be.
    Forming,
    /// It was made and may hold data: an empty disk is that of a new node.
    Formed,
}

/// The bootstrap file as one node reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// What the cluster begins with, checked.
    pub genesis: Genesis,
    /// Whether it exists already.
    pub phase: Phase,
    /// The id that the first member of the reading node's name began with; `None` if no first member is called
    /// so. The node may have another one by now: what its disk says counts.
    pub node_id: Option<NodeId>,
}

/// Why a bootstrap file cannot be used. Every message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// It cannot be read.
    #[error(
        "cannot read the bootstrap file {path}; check --bootstrap-file, and that the ConfigMap is \
         mounted"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is far too large.
    #[error("the bootstrap file {path} has {bytes} bytes; the largest has {FILE_BYTES_MAX}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It is not the JSON that it should be.
    #[error("the bootstrap file {path} is malformed; correct it where the cause says")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and in which line.
        #[source]
        source: serde_json::Error,
    },
    /// It describes a cluster that cannot be.
    #[error("the bootstrap file {path} describes no cluster that can work; correct it")]
    Impossible {
        /// The file.
        path: PathBuf,
        /// The rule that is broken.
        #[source]
        source: BadGenesis,
    },
}

/// The file itself. Unknown fields are refused: a newer operator may mean something by them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    cluster_id: ClusterId,
    partitions: u16,
    replication_factor: u8,
    phase: Phase,
    members: Vec<GenesisMember>,
}

impl Bootstrap {
    /// Reads the file at `path` as the node called `node_name`.
    ///
    /// # Errors
    /// [`BootstrapError`], for the first thing found wrong.
    pub fn read(path: &Path, node_name: &str) -> Result<Bootstrap, BootstrapError> {
        let (genesis, phase) = read_genesis(path)?;
        let own = genesis.members.iter().find(|member| member.name == node_name);
        Ok(Bootstrap { node_id: own.map(|member| member.node_id), genesis, phase })
    }

    /// The first member that this node is called after.
    pub(crate) fn namesake(&self) -> Option<&GenesisMember> {
        self.genesis.members.iter().find(|member| Some(member.node_id) == self.node_id)
    }

    /// Where the other first members are heard by nodes, host and port.
    pub(crate) fn other_addresses(&self) -> Vec<String> {
        let others = self.genesis.members.iter().filter(|m| Some(m.node_id) != self.node_id);
        others.map(|member| member.peer_address.clone()).collect()
    }

    /// The names of the first members, as many as are enough to see what is wrong.
    pub(crate) fn member_names(&self) -> String {
        const SHOWN: usize = 8;
        let members = &self.genesis.members;
        let names: Vec<&str> = members.iter().take(SHOWN).map(|m| m.name.as_str()).collect();
        let more = members.len() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        names.join(", ") + &more
    }
}

/// Reads the file at `path` as nobody in particular.
pub(crate) fn read_genesis(path: &Path) -> Result<(Genesis, Phase), BootstrapError> {
    let path_named = || path.to_owned();
    let unreadable = |source| BootstrapError::Unreadable { path: path_named(), source };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(BootstrapError::TooLarge { path: path_named(), bytes });
    }
    let json = fs::read(path).map_err(unreadable)?;
    let File { cluster_id, partitions, replication_factor, phase, members } =
        serde_json::from_slice(&json)
            .map_err(|source| BootstrapError::Malformed { path: path_named(), source })?;
    let genesis = Genesis { cluster_id, partitions, replication_factor, members };
    genesis
        .validate()
        .map_err(|source| BootstrapError::Impossible { path: path_named(), source })?;
    Ok((genesis, phase))
}

/// The content of a bootstrap file.
pub(crate) fn to_json(genesis: &Genesis, phase: Phase) -> String {
    let Genesis { cluster_id, partitions, replication_factor, members } = genesis.clone();
    let file = File { cluster_id, partitions, replication_factor, phase, members };
    serde_json::to_string_pretty(&file).expect("strings, numbers and lists are always JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{
        "clusterId": "00000000-0000-0000-0000-000000c0ffee", "partitions": 64,
        "replicationFactor": 1, "phase": "Forming",
        "members": [
            {"name": "demo-0", "nodeId": 7, "peerAddress": "demo-0.demo-nodes:6383",
             "clientAddress": "demo-0.demo-nodes:6384", "zone": ""},
            {"name": "demo-1", "nodeId": 8, "peerAddress": "demo-1.demo-nodes:6383",
             "clientAddress": "demo-1.demo-nodes:6384"}
        ]
    }"#;

    fn read(json: &str, name: &str) -> Result<Bootstrap, BootstrapError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), json).unwrap();
        Bootstrap::read(file.path(), name)
    }

    #[test]
    fn member_finds_itself_by_name() {
        let bootstrap = read(GOOD, "demo-1").unwrap();
        assert_eq!(bootstrap.node_id, Some(NodeId(8)));
        assert_eq!(bootstrap.other_addresses(), ["demo-0.demo-nodes:6383"]);
        assert_eq!(bootstrap.phase, Phase::Forming);
        assert_eq!(bootstrap.genesis.cluster_id, ClusterId(0xC0_FFEE));
    }

    #[test]
    fn written_file_reads_back() {
        let Bootstrap { genesis, .. } = read(GOOD, "demo-0").unwrap();
        let again = read(&to_json(&genesis, Phase::Formed), "demo-0").unwrap();
        assert_eq!(again, Bootstrap { genesis, phase: Phase::Formed, node_id: Some(NodeId(7)) });
    }

    #[test]
    fn later_node_learns_whom_to_ask() {
        let bootstrap = read(GOOD, "demo-2").unwrap();
        assert_eq!(bootstrap.node_id, None);
        assert_eq!(bootstrap.namesake(), None);
        assert_eq!(bootstrap.other_addresses().len(), 2);
        assert_eq!(bootstrap.member_names(), "demo-0, demo-1");
    }

    #[test]
    fn broken_file_says_where_and_what() {
        use std::error::Error as _;

        let cause = |json: &str| read(json, "demo-0").unwrap_err().source().unwrap().to_string();
        assert!(cause("").contains("EOF"));
        assert!(cause(&GOOD.replace("\"partitions\"", "\"shards\"")).contains("line 2"));
        assert!(cause(&GOOD.replace("Forming", "Begun")).contains("`Forming` or `Formed`"));
        assert!(cause(&GOOD.replace("64", "2000")).contains("from 1 to 1024"));
        assert!(cause(&GOOD.replace("\"nodeId\": 8", "\"nodeId\": 7")).contains("node id 7"));
        let missing = Bootstrap::read(Path::new("/nowhere/cluster.json"), "demo-0").unwrap_err();
        assert!(missing.to_string().contains("check --bootstrap-file"));
    }
}
