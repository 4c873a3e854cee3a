//! Where the entries of a group's log are stored, one place for each of them.
//!
//! What a checkpoint says of a group includes how many entries it had. Most of them may have been forgotten
//! since, together with the segments that held them, and the rest is in records that follow. So an entry
//! that a checkpoint counts takes memory only once a record brings it: how much reading the log back takes
//! depends on the bytes that are there, and not on a number in them.

use std::collections::{BTreeMap, VecDeque};

use flin_state::ids::{LogIndex, Term};

use super::payload::ENTRY_HEAD_BYTES;

/// Where an entry is stored; 24 bytes for each entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub term: Term,
    /// The segment's sequence.
    pub segment: u64,
    /// The offset of the entry's head in its segment.
    pub offset: u32,
    /// The length of its data.
    pub length: u32,
}

impl Place {
    /// The bytes that the entry takes in its segment.
    pub fn stored_bytes(&self) -> u64 {
        ENTRY_HEAD_BYTES as u64 + u64::from(self.length)
    }
}

/// The places of the entries `base + 1` and so on: first those that a checkpoint counted, as long as the log
/// is read back, then those that were appended.
#[derive(Debug)]
pub(super) struct Places {
    base: LogIndex,
    /// How many entries a checkpoint counted; zero once the log was read back.
    counted: u64,
    /// Those of them that a later record brought.
    brought: BTreeMap<LogIndex, Place>,
    appended: VecDeque<Place>,
}

impl Places {
    /// No entries, after `base`.
    pub fn empty(base: LogIndex) -> Self {
        Self::counted(base, 0)
    }

    /// `count` entries after `base`, none of which was met yet.
    pub fn counted(base: LogIndex, count: u64) -> Self {
        Places { base, counted: count, brought: BTreeMap::new(), appended: VecDeque::new() }
    }

    /// How many entries there are, met or not.
    pub fn len(&self) -> u64 {
        self.counted + self.appended.len() as u64
    }

    /// The place of an entry; `None` if there is no such entry, or it was not met yet.
    pub fn get(&self, index: LogIndex) -> Option<&Place> {
        match self.position(index)?.checked_sub(self.counted) {
            None => self.brought.get(&index),
            Some(at) => self.appended.get(usize::try_from(at).ok()?),
        }
    }

    /// The places of all entries, once the log was read back.
    pub fn iter(&self) -> impl Iterator<Item = &Place> {
        debug_assert_eq!(self.counted, 0, "the log was read back");
        self.appended.iter()
    }

    /// Adds the next entry.
    pub fn push(&mut self, place: Place) {
        self.appended.push_back(place);
    }

    /// Puts an entry elsewhere, and returns where it was if that is known.
    ///
    /// # Errors
    /// If there is no such entry, or it has another term.
    pub fn relocate(&mut self, index: LogIndex, place: Place) -> Result<Option<Place>, ()> {
        let position = self.position(index).filter(|at| *at < self.len()).ok_or(())?;
        if self.get(index).is_some_and(|old| old.term != place.term) {
            return Err(());
        }
        Ok(match position.checked_sub(self.counted) {
            None => self.brought.insert(index, place),
            Some(at) => Some(std::mem::replace(&mut self.appended[at as usize], place)),
        })
    }

    /// Forgets the entries up to `base`, which is one of them or the base, and tells where they were.
    pub fn forget_to(&mut self, base: LogIndex, gone: impl FnMut(Place)) {
        let count = base.0 - self.base.0;
        let counted = count.min(self.counted);
        let kept = self.brought.split_off(&base.next());
        let brought = std::mem::replace(&mut self.brought, kept);
        let appended = self.appended.drain(..(count - counted) as usize);
        brought.into_values().chain(appended).for_each(gone);
        self.counted -= counted;
        self.base = base;
    }

    /// Drops the entries from `first`, which follows one of them or the base, and tells where they were.
    pub fn truncate(&mut self, first: LogIndex, gone: impl FnMut(Place)) {
        let kept = first.0 - self.base.0 - 1;
        let brought = self.brought.split_off(&first);
        let appended = self.appended.drain(kept.saturating_sub(self.counted) as usize..);
        brought.into_values().chain(appended).for_each(gone);
        self.counted = self.counted.min(kept);
    }

