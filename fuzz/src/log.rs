//! A log in plain maps, to compare the real one with, and edits that it accepts, decided by the input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flin_engine::disk::MemoryDisk;
use flin_engine::log::{LogOptions, SharedLog};
use flin_state::ids::{GroupId, LogIndex, ReplicaId, Term};
use flin_state::log::{Entry, EntryKind, GroupRecord, HardState, Log, LogEdit, LogError};

use crate::input::Input;

/// The smallest segments there can be.
pub const SEGMENT_BYTES: usize = 4_096;

/// Where the log is on its disk.
pub fn log_dir() -> PathBuf {
    PathBuf::from("/data/log")
}

/// The file of a segment.
pub fn segment_path(sequence: u64) -> PathBuf {
    log_dir().join(format!("{sequence:016}.log"))
}

/// Opens the log with small segments and no cache worth the name, so that everything is read from the disk.
///
/// # Errors
/// Those of the log.
pub fn open(disk: &MemoryDisk) -> Result<SharedLog<MemoryDisk>, LogError> {
    let segment_bytes = SEGMENT_BYTES as u64;
    let options = LogOptions {
        segment_bytes,
        budget_bytes: 6 * segment_bytes,
        cache_bytes: 600,
        prefill: false,
    };
    SharedLog::open(disk.clone(), Path::new("/data/log"), options)
}

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model(pub BTreeMap<GroupId, Group>);

/// What a log holds of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What became of it.
    pub record: GroupRecord,
    /// The index before the first entry, and its term.
    pub base: (LogIndex, Term),
    /// The entries.
    pub entries: Vec<Entry>,
    /// The hard state.
    pub hard_state: HardState,
}

impl Group {
    fn last(&self) -> LogIndex {
        LogIndex(self.base.0.0 + self.entries.len() as u64)
    }

    fn term(&self, index: LogIndex) -> Term {
        match index.0 - self.base.0.0 {
            0 => self.base.1,
            after => self.entries[after as usize - 1].term,
        }
    }
}

impl Model {
    /// What `log` holds, every entry read back.
    ///
    /// # Errors
    /// Those of reading.
    pub fn of(log: &dyn Log) -> Result<Model, LogError> {
        let mut model = Model::default();
        for (id, record) in log.groups() {
            let (first, last) = (log.first_index(id), log.last_index(id));
            let entries = log.entries(id, first, last.next(), u64::MAX)?;
            assert_eq!(entries.len() as u64, last.next().0 - first.0);
            for (entry, index) in entries.iter().zip(first.0..) {
                assert_eq!((entry.index.0, log.term(id, entry.index)?), (index, entry.term));
            }
            let base = LogIndex(first.0 - 1);
            let base = (base, log.term(id, base)?);
            let hard_state = log.hard_state(id);
            model.0.insert(id, Group { record, base, entries, hard_state });
        }
        Ok(model)
    }

    /// Does what the log does with an edit that it accepts.
    pub fn apply(&mut self, edit: &LogEdit) {
        match edit {
            LogEdit::Create { group, replica, index, term } => {
                let hard_state = HardState { term: *term, vote: ReplicaId(0), commit: *index };
                let (record, base) = (GroupRecord::Hosted(*replica), (*index, *term));
                self.0.insert(*group, Group { record, base, entries: Vec::new(), hard_state });
            }
            LogEdit::Append { group, entries } => {
                let group = self.group(group);
                group.entries.truncate((entries[0].index.0 - group.base.0.0 - 1) as usize);
                group.entries.extend(entries.iter().cloned());
            }
            LogEdit::HardState { group, state } => self.group(group).hard_state = *state,
            LogEdit::Compact { group, index } => {
                let group = self.group(group);
                if *index > group.base.0 {
                    let term = group.term(*index);
                    group.entries.drain(..(index.0 - group.base.0.0) as usize);
                    group.base = (*index, term);
                }
            }
            LogEdit::Reset { group, index, term } => {
                let group = self.group(group);
                group.entries.clear();
                group.base = (*index, *term);
            }
            LogEdit::Remove { group, replica } => {
                let group = self.group(group);
                group.record = GroupRecord::Removed(*replica);
                group.entries.clear();
                group.base = (LogIndex(0), Term(0));
                group.hard_state = HardState::default();
            }
        }
    }

    fn group(&mut self, id: &GroupId) -> &mut Group {
        self.0.get_mut(id).expect("edits name groups that are there")
    }

    /// Edits for one write that the log accepts; the model is what they make of it.
    pub fn edits(&mut self, input: &mut Input<'_>) -> Vec<LogEdit> {
        let mut edits = Vec::new();
        for _ in 0..=input.below(3) {
            let id = GroupId(input.below(4) as u16);
            let edit = edit(id, self.0.get(&id), input);
            self.apply(&edit);
            edits.push(edit);
        }
        edits
    }
}

fn edit(group: GroupId, present: Option<&Group>, input: &mut Input<'_>) -> LogEdit {
    let replica = match present.map(|present| (present, present.record)) {
        None => 0,
        Some((_, GroupRecord::Removed(replica))) => replica.0,
        Some((present, GroupRecord::Hosted(replica))) => {
            return change(group, present, replica, input);
        }
    };
    let (index, term) = if input.flag() { (0, 0) } else { (5, 5) };
    let (index, term) = (LogIndex(index), Term(term));
    LogEdit::Create { group, replica: ReplicaId(replica + 1), index, term }
}

fn change(group: GroupId, present: &Group, replica: ReplicaId, input: &mut Input<'_>) -> LogEdit {
    let (base, last) = (present.base.0, present.last());
    let span = (last.0 - base.0 + 1).min(256) as usize;
    let within = |input: &mut Input<'_>| LogIndex(last.0 - input.below(span) as u64);
    match input.below(20) {
        0..12 => {
            // Mostly at the end, sometimes replacing a tail.
            let before = if input.below(4) == 3 { within(input) } else { last };
            let mut term = present.term(before).0.max(1);
            let entries = (1..=1 + input.below(4) as u64).map(|n| {
                let byte = input.byte();
                term += u64::from(byte & 3 == 3);
                let length = [0, 10, 100, 700][usize::from(byte >> 2 & 3)];
                let kinds = [EntryKind::Command, EntryKind::Configuration];
                let kind = kinds[usize::from(byte >> 4 & 1)];
                let data = Bytes::from(vec![input.byte(); length]);
                Entry { index: LogIndex(before.0 + n), term: Term(term), kind, data }
            });
            LogEdit::Append { group, entries: entries.collect() }
        }
        12..15 => {
            let term = Term(present.hard_state.term.0 + 1 + input.below(2) as u64);
            let (vote, commit) = (ReplicaId(input.below(3) as u64), within(input));
            LogEdit::HardState { group, state: HardState { term, vote, commit } }
        }
        15..18 => LogEdit::Compact { group, index: within(input) },
        18 => {
            let index = LogIndex(last.0 + input.below(10) as u64);
            LogEdit::Reset { group, index, term: present.term(last) }
        }
        _ => LogEdit::Remove { group, replica },
    }
}
