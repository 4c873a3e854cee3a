//! Who runs where: ports, directories, bootstrap file and flags of the nodes of one machine.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flin_state::cluster::{Genesis, GenesisMember};
use flin_state::ids::{ClusterId, NodeId};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{DevError, DevOptions, PORTS_PER_NODE};
use crate::bootstrap::{self, Phase};

/// Partitions of a new cluster when nobody says.
const PARTITIONS_DEFAULT: u16 = 64;

/// All nodes stop together, so the last ones find nobody to hand their leaderships to and would wait in
/// vain.
const SHUTDOWN_GRACE_MS: u64 = 500;

/// A cluster on this machine.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) data: PathBuf,
    pub(super) genesis: Genesis,
    pub(super) phase: Phase,
    pub(super) nodes: Vec<NodePlan>,
    server_flags: Vec<String>,
    /// Held as long as the plan lives: two plans for one directory would write over each other's logs.
    _lock: File,
}

/// One node of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodePlan {
    pub(super) name: String,
    pub(super) first_port: u16,
}

impl NodePlan {
    fn at(index: u16, base_port: u16) -> Self {
        let first_port = base_port + index * PORTS_PER_NODE;
        NodePlan { name: format!("node-{index}"), first_port }
    }

    fn address(&self, offset: u16) -> String {
        format!("127.0.0.1:{}", self.first_port + offset)
    }

    pub(super) fn resp_address(&self) -> String {
        self.address(0)
    }

    pub(super) fn grpc_address(&self) -> String {
        self.address(1)
    }

    fn http_address(&self) -> String {
        self.address(2)
    }

    fn peer_address(&self) -> String {
        self.address(3)
    }

    fn cluster_resp_address(&self) -> String {
        self.address(4)
    }

    fn member(&self, node_id: u64) -> GenesisMember {
        GenesisMember {
            name: self.name.clone(),
            node_id: NodeId(node_id),
            peer_address: self.peer_address(),
            client_address: self.cluster_resp_address(),
            zone: String::new(),
        }
    }
}

impl Plan {
    /// The cluster that `options` ask for: the one in its directory, or a new one whose bootstrap file is
    /// written.
    pub(super) fn make(options: &DevOptions) -> Result<Plan, DevError> {
        let DevOptions { nodes, base_port, .. } = *options;
        let last = u32::from(base_port) + u32::from(nodes * PORTS_PER_NODE) - 6;
        if last > u32::from(u16::MAX) {
            return Err(DevError::Ports { nodes, base_port, last });
        }
        let act = || format!("create {}", options.data.display());
        fs::create_dir_all(&options.data).map_err(DevError::io(act()))?;
        let data = options.data.canonicalize().map_err(DevError::io(act()))?;
        let lock = lock(&data)?;
        let nodes: Vec<NodePlan> = (0..nodes).map(|i| NodePlan::at(i, base_port)).collect();
        let path = bootstrap_path(&data);
        let (genesis, phase) = if path.exists() {
            let (found, phase) = bootstrap::read_genesis(&path)?;
            let partitions = options.partitions.unwrap_or(found.partitions);
            if found != genesis(found.cluster_id, partitions, &nodes) {
                return Err(DevError::OtherCluster { path, found: describe_found(&found) });
            }
            (found, phase)
        } else {
            let partitions = options.partitions.unwrap_or(PARTITIONS_DEFAULT);
            (genesis(new_cluster_id()?, partitions, &nodes), Phase::Forming)
        };
        let server_flags = options.server_flags.clone();
        let plan = Plan { data, genesis, phase, nodes, server_flags, _lock: lock };
        plan.write_bootstrap(phase)?;
        Ok(plan)
    }

    /// Writes the bootstrap file anew: whole or not at all, and for good.
    pub(super) fn write_bootstrap(&self, phase: Phase) -> Result<(), DevError> {
        let path = bootstrap_path(&self.data);
        let draft = path.with_extension("json.new");
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(bootstrap::to_json(&self.genesis, phase).as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            File::open(&self.data)?.sync_all()
        };
        write().map_err(DevError::io(format!("write {}", path.display())))
    }

