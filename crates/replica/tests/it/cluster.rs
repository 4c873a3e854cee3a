//! A little cluster of replicas in memory: it owns the network, the disks and the state machines, and
//! does one node's round at a time, so that a test decides everything else.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use flin_replica::{
    Message, Options, ReadState, Ready, Replica, Role, RoleChange, SnapshotHead, StepError,
    configuration_change, reconcile, snapshot_message,
};
use flin_state::ids::{GroupId, LogIndex, NodeId, ReplicaId, Term};
use flin_state::log::{Entry, EntryKind, INITIAL_INDEX, INITIAL_TERM, Log, LogEdit};
use flin_state::membership::Configuration;
use prost::Message as _;
use raft::eraftpb::{self, MessageType};

use crate::memory_log::MemoryLog;

pub const GROUP: GroupId = GroupId(1);

/// A state machine that remembers every command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub index: LogIndex,
    pub term: Term,
    pub configuration: Configuration,
    pub commands: Vec<(LogIndex, Bytes)>,
}

/// A message under way, with the state that a snapshot message announces.
#[derive(Clone)]
pub struct Parcel {
    pub message: Message,
    pub state: Option<State>,
}

/// What a test may want to know about a round.
#[derive(Debug)]
pub enum Event {
    Role(RoleChange),
    /// With the configuration since.
    Applied(Entry, Configuration),
    Read(ReadState),
    Installed(LogIndex),
}

/// Where a round stops as if the power failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    BeforeInstall,
    AfterInstall,
    /// Written, not synced.
    AfterWrite,
    /// Synced, nothing promised to anyone.
    AfterSync,
}

pub struct Member {
    pub id: ReplicaId,
    pub log: Arc<MemoryLog>,
    pub replica: Option<Replica>,
    /// What the running state machine holds.
    pub state: State,
    /// What it would hold after a crash.
    pub durable: State,
    staged: Option<State>,
    starts: u64,
}

pub struct Cluster {
    pub members: BTreeMap<ReplicaId, Member>,
    pub network: Vec<Parcel>,
    seed: u64,
}

impl Cluster {
    pub fn new(replicas: u64, seed: u64) -> Self {
        let ids = (1..=replicas).map(|id| (ReplicaId(id), NodeId(id)));
        let configuration = Configuration::of_voters(ids);
        let mut cluster = Cluster { members: BTreeMap::new(), network: Vec::new(), seed };
        for id in configuration.voters.clone() {
            cluster.add(id, INITIAL_INDEX, INITIAL_TERM, configuration.clone());
        }
        cluster
    }

    /// Adds a replica whose log and state begin at `index`, and starts it.
    pub fn add(&mut self, id: ReplicaId, index: LogIndex, term: Term, config: Configuration) {
        let log = Arc::new(MemoryLog::default());
        log.write(&[LogEdit::Create { group: GROUP, replica: id, index, term }]).unwrap();
        log.sync().unwrap();
        let state = State { index, term, configuration: config, commands: Vec::new() };
        let durable = state.clone();
        let member = Member { id, log, replica: None, state, durable, staged: None, starts: 0 };
        self.members.insert(id, member);
        self.start(id);
    }

    pub fn member(&mut self, id: ReplicaId) -> &mut Member {
        self.members.get_mut(&id).expect("a known replica")
    }

    pub fn replica(&mut self, id: ReplicaId) -> &mut Replica {
        self.member(id).replica.as_mut().expect("a running replica")
    }

    /// Starts a replica from its log and its durable state.
    pub fn start(&mut self, id: ReplicaId) {
        let seed = self.seed;
        let member = self.member(id);
        member.starts += 1;
        let options = options(id, seed.wrapping_mul(1000).wrapping_add(member.starts));
        let (index, term) = (member.durable.index, member.durable.term);
        if let Some(edit) = reconcile(&*member.log, GROUP, index, term).unwrap() {
            member.log.write(&[edit]).unwrap();
            member.log.sync().unwrap();
        }
        let configuration = member.durable.configuration.clone();
        let log = Arc::clone(&member.log) as Arc<dyn Log>;
        member.replica = Some(Replica::restore(options, log, configuration, index).unwrap());
    }

