//! A replica among peers that say anything: it never panics, never contradicts its log, hands out each entry
//! once and in order, and is the same after a restart.
//!
//! Around it is what a node does, with the real log on a disk in memory.

#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use flin_engine::disk::{Crash, MemoryDisk};
use flin_fuzz::input::Input;
use flin_fuzz::log::open;
use flin_fuzz::raft::{RaftEntry, RaftMessage, configuration_change, kind};
use flin_replica::{Message, Options, Replica, SnapshotHead, Status, reconcile, snapshot_message};
use flin_state::ids::{GroupId, LogIndex, NodeId, ReplicaId, Term};
use flin_state::log::{Entry, EntryKind, INITIAL_INDEX, INITIAL_TERM, Log, LogEdit};
use flin_state::membership::{Configuration, ConfigurationChange};
use libfuzzer_sys::fuzz_target;

const GROUP: GroupId = GroupId(1);
const OWN: ReplicaId = ReplicaId(2);
/// Beyond this an input says nothing new, and takes long.
const EVENTS_MAX: usize = 96;
/// Messages that wait for somebody to answer them.
const SENT_MAX: usize = 64;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let mut host = Host::begin(&mut input);
    let mut events = 0;
    while !input.is_empty() && events < EVENTS_MAX {
        events += 1;
        host.happen(&mut input);
        host.work();
    }
    host.restart();
    host.work();
});

/// What a state machine knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    index: LogIndex,
    term: Term,
    configuration: Configuration,
}

struct Host {
    disk: MemoryDisk,
    log: Arc<dyn Log>,
    replica: Replica,
    state: State,
    /// What the state would be after a crash.
    durable: State,
    staged: Option<State>,
    sent: Vec<Message>,
    term: Term,
    starts: u64,
}

impl Host {
    /// A voter of three, the only voter, or a replica that was just added and knows nothing.
    fn begin(input: &mut Input<'_>) -> Self {
        let nodes =
            |ids: &[u64]| ids.iter().map(|id| (ReplicaId(*id), NodeId(*id))).collect::<Vec<_>>();
        let (configuration, index, term) = match input.below(3) {
            0 => (Configuration::of_voters(nodes(&[1, 2, 3])), INITIAL_INDEX, INITIAL_TERM),
            1 => (Configuration::of_voters(nodes(&[2])), INITIAL_INDEX, INITIAL_TERM),
            _ => (Configuration::default(), LogIndex(0), Term(0)),
        };
        let disk = MemoryDisk::new();
        let log: Arc<dyn Log> = Arc::new(open(&disk).expect("an empty disk"));
        log.write(&[LogEdit::Create { group: GROUP, replica: OWN, index, term }])
            .expect("it is new");
        log.sync().expect("the disk works");
        let state = State { index, term, configuration };
        let replica = restore(&log, &state, 1);
        let durable = state.clone();
        let (staged, sent, term, starts) = (None, Vec::new(), Term(0), 1);
        Host { disk, log, replica, state, durable, staged, sent, term, starts }
    }

    fn restart(&mut self) {
        let before = self.replica.status();
        // A log is open once at a time; a replica in memory keeps the old one.
        self.disk.crash(Crash::LoseUnsynced);
        self.log = Arc::new(open(&self.disk).expect("everything was synced"));
        self.state = self.durable.clone();
        self.staged = None;
        self.starts += 1;
        let edit = reconcile(&*self.log, GROUP, self.state.index, self.state.term);
        if let Some(edit) = edit.expect("log and state fit") {
            self.log.write(&[edit]).expect("it fits the log");
            self.log.sync().expect("the disk works");
        }
        self.replica = restore(&self.log, &self.state, self.starts);
        let after = self.replica.status();
        assert_eq!((after.term, after.last), (before.term, before.last));
    }

