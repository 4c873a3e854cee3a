//! A log in plain maps, to compare the real one with, and edits made up by chance that it accepts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flin_engine::disk::MemoryDisk;
use flin_engine::log::{LogOptions, SharedLog};
use flin_state::ids::{GroupId, LogIndex, ReplicaId, Term};
use flin_state::log::{Entry, EntryKind, GroupRecord, HardState, Log, LogEdit, LogError};

/// Small segments and no cache worth the name, so that everything is read from the disk.
pub fn small_options() -> LogOptions {
    LogOptions { segment_bytes: 4_096, budget_bytes: 6 * 4_096, cache_bytes: 600, prefill: false }
}

pub fn log_dir() -> PathBuf {
    PathBuf::from("/data/log")
}

pub fn open(disk: &MemoryDisk) -> Result<SharedLog<MemoryDisk>, LogError> {
    SharedLog::open(disk.clone(), Path::new("/data/log"), small_options())
}

pub fn create(group: u16) -> LogEdit {
    LogEdit::Create {
        group: GroupId(group),
        replica: ReplicaId(1),
        index: LogIndex(5),
        term: Term(5),
    }
}

pub fn entry(index: u64, term: u64, data: Vec<u8>) -> Entry {
    Entry {
        index: LogIndex(index),
        term: Term(term),
        kind: EntryKind::Command,
        data: Bytes::from(data),
    }
}

pub fn append(group: u16, entries: Vec<Entry>) -> LogEdit {
    LogEdit::Append { group: GroupId(group), entries }
}

pub fn compact(group: u16, index: u64) -> LogEdit {
    LogEdit::Compact { group: GroupId(group), index: LogIndex(index) }
}

pub fn all_entries(log: &dyn Log, group: u16) -> Result<Vec<Entry>, LogError> {
    let group = GroupId(group);
    log.entries(group, log.first_index(group), log.last_index(group).next(), u64::MAX)
}

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model(pub BTreeMap<GroupId, Group>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    record: GroupRecord,
    base: LogIndex,
    base_term: Term,
    entries: Vec<Entry>,
    hard_state: HardState,
}

impl Group {
    fn last(&self) -> LogIndex {
        LogIndex(self.base.0 + self.entries.len() as u64)
    }

    fn term(&self, index: LogIndex) -> Term {
        match index.0 - self.base.0 {
            0 => self.base_term,
            after => self.entries[after as usize - 1].term,
        }
    }
}

impl Model {
    /// What `log` holds, every entry read back.
    pub fn of(log: &dyn Log) -> Result<Model, LogError> {
        let mut model = Model::default();
        for (id, record) in log.groups() {
            let base = LogIndex(log.first_index(id).0 - 1);
            let entries = all_entries(log, id.0)?;
            for entry in &entries {
                assert_eq!(log.term(id, entry.index)?, entry.term);
            }
            let (base_term, hard_state) = (log.term(id, base)?, log.hard_state(id));
            model.0.insert(id, Group { record, base, base_term, entries, hard_state });
        }
        Ok(model)
    }

    pub fn apply(&mut self, edits: &[LogEdit]) {
        edits.iter().for_each(|edit| self.apply_one(edit));
    }

    fn apply_one(&mut self, edit: &LogEdit) {
        match edit {
            LogEdit::Create { group, replica, index, term } => {
                let hard_state = HardState { term: *term, vote: ReplicaId(0), commit: *index };
                let group_now = Group {
                    record: GroupRecord::Hosted(*replica),
                    base: *index,
                    base_term: *term,
                    entries: Vec::new(),
                    hard_state,
                };
                self.0.insert(*group, group_now);
            }
            LogEdit::Append { group, entries } => {
                let group = self.group(group);
                group.entries.truncate((entries[0].index.0 - group.base.0 - 1) as usize);
                group.entries.extend(entries.iter().cloned());
            }
            LogEdit::HardState { group, state } => self.group(group).hard_state = *state,
            LogEdit::Compact { group, index } => {
                let group = self.group(group);
                if *index > group.base {
                    group.base_term = group.term(*index);
                    group.entries.drain(..(index.0 - group.base.0) as usize);
                    group.base = *index;
                }
            }
            LogEdit::Reset { group, index, term } => {
                let group = self.group(group);
                group.entries.clear();
                (group.base, group.base_term) = (*index, *term);
            }
            LogEdit::Remove { group, replica } => {
                let group = self.group(group);
                group.record = GroupRecord::Removed(*replica);
                group.entries.clear();
                (group.base, group.base_term) = (LogIndex(0), Term(0));
                group.hard_state = HardState::default();
            }
        }
    }

    fn group(&mut self, id: &GroupId) -> &mut Group {
        self.0.get_mut(id).expect("edits name groups that are there")
    }
}

/// SplitMix64: the test's source of chance, from a seed that proptest shrinks.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Edits for one write that `model` accepts; `model` is what they make of it.
    pub fn edits(&mut self, model: &mut Model) -> Vec<LogEdit> {
        let mut edits = Vec::new();
        for _ in 0..=self.below(3) {
            let id = GroupId(self.below(4) as u16);
            let edit = self.edit(id, model.0.get(&id));
            model.apply(std::slice::from_ref(&edit));
            edits.push(edit);
        }
        edits
    }

    fn edit(&mut self, group: GroupId, present: Option<&Group>) -> LogEdit {
        let replica = match present.map(|present| present.record) {
            None => 0,
            Some(GroupRecord::Removed(replica)) => replica.0,
            Some(GroupRecord::Hosted(_)) => {
                return self.change(group, present.expect("it is hosted"));
            }
        };
        let (index, term) = if self.below(2) == 0 { (5, 5) } else { (0, 0) };
        let replica = ReplicaId(replica + 1);
        LogEdit::Create { group, replica, index: LogIndex(index), term: Term(term) }
    }

    fn change(&mut self, group: GroupId, present: &Group) -> LogEdit {
        let (base, last) = (present.base, present.last());
        let within = |chance: &mut Self| LogIndex(base.0 + chance.below(last.0 - base.0 + 1));
        match self.below(20) {
            0..12 => {
                // Mostly at the end, sometimes replacing a tail.
                let before = if self.below(4) == 0 { within(self) } else { last };
                let mut term = present.term(before).0.max(1);
                let entries = (1..=1 + self.below(4)).map(|n| {
                    term += u64::from(self.below(4) == 0);
                    let length = [0, 10, 100, 700][self.below(4) as usize];
                    let byte = self.next() as u8;
                    entry(before.0 + n, term, vec![byte; length])
                });
                LogEdit::Append { group, entries: entries.collect() }
            }
            12..15 => {
                let old = present.hard_state;
                let term = Term(old.term.0 + 1 + self.below(2));
                let (vote, commit) = (ReplicaId(self.below(3)), within(self));
                LogEdit::HardState { group, state: HardState { term, vote, commit } }
            }
            15..18 => LogEdit::Compact { group, index: within(self) },
            18 => {
                let index = LogIndex(last.0 + self.below(10));
                LogEdit::Reset { group, index, term: present.term(last) }
            }
            _ => {
                let GroupRecord::Hosted(replica) = present.record else { unreachable!() };
                LogEdit::Remove { group, replica }
            }
        }
    }
}
