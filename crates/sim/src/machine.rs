//! A machine: its disk, its clocks, and the node that runs on it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use flin_engine::disk::MemoryDisk;
use flin_engine::log::{LogOptions, SharedLog};
use flin_engine::memory::MemoryEngine;
use flin_groups::board::Board;
use flin_groups::clock::Clock;
use flin_groups::forward::{Forward, Forwarded};
use flin_groups::hosting::{Birth, HostError, establish};
use flin_groups::metrics::CoreMetrics;
use flin_groups::router::Router;
use flin_groups::snapshot::Staging;
use flin_groups::{Fatal, Ground, Groups, Host, Mailbox, Outbox, Stepper, Timing};
use flin_proto::peer::LeaderReport;
use flin_replica::Message;
use flin_state::cluster::{ClusterState, Genesis};
use flin_state::engine::Engine;
use flin_state::ids::{GroupId, LogIndex, NodeId, Term};
use flin_state::log::{Entry, GroupRecord, HardState, Log, LogEdit, LogError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::MachineClock;
use crate::kernel::Time;
use crate::network::{Body, Exit, Parcel, Sending};

/// How the groups run: as in production.
pub const TIMING: Timing =
    Timing { tick: Duration::from_millis(100), election_ticks: 8, heartbeat_ticks: 2 };

/// The place of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub u8);

/// A machine.
pub struct Machine {
    /// Its clocks.
    pub clock: Arc<MachineClock>,
    /// The disk under the log.
    pub disk: MemoryDisk,
    /// What the engine keeps, beside that disk.
    pub engine: MemoryEngine,
    /// Which disk this is: every disk of a run has its own number.
    pub serial: u64,
    /// Which node's data the disk holds.
    pub identity: Option<NodeId>,
    /// The file with the last known meta state.
    pub cache: Option<Arc<ClusterState>>,
    /// Whether bytes of the log were changed behind everybody's back.
    pub rotten: bool,
    /// What the log held before that.
    pub held: BTreeMap<GroupId, (GroupRecord, LogIndex)>,
    /// Whether something was done to the disk that may end the process.
    pub hurt: bool,
    /// Whether the disk has no room.
    pub full: bool,
    /// How long the disk takes to sync.
    pub sync_us: u64,
    /// How often a process was started here.
    pub lives: u32,
    /// What runs.
    pub process: Option<Process>,
}

/// A running node.
pub struct Process {
    /// Which node it is.
    pub node: NodeId,
    /// Which of the machine's processes this is.
    pub life: u32,
    /// Its groups.
    pub stepper: Stepper,
    /// The way to them.
    pub groups: Groups,
    /// What it knows.
    pub board: Arc<Board>,
    /// The way to the leaders.
    pub router: Router,
    /// The log, to keep it within its budget.
    pub log: Arc<dyn Log>,
    /// What it says to others.
    pub exit: Arc<Mutex<Exit>>,
    /// New meta states.
    pub states: watch::Receiver<Option<Arc<ClusterState>>>,
    /// New reports.
    pub reports: watch::Receiver<LeaderReport>,
    /// Snapshots that come, by group: from whom, as which transfer, and how far.
    pub staging: BTreeMap<GroupId, Receiving>,
    /// Snapshots that go, by transfer.
    pub sending: BTreeMap<u64, Sending>,
    /// Until when the worker waits for the disk.
    pub busy_until_us: u64,
    /// When the next turn of the worker is planned.
    pub turn_us: Option<u64>,
    /// Whether the applier's turn is planned.
    pub apply_planned: bool,
    /// Ends its tasks in order.
    pub stop: CancellationToken,
}

/// A snapshot on its way in.
pub struct Receiving {
    /// Who sends it.
    pub from: NodeId,
    /// The number of the transfer.
    pub transfer: u64,
    /// The message that announces it; `None` once raft has it.
    pub message: Option<Message>,
    /// What has arrived; `None` once it is complete.
    pub staging: Option<Staging>,
}

/// How large the log may get: small, so that followers are left behind often.
#[derive(Clone, Copy, Debug)]
pub struct LogSize {
    /// The length of a segment.
    pub segment_bytes: u64,
    /// What all segments are kept within.
    pub budget_bytes: u64,
}

/// Why a node did not start.
#[derive(Debug)]
pub enum StartError {
    /// The log could not be opened.
    Log(LogError),
    /// The groups could not be.
    Host(Fatal),
}

impl Machine {
    /// A new machine with an empty disk.
    pub fn new(time: Time, serial: u64, sync_us: u64) -> Self {
        Machine {
            clock: Arc::new(MachineClock::new(time)),
            disk: MemoryDisk::new(),
            engine: MemoryEngine::new(),
            serial,
            identity: None,
            cache: None,
            rotten: false,
            held: BTreeMap::new(),
            hurt: false,
            full: false,
            sync_us,
            lives: 0,
            process: None,
        }
    }

    /// Takes the disk out and puts an empty one in.
    pub fn replace_disk(&mut self, serial: u64) {
        self.disk = MemoryDisk::new();
        self.engine = MemoryEngine::new();
        (self.serial, self.identity, self.cache) = (serial, None, None);
        (self.rotten, self.hurt, self.full) = (false, false, false);
        self.held.clear();
    }

    /// Remembers what the log holds, before somebody damages it.
    pub fn remember_log(&mut self) {
        let Some(process) = &self.process else { return };
        let records = process.log.groups().into_iter();
        let last = |(group, record)| (group, (record, process.log.last_index(group)));
        self.held = records.map(last).collect();
    }

    /// What is missing of what the log held, in words.
    pub fn lost_log(&self) -> Option<String> {
        let process = self.process.as_ref()?;
        let found: BTreeMap<GroupId, GroupRecord> = process.log.groups().into_iter().collect();
        let lost = |(group, (record, last)): &(&GroupId, &(GroupRecord, LogIndex))| {
            found.get(group) != Some(record) || process.log.last_index(**group) < *last
        };
        let (group, (record, last)) = self.held.iter().find(lost)?;
        let (now, ends) = (found.get(group), process.log.last_index(*group));
        Some(format!("group {group} was {record:?} up to {last}, and is {now:?} up to {ends}"))
    }

    /// Whether the disk holds a node's data that can be trusted.
    pub fn is_intact(&self) -> bool {
        self.identity.is_some() && !self.rotten
    }

    /// Starts node `node` on what the disk holds. A founder with an empty disk founds its part of `genesis` first.
    pub fn start(
        &mut self,
        node: NodeId,
        genesis: &Genesis,
        size: LogSize,
        seed: u64,
    ) -> Result<(), StartError> {
        // An answer to an earlier process here, whose connection is gone, answers nobody.
        let next_request = u64::from(self.lives + 1) << 32;
        let exit = Arc::new(Mutex::new(Exit { next_request, ..Exit::default() }));
        let options = LogOptions {
            segment_bytes: size.segment_bytes,
            budget_bytes: size.budget_bytes,
            // Small, so that entries are read back from the disk.
            cache_bytes: 4 << 10,
            prefill: false,
        };
        let log = SharedLog::open(self.disk.clone(), Path::new("/log"), options);
        let log: Arc<dyn Log> = Arc::new(log.map_err(StartError::Log)?);
        let engine: Arc<dyn Engine> = Arc::new(self.engine.clone());
        found_meta(&*engine, &*log, genesis, node).map_err(|e| StartError::Host(e.into()))?;
        let mailbox = Mailbox::new();
        let groups = mailbox.groups.clone();
        let board = Board::new(node);
        let way = Way { node, exit: exit.clone() };
        let clock: Arc<dyn Clock> = self.clock.clone();
        let ground = Ground {
            log: Arc::new(NoticedLog { log: log.clone(), exit: exit.clone() }),
            engine,
            clock: clock.clone(),
            outbox: Box::new(way.clone()),
            board: board.clone(),
            metrics: CoreMetrics::unseen(),
            timing: TIMING,
            seed,
        };
        let host = Host::open(ground, mailbox).map_err(StartError::Host)?;
        let states = [host.cluster().cloned().map(Arc::new), self.cache.clone()];
        for state in states.into_iter().flatten() {
            board.set_cluster(state);
        }
        let mut states = board.cluster();
        states.mark_changed();
        self.identity = Some(node);
        self.lives += 1;
        self.process = Some(Process {
            node,
            life: self.lives,
            stepper: host.stepper(),
            router: Router::new(groups.clone(), board.clone(), Arc::new(way), clock),
            groups,
            states,
            reports: board.reports(),
            board,
            log,
            exit,
            staging: BTreeMap::new(),
            sending: BTreeMap::new(),
            busy_until_us: 0,
            turn_us: None,
            apply_planned: false,
            stop: CancellationToken::new(),
        });
        Ok(())
    }
}

/// Creates a founder's replica of the meta group, unless it is there.
fn found_meta(
    engine: &dyn Engine,
    log: &dyn Log,
    genesis: &Genesis,
    node: NodeId,
) -> Result<(), HostError> {
    let group = GroupId::META;
    let known = log.groups().iter().any(|(id, record)| match record {
        GroupRecord::Hosted(_) | GroupRecord::Removed(_) => *id == group,
    });
    let first = genesis.begin().expect("a plan makes no impossible genesis");
    let configuration = first.first_configuration(group);
    let replica = configuration.replica_on(node).filter(|_| !known);
    if let Some(replica) = replica {
        establish(engine, log, &[Birth { group, replica, configuration: Some(configuration) }])?;
    }
    Ok(())
}

/// The way out of a process.
#[derive(Clone)]
struct Way {
    node: NodeId,
    exit: Arc<Mutex<Exit>>,
}

impl Way {
    fn exit(&self) -> MutexGuard<'_, Exit> {
        self.exit.lock().expect(POISON)
    }
}