    fn happen(&mut self, input: &mut Input<'_>) {
        match input.below(24) {
            0..8 => {
                let message = any_message(input, &self.replica.status());
                self.step(message.seal(GROUP));
            }
            8..15 => self.answer(input),
            15 | 16 => (0..=input.below(20)).for_each(|_| {
                self.replica.tick();
                self.work();
            }),
            17 => self.replica.campaign(),
            18 => drop(self.replica.propose(Bytes::from(vec![7; input.below(200)]))),
            19 => drop(self.replica.read_index(input.below(8) as u64)),
            20 => {
                let change = any_change(input);
                let settled = self.replica.status().configuration_settled;
                assert!(self.replica.propose_configuration(&change).is_err() || settled);
            }
            21 => {
                let peer = ReplicaId(input.below(8) as u64);
                match input.below(4) {
                    0 => self.replica.report_unreachable(peer),
                    1 => self.replica.report_snapshot(peer, true),
                    2 => self.replica.report_snapshot(peer, false),
                    _ => drop(self.replica.transfer_leader(peer)),
                }
            }
            22 => self.compact(input.below(8) as u64),
            _ => {
                if input.flag() {
                    self.durable = self.state.clone();
                }
                self.restart();
            }
        }
    }

    /// Steps a message as a node does: the state of a snapshot is staged before.
    fn step(&mut self, message: Message) {
        if let Ok(SnapshotHead { index, term, configuration }) = message.snapshot_head() {
            self.staged = Some(State { index, term, configuration });
        }
        // Whatever is wrong with a message is a reason to drop it, and every reason has words.
        if let Err(error) = self.replica.step(message) {
            assert!(!error.to_string().is_empty());
        }
        self.work();
        self.staged = None;
    }

    /// Answers one of the messages that the replica sent, as a good peer would.
    fn answer(&mut self, input: &mut Input<'_>) {
        if self.sent.is_empty() {
            return;
        }
        let at = self.sent.len() - 1 - input.below(self.sent.len().min(8));
        let asked = RaftMessage::open(&self.sent.remove(at));
        let RaftMessage { to: from, from: to, term, context, commit, .. } = asked.clone();
        let answer = RaftMessage { from, to, term, context, commit, ..Default::default() };
        let last = asked.entries.last().map_or(asked.index, |entry| entry.index);
        let answer = match asked.kind {
            kind::APPEND => RaftMessage { kind: kind::APPEND_RESPONSE, index: last, ..answer },
            kind::HEARTBEAT => RaftMessage { kind: kind::HEARTBEAT_RESPONSE, ..answer },
            kind::REQUEST_VOTE => {
                RaftMessage { kind: kind::REQUEST_VOTE_RESPONSE, commit: 0, ..answer }
            }
            kind::REQUEST_PRE_VOTE => {
                RaftMessage { kind: kind::REQUEST_PRE_VOTE_RESPONSE, commit: 0, ..answer }
            }
            _ => return,
        };
        self.step(answer.seal(GROUP));
    }

    fn compact(&mut self, left: u64) {
        self.durable = self.state.clone();
        let index = LogIndex(self.durable.index.0.saturating_sub(left));
        if index >= self.log.first_index(GROUP) {
            self.log.write(&[LogEdit::Compact { group: GROUP, index }]).expect("it is applied");
        }
    }

    /// Does all the work that the replica has.
    fn work(&mut self) {
        while let Some(ready) = self.replica.ready().expect("the log can be read") {
            assert_eq!(ready.must_sync, !ready.edits.is_empty());
            self.send(ready.messages);
            if let Some(head) = ready.snapshot {
                let State { index, term, configuration } =
                    self.staged.take().expect("a snapshot is staged before it is stepped");
                let SnapshotHead { index: to, term: at, configuration: with } = head;
                assert_eq!((index, term, &configuration), (to, at, &with));
                assert!(ready.committed.is_empty());
                self.state = State { index, term, configuration };
                self.durable = self.state.clone();
            }
            if ready.must_sync {
                self.log.write(&ready.edits).expect("a replica does not contradict its log");
                self.log.sync().expect("the disk works");
            }
            self.send(ready.messages_after_sync);
            let advanced = self.replica.advance(ready.number).expect("the log can be read");
            self.send(advanced.messages);
            self.apply(ready.committed);
            self.apply(advanced.committed);
        }
        let status = self.replica.status();
        assert!(status.term >= self.term, "a term is never forgotten");
        assert!(status.commit <= status.last && status.applied_to <= status.commit);
        assert_eq!(self.replica.configuration(), &self.state.configuration);
        self.term = status.term;
    }

