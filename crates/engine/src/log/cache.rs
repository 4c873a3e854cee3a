//! How much entry data the log keeps in memory, and which goes first: the one written longest ago,
//! whichever group it is of.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use flin_state::ids::{GroupId, LogIndex};

use super::index::Group;

/// What a cached entry costs besides its data.
const CACHED_ENTRY_BYTES: u64 = 64;

/// Runs remembered for eviction beyond two for each cached entry, before the stale ones are dropped.
const STALE_RUNS_MAX: usize = 1_024;

/// Counts what is cached and remembers the order in which it was written.
#[derive(Debug)]
pub(super) struct CacheMeter {
    bytes_max: u64,
    bytes: u64,
    entries: usize,
    /// Each run of entries written, by its last index, the oldest first.
    runs: VecDeque<(GroupId, LogIndex)>,
}

impl CacheMeter {
    pub fn new(bytes_max: u64) -> Self {
        CacheMeter { bytes_max, bytes: 0, entries: 0, runs: VecDeque::new() }
    }

    pub fn remember(&mut self, data: &Bytes) {
        self.bytes += cost(data);
        self.entries += 1;
    }

    pub fn forget(&mut self, data: &Bytes) {
        self.bytes -= cost(data);
        self.entries -= 1;
    }

    /// Notes a run of `group` that ends with `last`, then evicts the oldest runs beyond the limit.
    pub fn trim(&mut self, groups: &mut BTreeMap<GroupId, Group>, group: GroupId, last: LogIndex) {
        self.runs.push_back((group, last));
        while self.bytes > self.bytes_max {
            let Some((id, last)) = self.runs.pop_front() else { break };
            let Some(group) = groups.get_mut(&id) else { continue };
            // A run that was replaced meanwhile evicts what took its place: early, but harmless.
            while first_cached(group).is_some_and(|first| first <= last) {
                let (_, data) = group.cached.pop_front().expect("there is a first one");
                self.forget(&data);
            }
        }
        // Entries that were compacted or replaced leave their runs behind.
        if self.runs.len() > STALE_RUNS_MAX + 2 * self.entries {
            self.runs.retain(|(id, last)| {
                let first = groups.get(id).and_then(first_cached);
                first.is_some_and(|first| first <= *last)
            });
        }
    }
}

fn first_cached(group: &Group) -> Option<LogIndex> {
    let count = group.cached.len() as u64;
    (count > 0).then(|| LogIndex(group.shape.last.0 + 1 - count))
}

fn cost(data: &Bytes) -> u64 {
    data.len() as u64 + CACHED_ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use flin_state::ids::{ReplicaId, Term};
    use flin_state::log::{EntryKind, GroupRecord, HardState};

    use super::*;
    use crate::log::places::Places;
    use crate::log::shape::Shape;

    fn group(last: u64) -> Group {
        let shape = Shape {
            record: GroupRecord::Hosted(ReplicaId(1)),
            base: LogIndex(0),
            base_term: Term(0),
            last: LogIndex(last),
            last_term: Term(1),
            hard_state: HardState::default(),
        };
        Group { shape, places: Places::empty(shape.base), cached: VecDeque::new() }
    }

    #[test]
    fn oldest_run_of_any_group_goes_first_and_the_limit_holds() {
        let mut meter = CacheMeter::new(300);
        let mut groups = BTreeMap::from([(GroupId(1), group(0)), (GroupId(2), group(0))]);
        for round in 0..4 {
            let id = GroupId(1 + round % 2);
            let data = Bytes::from_static(&[0; 36]);
            meter.remember(&data);
            let group = groups.get_mut(&id).expect("one of two");
            group.cached.push_back((EntryKind::Command, data));
            group.shape.last = group.shape.last.next();
            let last = group.shape.last;
            meter.trim(&mut groups, id, last);
            assert!(meter.bytes <= 300);
        }
        assert_eq!(groups[&GroupId(1)].cached.len(), 1);
        assert_eq!(groups[&GroupId(2)].cached.len(), 2);
    }

    #[test]
    fn runs_of_forgotten_entries_do_not_pile_up() {
        let mut meter = CacheMeter::new(300);
        let mut groups = BTreeMap::from([(GroupId(1), group(0))]);
        for index in 1..10 * STALE_RUNS_MAX as u64 {
            meter.trim(&mut groups, GroupId(1), LogIndex(index));
        }
        assert!(meter.runs.len() <= STALE_RUNS_MAX);
    }
}