impl Outbox for Way {
    fn post(&self, node: NodeId, messages: Vec<Message>) -> bool {
        let parcel = Parcel { from: self.node, to: node, body: Body::Raft(messages) };
        let mut exit = self.exit();
        let synced = exit.synced;
        exit.parcels.push((parcel, synced));
        true
    }

    fn send_snapshot(&self, node: NodeId, message: Message) {
        self.exit().snapshots.push((node, message));
    }
}

impl Forward for Way {
    fn forward(&self, node: NodeId, request: Forwarded) -> Result<(), Forwarded> {
        let mut exit = self.exit();
        exit.next_request += 1;
        let id = exit.next_request;
        exit.waiting.insert(id, (node, request.answer));
        let group = u32::from(request.group.0);
        let body = Body::Request { id, group, operations: request.run.body() };
        exit.parcels.push((Parcel { from: self.node, to: node, body }, false));
        Ok(())
    }
}

/// The log, which lets the world know that the disk was waited for.
struct NoticedLog {
    log: Arc<dyn Log>,
    exit: Arc<Mutex<Exit>>,
}

impl Log for NoticedLog {
    fn write(&self, edits: &[LogEdit]) -> Result<(), LogError> {
        self.log.write(edits)
    }

    fn sync(&self) -> Result<(), LogError> {
        self.exit.lock().expect(POISON).synced = true;
        self.log.sync()
    }

    fn groups(&self) -> Vec<(GroupId, GroupRecord)> {
        self.log.groups()
    }

    fn hard_state(&self, group: GroupId) -> HardState {
        self.log.hard_state(group)
    }

    fn first_index(&self, group: GroupId) -> LogIndex {
        self.log.first_index(group)
    }

    fn last_index(&self, group: GroupId) -> LogIndex {
        self.log.last_index(group)
    }

    fn term(&self, group: GroupId, index: LogIndex) -> Result<Term, LogError> {
        self.log.term(group, index)
    }

    fn entries(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<Entry>, LogError> {
        self.log.entries(group, from, to, bytes_max)
    }

    fn size_bytes(&self) -> u64 {
        self.log.size_bytes()
    }

    fn reclaim(&self) -> Result<(), LogError> {
        self.log.reclaim()
    }
}

const POISON: &str = "one thread alone simulates";