    fn apply(&mut self, committed: Vec<Entry>) {
        for entry in committed {
            assert_eq!(entry.index, self.state.index.next(), "entries are applied in order, once");
            (self.state.index, self.state.term) = (entry.index, entry.term);
            if entry.kind == EntryKind::Configuration {
                let change = flin_replica::configuration_change(&entry.data);
                let change = change.expect("no other entry is let in");
                if let Ok(next) = self.state.configuration.after(&change) {
                    self.state.configuration = next;
                }
                self.replica.apply_configuration(entry.index, &self.state.configuration);
            }
        }
        self.replica.applied(self.state.index);
    }

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            assert_eq!((message.group, message.from), (GROUP, OWN));
            if message.is_snapshot() {
                // The node takes its own snapshot, which may be newer than what raft asked for.
                let State { index, term, configuration } = self.state.clone();
                let head = SnapshotHead { index, term, configuration };
                snapshot_message(&message, &head).expect("it is not older than announced");
            }
            self.sent.push(message);
        }
        let excess = self.sent.len().saturating_sub(SENT_MAX);
        self.sent.drain(..excess);
    }
}

fn restore(log: &Arc<dyn Log>, state: &State, start: u64) -> Replica {
    let options = Options {
        message_bytes_max: 256,
        inflight_max: 4,
        uncommitted_bytes_max: 1024,
        committed_page_bytes_max: 64,
        ..Options::new(GROUP, OWN, start)
    };
    let configuration = state.configuration.clone();
    Replica::restore(options, log.clone(), configuration, state.index).expect("log and state fit")
}

/// A number around those that the replica knows, or a wild one.
fn number(input: &mut Input<'_>, near: u64) -> u64 {
    match input.byte() {
        below @ 0..=15 => near.saturating_sub(u64::from(below % 4)),
        at @ 16..=199 => near.saturating_add(u64::from(at % 3)),
        200..=239 => u64::from(input.byte() % 16),
        _ => input.number(),
    }
}

fn any_message(input: &mut Input<'_>, status: &Status) -> RaftMessage {
    let kind = input.below(kind::COUNT + 1) as u8;
    let from = [1, 3, 4, 5, 9, 2, 0][input.below(7)];
    let to = if input.below(32) == 31 { 1 } else { OWN.0 };
    let (last, commit) = (status.last.0, status.commit.0);
    let term = number(input, status.term.0.max(INITIAL_TERM.0));
    let mut message = RaftMessage {
        kind,
        from,
        to,
        term,
        log_term: number(input, term),
        index: number(input, last),
        commit: number(input, commit),
        reject: input.below(4) == 3,
        ..RaftMessage::default()
    };
    if message.reject {
        message.reject_hint = number(input, last);
    }
    let entries = matches!(kind, kind::APPEND | 15 | 16) || input.below(32) == 31;
    if entries {
        message.entries = any_entries(input, &message);
    }
    if kind == kind::SNAPSHOT || input.below(64) == 63 {
        message.snapshot =
            Some((number(input, last), number(input, term), any_configuration(input)));
    }
    if input.below(16) == 15 {
        (message.commit_term, message.priority) = (input.number(), input.number());
        message.context = input.bytes(32).to_vec();
    }
    message
}

