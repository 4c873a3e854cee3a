//! A cluster of real `flin-node` processes on loopback.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use flin_proto::admin::admin_client::AdminClient;
use flin_proto::admin::member::State;
use flin_proto::admin::{
    Cluster as Answer, ConfigureRequest, ConfirmFormedRequest, GetClusterRequest, Member,
    RebalanceSettings, RemoveMemberRequest, SetDrainingRequest,
};
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

pub const CLUSTER_ID: &str = "5f1c0000-0000-4000-8000-00000000f11e";
/// How long anything may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The nodes of one cluster, in a directory that goes with it. The first ones found it as nodes 1..=n.
pub struct Cluster {
    directory: TempDir,
    partitions: u16,
    founders: usize,
    settings: Vec<(&'static str, &'static str)>,
    nodes: Vec<Node>,
}

struct Node {
    ports: [u16; 5],
    /// What only this node is told, beside what all are.
    settings: Vec<(&'static str, String)>,
    process: Option<Child>,
}

impl Node {
    fn new() -> Self {
        Node { ports: free_ports(), settings: Vec::new(), process: None }
    }
}

impl Cluster {
    /// Starts `count` nodes with extra `settings`, and returns once they serve.
    pub async fn start(
        count: usize,
        partitions: u16,
        settings: &[(&'static str, &'static str)],
    ) -> Self {
        let nodes = (0..count).map(|_| Node::new()).collect();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let settings = settings.to_vec();
        let mut cluster = Cluster { directory, partitions, founders: count, settings, nodes };
        cluster.write_bootstrap("Forming");
        for node in 0..count {
            cluster.launch(node);
        }
        cluster.confirm_formed().await;
        cluster.write_bootstrap("Formed");
        for node in 0..count {
            cluster.wait_for(node, |answer| answer.formed).await;
        }
        cluster
    }

    /// Declares the cluster formed, as whoever founds one does: again until every partition is led at that moment.
    async fn confirm_formed(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut admin = self.wait_for(0, |answer| answer.leaderless == 0).await;
            let request = ConfirmFormedRequest { cluster_id: CLUSTER_ID.into() };
            match admin.confirm_formed(request).await {
                Ok(_) => return,
                Err(status) if status.code() == tonic::Code::Unavailable => {
                    assert!(Instant::now() < deadline, "not formed: {status}");
                }
                Err(status) => panic!("the cluster does not confirm that it is formed: {status}"),
            }
        }
    }

    /// Starts one more node, which joins; returns its place among the nodes.
    pub fn add(&mut self) -> usize {
        let node = self.reserve();
        self.launch(node);
        node
    }

    /// Has a place for one more node, which is not started.
    pub fn reserve(&mut self) -> usize {
        self.nodes.push(Node::new());
        self.nodes.len() - 1
    }

    /// Starts the process of a node that does not run.
    pub fn launch(&mut self, node: usize) {
        let process = self.command(node).spawn().expect("flin-node starts");
        self.nodes[node].process = Some(process);
    }

