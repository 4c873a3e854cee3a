//! A node whose peers never answer.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flin_engine::disk::MemoryDisk;
use flin_engine::log::{LogOptions, SharedLog};
use flin_engine::memory::MemoryEngine;
use flin_groups::board::Board;
use flin_groups::clock::{Clock, Sleep};
use flin_groups::metrics::CoreMetrics;
use flin_groups::{Ground, Groups, Host, Input, Mailbox, Outbox, Stepper, Timing};
use flin_proto::peer::LeaderReport;
use flin_replica::Message;
use flin_state::cluster::{ClusterState, Genesis, GenesisMember};
use flin_state::ids::{ClusterId, GroupId, NodeId, ReplicaId, Term, Timestamp};

const TIMING: Timing =
    Timing { tick: Duration::from_millis(100), election_ticks: 8, heartbeat_ticks: 2 };

/// A clock that somebody sets.
#[derive(Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.monotonic_ms())
    }

    fn monotonic_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn sleep(&self, _duration: Duration) -> Sleep {
        Box::pin(std::future::pending())
    }
}

/// Where messages are lost.
struct Nowhere;

impl Outbox for Nowhere {
    fn post(&self, _node: NodeId, _messages: Vec<Message>) -> bool {
        false
    }

    fn send_snapshot(&self, _node: NodeId, _message: Message) {}
}

/// A node whose peers never answer.
pub struct LoneNode {
    groups: Groups,
    board: Arc<Board>,
    clock: Arc<SetClock>,
    stepper: Stepper,
    genesis: Genesis,
}

impl LoneNode {
    /// Node `node` of a cluster of `members` nodes with one partition.
    pub fn member_of(node: NodeId, members: u64) -> Self {
        let member = |number: u64| GenesisMember {
            name: format!("m{number}"),
            node_id: NodeId(number),
            peer_address: format!("m{number}:6383"),
            client_address: format!("m{number}:6384"),
            zone: String::new(),
        };
        let genesis = Genesis {
            cluster_id: ClusterId(7),
            partitions: 1,
            replication_factor: 3,
            members: (1..=members).map(member).collect(),
        };
        let log = SharedLog::open(MemoryDisk::new(), Path::new("/log"), LogOptions::default());
        let (mailbox, board) = (Mailbox::new(), Board::new(node));
        let clock = Arc::new(SetClock::default());
        let groups = mailbox.groups.clone();
        let ground = Ground {
            log: Arc::new(log.expect("an empty disk")),
            engine: Arc::new(MemoryEngine::new()),
            clock: clock.clone(),
            outbox: Box::new(Nowhere),
            board: board.clone(),
            metrics: CoreMetrics::unseen(),
            timing: TIMING,
            seed: 1,
        };
        let stepper = Host::open(ground, mailbox).expect("nothing is there").stepper();
        LoneNode { groups, board, clock, stepper, genesis }
    }

    /// The state that the cluster begins with.
    pub fn state(&self) -> ClusterState {
        let mut state = self.genesis.begin().expect("a valid genesis");
        state.formed = true;
        state
    }

    /// Tells the worker something.
    pub fn tell(&self, input: Input) {
        assert!(self.groups.tell(input), "the mailbox has room");
    }

    /// Hears what another node leads.
    pub fn hear(&self, report: &LeaderReport) {
        self.board.hear(report, self.clock.monotonic_ms());
    }

    /// Knows of a term without a leader.
    pub fn learn(&self, group: GroupId, term: Term) {
        self.board.learn(group, term, None);
    }

    /// One turn of the worker and all that it leaves to the applier.
    pub fn turn(&mut self) {
        self.stepper.turn().expect("nothing fails in memory");
        self.stepper.apply(usize::MAX).expect("nothing fails in memory");
    }

    /// Lets time pass, tick by tick.
    pub fn pass_seconds(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.clock.0.fetch_add(100_000, Ordering::Relaxed);
            self.turn();
        }
    }

    /// The replicas that the node hosts.
    pub fn replicas(&self) -> Vec<(GroupId, ReplicaId)> {
        self.stepper.replicas().map(|(group, replica, ..)| (group, replica)).collect()
    }
}
