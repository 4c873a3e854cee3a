//! A witness of a random schedule: it sees what every replica does, and knows what must never be.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use flin_replica::RoleChange;
use flin_state::ids::{LogIndex, ReplicaId, Term};
use flin_state::log::{Entry, EntryKind, INITIAL_INDEX, Log};
use flin_state::membership::Configuration;

use crate::cluster::{Cluster, GROUP, State};
use crate::memory_log::MemoryLog;

/// A committed entry, as the first replica that applied it saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub term: Term,
    pub kind: EntryKind,
    pub data: Bytes,
    /// The configuration since.
    pub configuration: Configuration,
}

struct Write {
    by: ReplicaId,
    data: Bytes,
    /// What was known applied somewhere when it was proposed; it must come later.
    floor: LogIndex,
}

pub struct Witness {
    pub leaders: BTreeMap<Term, ReplicaId>,
    pub committed: BTreeMap<LogIndex, Committed>,
    /// The greatest index applied anywhere: acknowledged to some client.
    pub floor: LogIndex,
    writes: BTreeMap<(LogIndex, Term), Write>,
}

impl Default for Witness {
    fn default() -> Self {
        Witness {
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            floor: INITIAL_INDEX,
            writes: BTreeMap::new(),
        }
    }
}

impl Witness {
    pub fn led(&mut self, id: ReplicaId, change: RoleChange) {
        let leader = *self.leaders.entry(change.term).or_insert(id);
        assert_eq!(leader, id, "two leaders in term {}", change.term);
    }

    pub fn proposed(&mut self, by: ReplicaId, index: LogIndex, term: Term, data: Bytes) {
        let write = Write { by, data, floor: self.floor };
        let known = self.writes.insert((index, term), write);
        assert!(known.is_none(), "{index} of term {term} is proposed twice");
    }

    /// A crashed replica knows of no term after `term`. A sole voter leads from its vote for itself on, and
    /// may so lead again in a term that it forgot; nobody else heard of it.
    pub fn crashed(&mut self, id: ReplicaId, term: Term) {
        self.writes.retain(|(_, of), write| write.by != id || *of <= term);
    }

    /// Whether the entry is a write that was waited for.
    pub fn applied(&mut self, id: ReplicaId, entry: Entry, configuration: Configuration) -> bool {
        let Entry { index, term, kind, data } = entry;
        let seen = Committed { term, kind, data: data.clone(), configuration };
        let first = self.committed.entry(index).or_insert_with(|| seen.clone());
        assert_eq!(*first, seen, "{id} applied another entry at {index}");
        self.floor = self.floor.max(index);
        let Some(write) = self.writes.remove(&(index, term)) else { return false };
        assert_eq!(write.data, data, "{index} of term {term} is not what was proposed");
        assert!(write.floor < index, "{index} was proposed after {} was seen", write.floor);
        true
    }

    /// Where a command is committed.
    pub fn place_of(&self, data: &Bytes) -> Option<LogIndex> {
        self.committed.iter().find(|(_, entry)| entry.data == *data).map(|(index, _)| *index)
    }

    /// The state holds every committed command, once, in order, and the configuration of its index.
    pub fn check_state(&self, id: ReplicaId, state: &State) {
        let so_far = || self.committed.range(..=state.index);
        let is_write =
            |entry: &Committed| entry.kind == EntryKind::Command && !entry.data.is_empty();
        let expected: Vec<_> = so_far()
            .filter(|(_, entry)| is_write(entry))
            .map(|(index, entry)| (*index, entry.data.clone()))
            .collect();
        assert_eq!(state.commands, expected, "the state of {id}");
        if let Some((_, last)) = so_far().next_back() {
            assert_eq!(state.configuration, last.configuration, "the configuration of {id}");
        }
    }
}

/// Logs that agree on an entry agree on everything before it, and each remembers what it must.
pub fn check_logs(cluster: &Cluster) {
    let logs: Vec<BTreeMap<LogIndex, Entry>> =
        cluster.members.values().map(|member| entries(&member.log)).collect();
    for (position, one) in logs.iter().enumerate() {
        for other in &logs[position + 1..] {
            let shared: BTreeSet<_> =
                one.keys().filter(|index| other.contains_key(index)).collect();
            let mut matched = false;
            for index in shared.into_iter().rev() {
                let (mine, theirs) = (&one[index], &other[index]);
                matched |= mine.term == theirs.term;
                assert!(!matched || mine == theirs, "logs part at {index} before a match");
            }
        }
    }
    // A change comes into a log together with the knowledge that those before it are committed.
    for member in cluster.members.values() {
        let known = member.log.durable_commit(GROUP).max(member.durable.index);
        let open = member.log.durable_changes(GROUP).into_iter().filter(|index| *index > known);
        assert!(open.count() <= 1, "{} could forget that a change is committed", member.id);
    }
}

fn entries(log: &MemoryLog) -> BTreeMap<LogIndex, Entry> {
    let (first, last) = (log.first_index(GROUP), log.last_index(GROUP));
    if last < first {
        return BTreeMap::new();
    }
    let entries = log.entries(GROUP, first, last.next(), u64::MAX).unwrap();
    entries.into_iter().map(|entry| (entry.index, entry)).collect()
}