    /// The command that runs a node.
    pub fn command(&self, node: usize) -> Command {
        let [resp, grpc, http, peer, cluster] =
            self.nodes[node].ports.map(|port| format!("127.0.0.1:{port}"));
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(&format!("n{node}.log")))
            .expect("a log file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_flin-node"));
        command
            .arg("server")
            .args(["--node-name", &format!("n{node}"), "--allow-no-auth"])
            .args(["--client-password-file", "", "--peer-secret-file", "", "--config-file", ""])
            .args(["--resp-address", &resp, "--grpc-address", &grpc, "--http-address", &http])
            .args(["--peer-address", &peer, "--cluster-resp-address", &cluster])
            .arg("--data-dir")
            .arg(self.data(node))
            .arg("--bootstrap-file")
            .arg(self.path("cluster.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if node >= self.founders {
            command.env("FLIN_ADVERTISED_PEER_ADDRESS", &peer);
            command.env("FLIN_ADVERTISED_CLIENT_ADDRESS", &cluster);
        }
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).arg(value);
        }
        for (name, value) in &self.nodes[node].settings {
            command.arg(format!("--{name}")).arg(value);
        }
        command
    }

    /// Tells one node a setting, from its next start on.
    pub fn set(&mut self, node: usize, name: &'static str, value: String) {
        self.nodes[node].settings.push((name, value));
    }

    /// Where a node listens for others.
    pub fn peer_address(&self, node: usize) -> String {
        format!("127.0.0.1:{}", self.nodes[node].ports[3])
    }

    /// Where a node serves Redis clients, whichever node leads their keys.
    pub fn resp_address(&self, node: usize) -> String {
        format!("127.0.0.1:{}", self.nodes[node].ports[0])
    }

    /// The data directory of a node.
    pub fn data(&self, node: usize) -> PathBuf {
        self.path(&format!("data-{node}"))
    }

    /// Ends a node as a crash does.
    pub fn kill(&mut self, node: usize) {
        let mut process = self.nodes[node].process.take().expect("the node runs");
        process.kill().expect("the process can be killed");
        process.wait().expect("the process ended");
    }

    /// Tells a node to stop, and waits until it has.
    pub async fn terminate(&mut self, node: usize) -> ExitStatus {
        self.signal(node, Signal::TERM);
        let mut process = self.nodes[node].process.take().expect("the node runs");
        wait_for_exit(&mut process).await
    }

    /// Has a node stand still, until it is told to go on.
    pub fn suspend(&self, node: usize) {
        self.signal(node, Signal::STOP);
    }

    /// Has a node go on that stands still.
    pub fn resume(&self, node: usize) {
        self.signal(node, Signal::CONT);
    }

    fn signal(&self, node: usize, signal: Signal) {
        let process = self.nodes[node].process.as_ref().expect("the node runs");
        let pid = i32::try_from(process.id()).expect("a process id");
        let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("a signal");
    }

    /// Waits until a node has ended by itself.
    pub async fn ended(&mut self, node: usize) -> ExitStatus {
        let mut process = self.nodes[node].process.take().expect("the node runs");
        wait_for_exit(&mut process).await
    }

    /// Says which nodes are to be emptied, by their ids.
    pub async fn drain(&self, at: usize, node_ids: &[u64]) {
        let mut admin = self.wait_for(at, |_| true).await;
        let request =
            SetDrainingRequest { cluster_id: CLUSTER_ID.into(), node_ids: node_ids.to_vec() };
        admin.set_draining(request).await.expect("the cluster agrees");
    }

    /// Lets replicas be moved, or not.
    pub async fn pause(&self, at: usize, paused: bool) {
        self.set_rebalance(at, RebalanceSettings { paused, max_moves: 4, ..Default::default() })
            .await;
    }

    /// Lets no node send more than this for moves.
    pub async fn slow(&self, at: usize, bytes_per_second: u64) {
        let rebalance = RebalanceSettings { bytes_per_second, max_moves: 4, ..Default::default() };
        self.set_rebalance(at, rebalance).await;
    }

    /// Says how replicas are moved.
    pub async fn set_rebalance(&self, at: usize, rebalance: RebalanceSettings) {
        let mut admin = self.wait_for(at, |_| true).await;
        let request = ConfigureRequest {
            cluster_id: CLUSTER_ID.into(),
            rebalance: Some(rebalance),
            ..Default::default()
        };
        admin.configure(request).await.expect("the cluster agrees");
    }

    /// Asks for another number of replicas of each partition.
    pub async fn replicate(&self, at: usize, replication_factor: u32) {
        let mut admin = self.wait_for(at, |_| true).await;
        let cluster_id = CLUSTER_ID.into();
        let request = ConfigureRequest { cluster_id, replication_factor, ..Default::default() };
        admin.configure(request).await.expect("the cluster agrees");
    }

    /// Takes an empty node out of the membership.
    pub async fn remove(&self, at: usize, node_id: u64) {
        let mut admin = self.wait_for(at, |_| true).await;
        let request = RemoveMemberRequest { cluster_id: CLUSTER_ID.into(), node_id };
        admin.remove_member(request).await.expect("the cluster agrees");
    }

    /// The member that a node is now, by its name, as node `at` says; the one that lost its name is not meant.
    pub async fn member(&self, at: usize, node: usize) -> Member {
        let answer = self.ask(at, |answer| named(answer, node).is_some()).await;
        named(&answer, node).cloned().expect("it was there")
    }

    /// A Redis connection to a node. The client itself waits: the library's own limit is half a second, which an
    /// election on a busy machine may well take.
    pub async fn redis(&self, node: usize) -> MultiplexedConnection {
        let port = self.nodes[node].ports[0];
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}/")).expect("an address");
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let deadline = Instant::now() + PATIENCE;
        loop {
            match client.get_multiplexed_async_connection_with_config(&patient).await {
                Ok(connection) => return connection,
                Err(error) if Instant::now() > deadline => panic!("node {node}: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Waits until every node that runs says that it is ready.
    pub async fn ready(&self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].process.is_none() {
                continue;
            }
            let deadline = Instant::now() + PATIENCE;
            loop {
                let answer = self.http(node, "/readyz").await;
                if answer.starts_with("HTTP/1.1 200") {
                    break;
                }
                assert!(Instant::now() < deadline, "node {node} is not ready: {answer}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, node: usize, name: &str) -> f64 {
        let text = self.http(node, "/metrics").await;
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("{name} is not in {text}"));
        line[name.len()..].trim().parse().expect("a number")
    }

    /// Waits until a metric without labels is at least `least`, of a node that may not answer yet.
    pub async fn wait_for_metric(&self, node: usize, name: &str, least: f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.http(node, "/metrics").await;
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            if value.is_some_and(|value: f64| value >= least) {
                return;
            }
            assert!(Instant::now() < deadline, "{name} of node {node} is {value:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks a node about the cluster until the answer is as wanted.
    pub async fn wait_for(
        &self,
        node: usize,
        wanted: impl Fn(&Answer) -> bool,
    ) -> AdminClient<tonic::transport::Channel> {
        self.ask(node, wanted).await;
        AdminClient::connect(self.grpc_address(node)).await.expect("it has just answered")
    }

    /// Asks a node about the cluster until the answer is as wanted; that is returned.
    pub async fn ask(&self, node: usize, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let address = self.grpc_address(node);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = match AdminClient::connect(address.clone()).await {
                Ok(mut admin) => match admin.get_cluster(GetClusterRequest {}).await {
                    Ok(answer) if wanted(answer.get_ref()) => return answer.into_inner(),
                    Ok(answer) => format!("{answer:?}"),
                    Err(status) => status.to_string(),
                },
                Err(error) => error.to_string(),
            };
            assert!(
                Instant::now() < deadline,
                "node {node} last said {answer}\n{}",
                self.log(node)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What a node logged.
    pub fn log(&self, node: usize) -> String {
        fs::read_to_string(self.path(&format!("n{node}.log"))).unwrap_or_default()
    }

    /// Waits until a node has logged some words.
    pub async fn wait_for_log(&self, node: usize, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log(node).contains(words) {
            assert!(Instant::now() < deadline, "`{words}` is not in {}", self.log(node));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn grpc_address(&self, node: usize) -> String {
        format!("http://127.0.0.1:{}", self.nodes[node].ports[1])
    }

    /// What a node answers on its HTTP port.
    pub async fn http(&self, node: usize, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
        let exchange = async {
            let address = ("127.0.0.1", self.nodes[node].ports[2]);
            let mut stream = tokio::net::TcpStream::connect(address).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        exchange.await.unwrap_or_else(|error| error.to_string())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the bootstrap file, which names the founders and nobody else, for the nodes that start from now on.
    pub fn write_bootstrap(&self, phase: &str) {
        let members: Vec<_> = (self.nodes.iter().take(self.founders).enumerate())
            .map(|(at, node)| {
                json!({
                    "name": format!("n{at}"),
                    "nodeId": at + 1,
                    "peerAddress": format!("127.0.0.1:{}", node.ports[3]),
                    "clientAddress": format!("127.0.0.1:{}", node.ports[4]),
                    "zone": "",
                })
            })
            .collect();
        let file = json!({
            "clusterId": CLUSTER_ID,
            "partitions": self.partitions,
            "replicationFactor": if self.founders < 3 { 1 } else { 3 },
            "phase": phase,
            "members": members,
        });
        fs::write(self.path("cluster.json"), file.to_string()).expect("the bootstrap file");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.nodes.iter_mut().filter_map(|node| node.process.as_mut()) {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            for node in 0..self.nodes.len() {
                let log = self.log(node);
                let tail = &log[log.len().saturating_sub(3_000)..];
                eprintln!("--- the end of what node {node} logged\n{tail}");
            }
        }
    }
}

/// The member of a node's name that was not replaced.
fn named(answer: &Answer, node: usize) -> Option<&Member> {
    let name = format!("n{node}");
    answer.members.iter().find(|m| m.name == name && m.state() != State::Replaced)
}

/// Waits for a process to end by itself.
pub async fn wait_for_exit(process: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = process.try_wait().expect("the process can be waited for") {
            return status;
        }
        assert!(Instant::now() < deadline, "the process does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Five ports that nobody else is given. They lie below those that the system hands out for outgoing
/// connections, which could take one between its choice and its use.
fn free_ports() -> [u16; 5] {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 10_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).expect("below COUNT");
    std::array::from_fn(|_| {
        loop {
            let next = start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
            let port = FIRST + next % COUNT;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    })
}