    /// Stops a replica as a power failure does; `kept` records of its log outlive it unsynced.
    pub fn crash(&mut self, id: ReplicaId, kept: usize) {
        let member = self.member(id);
        member.replica = None;
        member.staged = None;
        member.log.crash(kept);
        member.state = member.durable.clone();
    }

    /// Ends a replica for ever. Messages to it go nowhere.
    pub fn destroy(&mut self, id: ReplicaId) {
        let member = self.members.remove(&id).expect("a known replica");
        member.log.write(&[LogEdit::Remove { group: GROUP, replica: id }]).unwrap();
    }

    /// Makes a replica's state durable.
    pub fn flush(&mut self, id: ReplicaId) {
        let member = self.member(id);
        member.durable = member.state.clone();
    }

    /// Makes a replica's state durable and forgets its log up to there, but for `left` entries.
    pub fn compact(&mut self, id: ReplicaId, left: u64) {
        self.flush(id);
        let member = self.member(id);
        let index = LogIndex(member.durable.index.0.saturating_sub(left));
        if index >= member.log.first_index(GROUP) {
            member.log.write(&[LogEdit::Compact { group: GROUP, index }]).unwrap();
        }
    }

    /// Hands a parcel to its receiver, if it runs.
    pub fn deliver(&mut self, parcel: Parcel) -> Result<(), StepError> {
        let (from, to) = (parcel.message.from, parcel.message.to);
        let snapshot = parcel.message.is_snapshot();
        let receiver = self.members.get_mut(&to).filter(|member| member.replica.is_some());
        let Some(member) = receiver else {
            self.lose(parcel);
            return Ok(());
        };
        let replica = member.replica.as_mut().expect("it runs");
        if snapshot {
            member.staged = parcel.state;
        }
        let stepped = replica.step(parcel.message);
        if snapshot {
            self.report_snapshot(from, to, stepped.is_ok());
        }
        stepped
    }

    /// Forgets a parcel, and tells the sender of a snapshot that it did not arrive.
    pub fn lose(&mut self, parcel: Parcel) {
        if parcel.message.is_snapshot() {
            self.report_snapshot(parcel.message.from, parcel.message.to, false);
        }
    }

    fn report_snapshot(&mut self, from: ReplicaId, to: ReplicaId, delivered: bool) {
        let sender = self.members.get_mut(&from).and_then(|member| member.replica.as_mut());
        if let Some(sender) = sender {
            sender.report_snapshot(to, delivered);
        }
    }

    /// Does all the work that a running replica has, or up to `cut` in the first round, and crashes it
    /// there. Returns what happened.
    pub fn work(&mut self, id: ReplicaId, cut: Option<Cut>) -> Vec<Event> {
        let mut events = Vec::new();
        if self.members.get(&id).is_none_or(|member| member.replica.is_none()) {
            return events;
        }
        while let Some(ready) = self.replica(id).ready().unwrap() {
            if !self.round(id, ready, cut, &mut events) {
                let kept = if cut == Some(Cut::AfterWrite) {
                    self.member(id).log.unsynced() / 2
                } else {
                    0
                };
                self.crash(id, kept);
                return events;
            }
        }
        self.member(id).staged = None;
        events
    }