    /// The arguments that start `node`.
    pub(super) fn arguments(&self, node: &NodePlan) -> Vec<String> {
        let data_dir = self.data.join(&node.name);
        let own = [
            ("node-name", node.name.clone()),
            ("data-dir", data_dir.display().to_string()),
            ("bootstrap-file", bootstrap_path(&self.data).display().to_string()),
            ("config-file", String::new()),
            ("client-password-file", String::new()),
            ("peer-secret-file", String::new()),
            ("allow-no-auth", "true".to_owned()),
            ("shutdown-grace-ms", SHUTDOWN_GRACE_MS.to_string()),
            ("resp-address", node.resp_address()),
            ("grpc-address", node.grpc_address()),
            ("http-address", node.http_address()),
            ("peer-address", node.peer_address()),
            ("cluster-resp-address", node.cluster_resp_address()),
        ];
        let own = own.into_iter().map(|(flag, value)| format!("--{flag}={value}"));
        ["server".to_owned(), "--end-with-parent".to_owned()]
            .into_iter()
            .chain(own)
            .chain(self.server_flags.iter().cloned())
            .collect()
    }

    /// Where the output of `node` goes.
    pub(super) fn log(&self, node: &NodePlan) -> PathBuf {
        self.data.join(format!("{}.log", node.name))
    }

    /// What a person needs to know once the cluster is ready.
    pub(super) fn how_to_reach(&self) -> String {
        let mut text =
            format!("Ready: {} in {}.\n\n", describe(&self.genesis), self.data.display());
        for node in &self.nodes {
            text += &format!(
                "  {}  RESP {}  gRPC {}  HTTP {}  log {}\n",
                node.name,
                node.resp_address(),
                node.grpc_address(),
                node.http_address(),
                self.log(node).display()
            );
        }
        let port = self.nodes[0].first_port;
        text += &format!("\nTry:  redis-cli -p {port} SET greeting hello\n");
        text += &format!(
            "      redis-cli -c -p {} GET greeting   (a client that routes itself)\n",
            port + 4
        );
        text += "Ctrl-C stops the nodes and keeps the data.";
        text
    }
}

fn lock(data: &Path) -> Result<File, DevError> {
    let path = data.join("dev.lock");
    let file = File::create(&path).map_err(DevError::io(format!("create {}", path.display())))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(DevError::InUse { path: data.to_owned() }),
        Err(error) => Err(DevError::io(format!("lock {}", path.display()))(error.into())),
    }
}

/// Where the bootstrap file lies, beside the directories of the nodes.
fn bootstrap_path(data: &Path) -> PathBuf {
    data.join("cluster.json")
}

fn genesis(cluster_id: ClusterId, partitions: u16, nodes: &[NodePlan]) -> Genesis {
    let members = nodes.iter().zip(1..).map(|(node, id)| node.member(id)).collect();
    let replication_factor = if nodes.len() < 3 { 1 } else { 3 };
    Genesis { cluster_id, partitions, replication_factor, members }
}

fn describe(genesis: &Genesis) -> String {
    let Genesis { partitions, replication_factor, members, .. } = genesis;
    let nodes = super::plural(members.len(), "node");
    format!("{nodes}, {partitions} partitions, replication factor {replication_factor}")
}

/// [`describe`], with the ports, which cannot be changed either.
fn describe_found(genesis: &Genesis) -> String {
    let first = genesis.members.first().map_or("nobody", |member| &member.client_address);
    format!("{}, clients of the first one at {first}", describe(genesis))
}

fn new_cluster_id() -> Result<ClusterId, DevError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        DevError::io("draw a random cluster id")(std::io::Error::other(error.to_string()))
    })?;
    // Zero is no cluster.
    Ok(ClusterId(u128::from_be_bytes(bytes).max(1)))
}
