//! A cluster in memory behind the doors, with the state machine that nodes have.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flin_engine::memory::MemoryEngine;
use flin_groups::clock::{Clock, Sleep};
use flin_groups::requests::{RequestError, Requests, View};
use flin_node::front::{FrontOptions, Mode, Stats, serve};
use flin_node::settings::Secret;
use flin_resp::Limits;
use flin_state::apply::apply_partition;
use flin_state::cluster::{ClusterState, Genesis, GenesisMember};
use flin_state::command::{Command, Committed, Content};
use flin_state::engine::{Engine, WriteBatch};
use flin_state::ids::{ClusterId, GroupId, NodeId, PartitionId, Term, Timestamp};
use flin_state::keys::GroupState;
use flin_state::operation::{Read, Reply, Write};
use flin_state::read::{ReadOutcome, read_all};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

pub const PARTITIONS: u16 = 8;

/// One call of a front, as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Writes(PartitionId, Vec<Write>),
    Reads(PartitionId, Vec<Read>),
}

/// What the nodes of a fake cluster share.
pub struct Store {
    engine: MemoryEngine,
    groups: Mutex<BTreeMap<GroupId, GroupState>>,
    cluster: Mutex<Arc<ClusterState>>,
    leaders: Mutex<Vec<Option<NodeId>>>,
    pub now_ms: AtomicU64,
    /// The next calls fail with these.
    pub failures: Mutex<VecDeque<RequestError>>,
    pub serving: Mutex<Result<(), String>>,
    pub calls: Mutex<Vec<Call>>,
    /// Calls of these partitions wait for a permit.
    pub gates: Mutex<BTreeMap<PartitionId, Arc<Semaphore>>>,
    /// How many calls have begun.
    pub begun: watch::Sender<usize>,
}

#[derive(Clone)]
pub struct Node {
    id: NodeId,
    store: Arc<Store>,
}

impl Store {
    /// Three nodes; partition `p` is led by node `p % 3 + 1`.
    pub fn new() -> Arc<Store> {
        let members = (1..=3).map(|id| GenesisMember {
            name: format!("node-{id}"),
            node_id: NodeId(id),
            peer_address: format!("node-{id}.example:6383"),
            client_address: format!("node-{id}.example:6384"),
            zone: String::new(),
        });
        let genesis = Genesis {
            cluster_id: ClusterId(7),
            partitions: PARTITIONS,
            replication_factor: 3,
            members: members.collect(),
        };
        let mut cluster = genesis.begin().expect("the genesis is valid");
        cluster.formed = true;
        let leader = |p: u16| Some(NodeId(u64::from(p) % 3 + 1));
        Arc::new(Store {
            engine: MemoryEngine::new(),
            groups: Mutex::default(),
            cluster: Mutex::new(Arc::new(cluster)),
            leaders: Mutex::new((0..PARTITIONS).map(leader).collect()),
            now_ms: AtomicU64::new(1_700_000_000_000),
            failures: Mutex::default(),
            serving: Mutex::new(Ok(())),
            calls: Mutex::default(),
            gates: Mutex::default(),
            begun: watch::Sender::new(0),
        })
    }

    pub fn node(self: &Arc<Self>, id: u64) -> Node {
        Node { id: NodeId(id), store: self.clone() }
    }

    pub fn lead(&self, partition: PartitionId, node: Option<u64>) {
        self.leaders.lock().unwrap()[usize::from(partition.0)] = node.map(NodeId);
    }

    pub fn fail_next(&self, error: RequestError) {
        self.failures.lock().unwrap().push_back(error);
    }

    /// Holds back the calls of a partition; each permit lets one through.
    pub fn close_gate(&self, partition: PartitionId) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.gates.lock().unwrap().insert(partition, gate.clone());
        gate
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.now_ms.load(Ordering::SeqCst))
    }

    async fn enter(&self, partition: PartitionId, call: Call) -> Result<(), RequestError> {
        self.calls.lock().unwrap().push(call);
        self.begun.send_modify(|begun| *begun += 1);
        let gate = self.gates.lock().unwrap().get(&partition).cloned();
        if let Some(gate) = gate {
            gate.acquire().await.expect("gates stay").forget();
        }
        match self.failures.lock().unwrap().pop_front() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn apply(&self, group: GroupId, writes: Vec<Write>) -> Vec<Reply> {
        let mut groups = self.groups.lock().unwrap();
        let cluster = self.cluster.lock().unwrap().clone();
        let state = groups
            .entry(group)
            .or_insert_with(|| GroupState::initial(cluster.first_configuration(group)));
        let entry = Committed {
            index: state.applied.next(),
            term: Term(1),
            content: Content::Command(Command { stamp: self.now(), writes }),
        };
        let mut batch = WriteBatch::default();
        let mut replies =
            apply_partition(&self.engine, group, state, [entry], &mut batch).expect("memory");
        self.engine.write(batch).expect("memory");
        replies.pop().expect("one entry has one list of replies")
    }

    fn answer(&self, group: GroupId, reads: &[Read]) -> Vec<Reply> {
        loop {
            self.apply(group, Vec::new());
            let state = self.groups.lock().unwrap()[&group].clone();
            match read_all(&self.engine, group, &state, self.now(), reads).expect("memory") {
                ReadOutcome::Reply(replies) => return replies,
                ReadOutcome::ExpireFirst => {
                    self.apply(group, vec![Write::ExpireDue { limit: 100 }]);
                }
            }
        }
    }
}