    fn round(
        &mut self,
        id: ReplicaId,
        ready: Ready,
        cut: Option<Cut>,
        events: &mut Vec<Event>,
    ) -> bool {
        events.extend(ready.role_changed.map(Event::Role));
        self.send(id, ready.messages);
        if cut == Some(Cut::BeforeInstall) {
            return false;
        }
        let member = self.member(id);
        if let Some(head) = &ready.snapshot {
            let staged = member.staged.take().expect("a snapshot is staged before it is stepped");
            assert_eq!((staged.index, staged.term), (head.index, head.term));
            assert_eq!(staged.configuration, head.configuration);
            assert!(ready.committed.is_empty());
            events.push(Event::Installed(head.index));
            member.durable = staged.clone();
            member.state = staged;
        }
        if cut == Some(Cut::AfterInstall) {
            return false;
        }
        assert_eq!(ready.must_sync, !ready.edits.is_empty());
        if ready.must_sync {
            member.log.write(&ready.edits).unwrap();
        }
        if cut == Some(Cut::AfterWrite) {
            return false;
        }
        if ready.must_sync {
            member.log.sync().unwrap();
        }
        if cut == Some(Cut::AfterSync) {
            return false;
        }
        self.send(id, ready.messages_after_sync);
        let advanced = self.replica(id).advance(ready.number).unwrap();
        self.send(id, advanced.messages);
        self.apply(id, ready.committed, events);
        self.apply(id, advanced.committed, events);
        events.extend(ready.reads.into_iter().map(Event::Read));
        true
    }

    fn apply(&mut self, id: ReplicaId, committed: Vec<Entry>, events: &mut Vec<Event>) {
        let member = self.member(id);
        for entry in committed {
            let state = &mut member.state;
            assert_eq!(entry.index, state.index.next(), "replica {id} applies in order, once");
            (state.index, state.term) = (entry.index, entry.term);
            match entry.kind {
                EntryKind::Command if entry.data.is_empty() => {}
                EntryKind::Command => state.commands.push((entry.index, entry.data.clone())),
                EntryKind::Configuration => {
                    let change = configuration_change(&entry.data).unwrap();
                    if let Ok(next) = state.configuration.after(&change) {
                        state.configuration = next;
                    }
                    let replica = member.replica.as_mut().expect("it runs");
                    replica.apply_configuration(entry.index, &state.configuration);
                    assert_eq!(*replica.configuration(), state.configuration);
                }
            }
            events.push(Event::Applied(entry, state.configuration.clone()));
        }
        let index = member.state.index;
        self.replica(id).applied(index);
    }

    fn send(&mut self, id: ReplicaId, messages: Vec<Message>) {
        for message in messages {
            self.check_promise(id, &message);
            if !message.is_snapshot() {
                self.network.push(Parcel { message, state: None });
                continue;
            }
            // The node takes its own snapshot, which may be newer than what raft asked for.
            let state = self.members[&id].state.clone();
            let (index, term) = (state.index, state.term);
            let head = SnapshotHead { index, term, configuration: state.configuration.clone() };
            let message = snapshot_message(&message, &head).unwrap();
            self.network.push(Parcel { message, state: Some(state) });
        }
    }

    /// A message leaves only when the disk knows what it says.
    fn check_promise(&self, id: ReplicaId, message: &Message) {
        let member = &self.members[&id];
        let inner = eraftpb::Message::decode(message.bytes.slice(2..)).expect("our own message");
        if inner.msg_type == MessageType::MsgRequestVoteResponse as i32 && !inner.reject {
            assert!(member.log.durable_last(GROUP) > LogIndex(0), "{id} votes with a blank log");
        }
        let known = member.log.durable_commit(GROUP).max(member.durable.index);
        let told = LogIndex(inner.commit);
        if told > known {
            let mut changes = member.log.durable_changes(GROUP).into_iter();
            let early = changes.find(|index| *index > known && *index <= told);
            assert_eq!(early, None, "{id} tells that a change is committed and may forget it");
        }
    }

    /// The running replica that leads in the highest term.
    pub fn leader(&self) -> Option<ReplicaId> {
        let running = self.members.values().filter_map(|member| member.replica.as_ref());
        running
            .map(|replica| (replica.status(), replica.replica()))
            .filter(|(status, _)| status.role == Role::Leader)
            .max_by_key(|(status, _)| status.term)
            .map(|(_, id)| id)
    }
}

pub fn options(id: ReplicaId, seed: u64) -> Options {
    Options {
        message_bytes_max: 256,
        inflight_max: 4,
        uncommitted_bytes_max: 1024,
        committed_page_bytes_max: 64,
        ..Options::new(GROUP, id, seed)
    }
}
