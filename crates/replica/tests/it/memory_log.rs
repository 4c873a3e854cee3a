//! A log in memory that loses in a crash what was not synced, and fails to be read when told so.

use std::collections::BTreeMap;
use std::sync::Mutex;

use flin_state::ids::{GroupId, LogIndex, ReplicaId, Term};
use flin_state::log::{Entry, EntryKind, GroupRecord, HardState, Log, LogEdit, LogError};

#[derive(Default)]
pub struct MemoryLog {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    durable: BTreeMap<GroupId, Group>,
    visible: BTreeMap<GroupId, Group>,
    /// Written records that are not durable yet.
    unsynced: Vec<Vec<LogEdit>>,
    reads_fail: bool,
}

#[derive(Clone)]
struct Group {
    replica: ReplicaId,
    state: HardState,
    /// What the log is empty after.
    base: (LogIndex, Term),
    entries: Vec<Entry>,
}

impl MemoryLog {
    /// Loses what was not synced, but for the first `kept` records: power fails between two sectors.
    pub fn crash(&self, kept: usize) {
        let mut inner = self.inner.lock().expect("no panic holds the lock");
        let unsynced = std::mem::take(&mut inner.unsynced);
        for edits in unsynced.iter().take(kept) {
            apply(&mut inner.durable, edits);
        }
        inner.visible = inner.durable.clone();
    }

    pub fn unsynced(&self) -> usize {
        self.inner.lock().expect("no panic holds the lock").unsynced.len()
    }

    /// What the durable hard state says is committed.
    pub fn durable_commit(&self, group: GroupId) -> LogIndex {
        self.inner.lock().expect("no panic holds the lock").durable[&group].state.commit
    }

    /// The durable changes of the configuration.
    pub fn durable_changes(&self, group: GroupId) -> Vec<LogIndex> {
        let inner = self.inner.lock().expect("no panic holds the lock");
        let entries = inner.durable[&group].entries.iter();
        let changes = entries.filter(|entry| entry.kind == EntryKind::Configuration);
        changes.map(|entry| entry.index).collect()
    }

    /// The last durable index.
    pub fn durable_last(&self, group: GroupId) -> LogIndex {
        self.inner.lock().expect("no panic holds the lock").durable[&group].last()
    }

    pub fn fail_reads(&self) {
        self.inner.lock().expect("no panic holds the lock").reads_fail = true;
    }

    fn read<T>(&self, group: GroupId, read: impl FnOnce(&Group) -> T) -> T {
        let inner = self.inner.lock().expect("no panic holds the lock");
        read(&inner.visible[&group])
    }
}

impl Group {
    fn last(&self) -> LogIndex {
        LogIndex(self.base.0.0 + self.entries.len() as u64)
    }

    fn position(&self, index: LogIndex) -> usize {
        (index.0 - self.base.0.0 - 1) as usize
    }

    fn term(&self, index: LogIndex) -> Term {
        if index == self.base.0 { self.base.1 } else { self.entries[self.position(index)].term }
    }
}

fn apply(groups: &mut BTreeMap<GroupId, Group>, edits: &[LogEdit]) {
    for edit in edits {
        match edit.clone() {
            LogEdit::Create { group, replica, index, term } => {
                let state = HardState::default();
                groups.insert(
                    group,
                    Group { replica, state, base: (index, term), entries: Vec::new() },
                );
            }
            LogEdit::Append { group, entries } => {
                let group = groups.get_mut(&group).expect("created before");
                let at = group.position(entries[0].index);
                assert!(at <= group.entries.len(), "an append leaves a gap");
                group.entries.truncate(at);
                group.entries.extend(entries);
            }
            LogEdit::HardState { group, state } => {
                groups.get_mut(&group).expect("created before").state = state;
            }
            LogEdit::Compact { group, index } => {
                let group = groups.get_mut(&group).expect("created before");
                if index > group.base.0 {
                    let term = group.term(index);
                    let at = group.position(index);
                    group.entries.drain(..=at);
                    group.base = (index, term);
                }
            }
            LogEdit::Reset { group, index, term } => {
                let group = groups.get_mut(&group).expect("created before");
                group.base = (index, term);
                group.entries.clear();
            }
            LogEdit::Remove { group, .. } => {
                groups.remove(&group);
            }
        }
    }
}

impl Log for MemoryLog {
    fn write(&self, edits: &[LogEdit]) -> Result<(), LogError> {
        let mut inner = self.inner.lock().expect("no panic holds the lock");
        apply(&mut inner.visible, edits);
        inner.unsynced.push(edits.to_vec());
        Ok(())
    }

    fn sync(&self) -> Result<(), LogError> {
        let mut inner = self.inner.lock().expect("no panic holds the lock");
        for edits in std::mem::take(&mut inner.unsynced) {
            apply(&mut inner.durable, &edits);
        }
        Ok(())
    }

    fn groups(&self) -> Vec<(GroupId, GroupRecord)> {
        let inner = self.inner.lock().expect("no panic holds the lock");
        inner.visible.iter().map(|(id, g)| (*id, GroupRecord::Hosted(g.replica))).collect()
    }

    fn hard_state(&self, group: GroupId) -> HardState {
        let inner = self.inner.lock().expect("no panic holds the lock");
        inner.visible.get(&group).map(|group| group.state).unwrap_or_default()
    }

    fn first_index(&self, group: GroupId) -> LogIndex {
        self.read(group, |group| group.base.0.next())
    }

    fn last_index(&self, group: GroupId) -> LogIndex {
        self.read(group, Group::last)
    }

    fn term(&self, group: GroupId, index: LogIndex) -> Result<Term, LogError> {
        self.read(group, |found| {
            let (first, last) = (found.base.0.next(), found.last());
            if index < found.base.0 {
                Err(LogError::Compacted { group, index, first })
            } else if index > last {
                Err(LogError::Unavailable { group, index, last })
            } else {
                Ok(found.term(index))
            }
        })
    }

    fn entries(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<Entry>, LogError> {
        if self.inner.lock().expect("no panic holds the lock").reads_fail {
            let (place, what) = ("segment 1 at 4096".to_owned(), "a wrong checksum".to_owned());
            return Err(LogError::Corrupt { place, what });
        }
        self.read(group, |found| {
            let (first, last) = (found.base.0.next(), found.last());
            if from < first {
                return Err(LogError::Compacted { group, index: from, first });
            }
            if to > last.next() {
                return Err(LogError::Unavailable { group, index: to, last });
            }
            let mut bytes = 0;
            let mut entries = Vec::new();
            for entry in &found.entries[found.position(from)..found.position(to)] {
                entries.push(entry.clone());
                bytes += entry.data.len() as u64;
                if bytes > bytes_max {
                    break;
                }
            }
            Ok(entries)
        })
    }

    fn size_bytes(&self) -> u64 {
        0
    }

    fn reclaim(&self) -> Result<(), LogError> {
        Ok(())
    }
}