    /// Drops all entries, and tells where they were; the next one follows `base`.
    pub fn clear(&mut self, base: LogIndex, gone: impl FnMut(Place)) {
        let Places { brought, appended, .. } = std::mem::replace(self, Self::empty(base));
        brought.into_values().chain(appended).for_each(gone);
    }

    /// Ends the reading back.
    ///
    /// # Errors
    /// The first entry that no record brought.
    pub fn settle(&mut self) -> Result<(), LogIndex> {
        let indexes = (self.base.0 + 1..).take(self.counted as usize).map(LogIndex);
        let mut brought = self.brought.keys().copied();
        for index in indexes {
            // As many as were brought at most, and one.
            if brought.next() != Some(index) {
                return Err(index);
            }
        }
        let mut all: VecDeque<Place> = std::mem::take(&mut self.brought).into_values().collect();
        all.append(&mut self.appended);
        (self.counted, self.appended) = (0, all);
        Ok(())
    }

    /// How many entries are before `index`; `None` if it is not after the base.
    fn position(&self, index: LogIndex) -> Option<u64> {
        index.0.checked_sub(self.base.0)?.checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u32) -> Place {
        Place { term: Term(1), segment: 1, offset, length: 0 }
    }

    fn offsets(places: &Places) -> Vec<Option<u32>> {
        let indexes = (places.base.0 + 1..).take(places.len() as usize);
        indexes.map(|index| places.get(LogIndex(index)).map(|place| place.offset)).collect()
    }

    /// Entries 11 to 14, of which 13 was met, and 15 and 16 after them.
    fn six() -> Places {
        let mut places = Places::counted(LogIndex(10), 4);
        assert_eq!(places.relocate(LogIndex(13), place(13)), Ok(None));
        [15, 16].into_iter().for_each(|offset| places.push(place(offset)));
        places
    }

    #[test]
    fn entries_are_forgotten_from_the_front() {
        for base in 10..=16 {
            let (mut places, mut gone) = (six(), Vec::new());
            places.forget_to(LogIndex(base), |place| gone.push(u64::from(place.offset)));
            let all = [None, None, Some(13), None, Some(15), Some(16)];
            assert_eq!(offsets(&places), all[base as usize - 10..], "up to {base}");
            let met: Vec<u64> = [13, 15, 16].into_iter().filter(|offset| *offset <= base).collect();
            assert_eq!(gone, met, "up to {base}");
        }
    }

    #[test]
    fn entries_are_dropped_from_the_back() {
        for first in 11..=17 {
            let (mut places, mut gone) = (six(), Vec::new());
            places.truncate(LogIndex(first), |place| gone.push(u64::from(place.offset)));
            let all = [None, None, Some(13), None, Some(15), Some(16)];
            assert_eq!(offsets(&places), all[..first as usize - 11], "from {first}");
            let met: Vec<u64> =
                [13, 15, 16].into_iter().filter(|offset| *offset >= first).collect();
            assert_eq!(gone, met, "from {first}");
            places.push(place(99));
            assert_eq!(places.get(LogIndex(first)), Some(&place(99)));
        }
    }

    #[test]
    fn counted_entries_are_settled_once_all_were_brought() {
        let mut places = six();
        assert_eq!(places.settle(), Err(LogIndex(11)));
        for index in [14, 11, 12] {
            assert_eq!(places.relocate(LogIndex(index), place(index as u32)), Ok(None));
        }
        assert_eq!(places.settle(), Ok(()));
        assert_eq!(offsets(&places), (11..=16).map(Some).collect::<Vec<_>>());
        assert_eq!(places.relocate(LogIndex(12), place(20)), Ok(Some(place(12))));
        let other = Place { term: Term(2), ..place(0) };
        assert_eq!(places.relocate(LogIndex(12), other), Err(()), "another term");
        assert_eq!(places.relocate(LogIndex(17), place(0)), Err(()), "no such entry");
        assert_eq!(places.relocate(LogIndex(10), place(0)), Err(()), "not after the base");
    }
}