impl Clock for Store {
    fn now(&self) -> Timestamp {
        Store::now(self)
    }

    fn monotonic_us(&self) -> u64 {
        Store::now(self).0 * 1_000
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

impl Node {
    fn check_leads(&self, partition: PartitionId) -> Result<(), RequestError> {
        let leader = self.store.leaders.lock().unwrap()[usize::from(partition.0)];
        if leader == Some(self.id) { Ok(()) } else { Err(RequestError::NotHere { leader }) }
    }
}

impl Requests for Node {
    async fn write(
        &self,
        partition: PartitionId,
        writes: Vec<Write>,
    ) -> Result<Vec<Reply>, RequestError> {
        self.store.enter(partition, Call::Writes(partition, writes.clone())).await?;
        Ok(self.store.apply(partition.group(), writes))
    }

    async fn read(
        &self,
        partition: PartitionId,
        reads: Vec<Read>,
    ) -> Result<Vec<Reply>, RequestError> {
        self.store.enter(partition, Call::Reads(partition, reads.clone())).await?;
        Ok(self.store.answer(partition.group(), &reads))
    }

    async fn write_here(
        &self,
        partition: PartitionId,
        writes: Vec<Write>,
    ) -> Result<Vec<Reply>, RequestError> {
        self.check_leads(partition)?;
        self.write(partition, writes).await
    }

    async fn read_here(
        &self,
        partition: PartitionId,
        reads: Vec<Read>,
    ) -> Result<Vec<Reply>, RequestError> {
        self.check_leads(partition)?;
        self.read(partition, reads).await
    }

    fn view(&self) -> Arc<View> {
        Arc::new(View {
            node: self.id,
            cluster: Some(self.store.cluster.lock().unwrap().clone()),
            leaders: self.store.leaders.lock().unwrap().clone(),
            serving: self.store.serving.lock().unwrap().clone(),
        })
    }
}

/// A RESP port that ends with the test.
pub struct Port {
    pub address: SocketAddr,
    pub stats: Arc<Stats>,
    pub shutdown: CancellationToken,
    pub serving: tokio::task::JoinHandle<std::io::Result<()>>,
    _stop: DropGuard,
}

/// Options that a test may change before it opens a port.
pub fn options(store: &Arc<Store>, mode: Mode) -> FrontOptions {
    FrontOptions {
        mode,
        password: None,
        limits: Limits::default(),
        connections_max: 100,
        output_timeout: Duration::from_secs(30),
        settings: Arc::new(vec![("max_request_bytes".into(), "32MiB".into())]),
        clock: store.clone(),
        stats: Arc::new(Stats::default()),
    }
}

pub fn password(text: &str) -> Option<Secret> {
    Some(Secret::new(text.into()))
}

pub async fn open(node: Node, options: FrontOptions) -> Port {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stats, shutdown) = (options.stats.clone(), CancellationToken::new());
    let serving = tokio::spawn(serve(listener, node, options, shutdown.clone()));
    Port { address, stats, serving, _stop: shutdown.clone().drop_guard(), shutdown }
}

/// Port 6380 of the first node.
pub async fn proxy() -> (Arc<Store>, Port) {
    let store = Store::new();
    let port = open(store.node(1), options(&store, Mode::Proxy)).await;
    (store, port)
}

/// Port 6384 of all three nodes, advertised where they really listen.
pub async fn cluster_ports() -> (Arc<Store>, Vec<Port>) {
    let store = Store::new();
    let mut ports = Vec::new();
    for id in 1..=3 {
        let port = open(store.node(id), options(&store, Mode::Here)).await;
        let mut cluster = store.cluster.lock().unwrap();
        let member = Arc::make_mut(&mut cluster).members.get_mut(&NodeId(id)).unwrap();
        member.client_address = port.address.to_string();
        drop(cluster);
        ports.push(port);
    }
    (store, ports)
}