/// Entries in a row come further than wild ones.
fn any_entries(input: &mut Input<'_>, message: &RaftMessage) -> Vec<RaftEntry> {
    let straight = input.below(8) != 7;
    let entries = (1..=input.below(4) as u64).map(|n| {
        let (kind, data) = match input.below(8) {
            0..4 => (0, input.bytes(8).to_vec()),
            4..6 => (2, change_data(input)),
            6 => (0, vec![3; 24]),
            _ => (u64::from(input.byte() % 4), input.bytes(24).to_vec()),
        };
        let (index, term) = match straight {
            true => (message.index.wrapping_add(n), message.term),
            false => (number(input, message.index), number(input, message.term)),
        };
        RaftEntry { kind, term, index, data }
    });
    entries.collect()
}

/// A change of the configuration: mostly one that raft and we read alike.
fn change_data(input: &mut Input<'_>) -> Vec<u8> {
    let numbers =
        |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>();
    let (promoted, removed) = (1 + input.below(6) as u64, 1 + input.below(6) as u64);
    let (transition, changes, envelope) = match input.below(5) {
        0 => (0, vec![(2, promoted)], [&[1, 1][..], &numbers(&[promoted, promoted])].concat()),
        1 => (0, vec![(1, removed)], [&[1, 2][..], &numbers(&[removed])].concat()),
        2 => (0, Vec::new(), vec![1, 4]),
        _ => {
            let (add, remove) = (input.flag(), input.flag());
            let promote = if add { vec![promoted] } else { Vec::new() };
            let going = if remove { vec![removed] } else { Vec::new() };
            let changes = promote.iter().map(|id| (0, *id)).chain(going.iter().map(|id| (1, *id)));
            let counts = (numbers(&[promote.len() as u64]), numbers(&[going.len() as u64]));
            let lists = [counts.0, numbers(&promote), counts.1, numbers(&going)].concat();
            (2, changes.collect(), [&[1, 3][..], &lists].concat())
        }
    };
    configuration_change(transition, &changes, &envelope)
}

fn any_change(input: &mut Input<'_>) -> ConfigurationChange {
    let (a, b) = (1 + input.below(6) as u64, 1 + input.below(6) as u64);
    let some =
        |input: &mut Input<'_>, id| input.flag().then_some(ReplicaId(id)).into_iter().collect();
    match input.below(4) {
        0 => ConfigurationChange::AddLearner { replica: ReplicaId(a), node: NodeId(a) },
        1 => ConfigurationChange::RemoveLearner { replica: ReplicaId(a) },
        2 => ConfigurationChange::Exchange { promote: some(input, a), remove: some(input, b) },
        _ => ConfigurationChange::LeaveJoint,
    }
}

/// The configuration in a snapshot, mostly one that can be.
fn any_configuration(input: &mut Input<'_>) -> Vec<u8> {
    let ids = |input: &mut Input<'_>, most| -> Vec<usize> {
        let bits = if input.below(4) == 0 { 0 } else { input.byte() };
        let ids = (0..7).filter(|id| bits >> id & 1 == 1).take(most);
        ids.collect()
    };
    let mut voters = ids(input, 5);
    if voters.is_empty() {
        voters = vec![1, 2, 3];
    }
    let (learners, outgoing, next) = (ids(input, 1), ids(input, 3), ids(input, 1));
    let mut nodes: Vec<usize> =
        [&voters, &learners, &outgoing, &next].into_iter().flatten().copied().collect();
    nodes.sort_unstable();
    nodes.dedup();
    let nodes: Vec<String> = nodes.iter().map(|id| format!("\"{id}\":{id}")).collect();
    let (nodes, leave) = (nodes.join(","), input.below(16) == 15);
    let text = format!(
        "{{\"voters\":{voters:?},\"learners\":{learners:?},\"voters_outgoing\":{outgoing:?},\
         \"learners_next\":{next:?},\"auto_leave\":{leave},\"nodes\":{{{nodes}}}}}"
    );
    text.into_bytes()
}
