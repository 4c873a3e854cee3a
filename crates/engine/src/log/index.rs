//! What the log knows in memory: for every group its outline and where each entry is, for every
//! segment how much of it is still live, and the data of recent entries.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use flin_state::ids::{GroupId, LogIndex, Term};
use flin_state::log::{Entry, EntryKind, LogError};

use super::cache::CacheMeter;
use super::payload::Checkpoint;
use super::places::{Place, Places};
use super::segment::Segment;
use super::shape::{Change, Shape};

/// A group's log.
#[derive(Debug)]
pub(super) struct Group {
    pub shape: Shape,
    /// Entry `shape.base + 1` and so on, to `shape.last`.
    pub places: Places,
    /// The data of the last entries, in order; never more than there are places.
    pub cached: VecDeque<(EntryKind, Bytes)>,
}

/// A segment file and what is live in it.
#[derive(Debug)]
pub(super) struct SegmentUse<F> {
    pub segment: Arc<Segment<F>>,
    pub live_entries: u64,
    pub live_bytes: u64,
}

impl<F> SegmentUse<F> {
    /// A segment in which nothing is live yet.
    pub fn new(segment: Arc<Segment<F>>) -> Self {
        SegmentUse { segment, live_entries: 0, live_bytes: 0 }
    }
}

/// The state of the log in memory. Only the writer changes it.
#[derive(Debug)]
pub(super) struct Index<F> {
    pub groups: BTreeMap<GroupId, Group>,
    /// By sequence; the last one is being written.
    pub segments: BTreeMap<u64, SegmentUse<F>>,
    pub cache: CacheMeter,
}

/// An entry asked for: at hand, or where to read it.
pub(super) enum Found<F> {
    Cached(Entry),
    Stored(LogIndex, Place, Arc<Segment<F>>),
}

impl Group {
    pub fn term(&self, index: LogIndex) -> Option<Term> {
        if index == self.shape.base {
            return Some(self.shape.base_term);
        }
        self.place(index).map(|place| place.term)
    }

    pub fn place(&self, index: LogIndex) -> Option<&Place> {
        self.places.get(index)
    }

    fn cached_entry(&self, index: LogIndex) -> Option<Entry> {
        let place = self.place(index)?;
        let from_end = usize::try_from(self.shape.last.0 - index.0).ok()?;
        let at = self.cached.len().checked_sub(from_end + 1)?;
        let (kind, data) = &self.cached[at];
        Some(Entry { index, term: place.term, kind: *kind, data: data.clone() })
    }

    /// Checks that terms never fall from one entry to the next, and end where the shape says.
    fn check_terms(&self) -> Result<(), String> {
        let Shape { base, base_term, last_term, .. } = self.shape;
        let mut before = base_term;
        for (place, index) in self.places.iter().zip(base.0 + 1..) {
            if place.term < before {
                return Err(format!("falls from term {before} to {} at entry {index}", place.term));
            }
            before = place.term;
        }
        if before != last_term {
            return Err(format!("ends in term {before}, and should in {last_term}"));
        }
        Ok(())
    }

    pub fn checkpoint(&self) -> Checkpoint {
        let Shape { record, base, base_term, last, last_term, hard_state } = self.shape;
        Checkpoint { record, base, base_term, last, last_term, hard_state }
    }
}

impl<F> Index<F> {
    pub fn new(cache_bytes_max: u64) -> Self {
        let cache = CacheMeter::new(cache_bytes_max);
        Index { groups: BTreeMap::new(), segments: BTreeMap::new(), cache }
    }

    pub fn shape(&self, group: GroupId) -> Option<Shape> {
        self.groups.get(&group).map(|group| group.shape)
    }

    /// Makes `shape`, which [`super::shape::after`] made of `change`, the shape of `group`, and drops
    /// the entries that are no more. Entries that an append brings follow by [`Self::push`].
    pub fn reshape(&mut self, id: GroupId, change: Change, shape: Shape) {
        let group = self.groups.entry(id).or_insert_with(|| Group {
            shape,
            places: Places::empty(shape.base),
            cached: VecDeque::new(),
        });
        group.shape = shape;
        let cached_from = group.places.len() - group.cached.len() as u64;
        let gone = |place| release(&mut self.segments, place);
        match change {
            Change::HardState(_) => return,
            Change::Compact { .. } => {
                // Forgets from the front; everything else forgets from the back.
                group.places.forget_to(shape.base, gone);
                while group.cached.len() as u64 > group.places.len() {
                    let data = group.cached.pop_front().expect("longer than the places");
                    self.cache.forget(&data.1);
                }
                return;
            }
            Change::Append { first, .. } => group.places.truncate(first, gone),
            Change::Create { .. } | Change::Reset { .. } | Change::Remove(_) => {
                group.places.clear(shape.base, gone);
            }
        }
        let cached = group.places.len().saturating_sub(cached_from) as usize;
        for (_, data) in group.cached.drain(cached..) {
            self.cache.forget(&data);
        }
    }

    /// Adds the next entry of an append whose shape is in place.
    pub fn push(&mut self, id: GroupId, place: Place, data: Option<(EntryKind, Bytes)>) {
        let group = self.groups.get_mut(&id).expect("reshaped before entries are pushed");
        group.places.push(place);
        hold(&mut self.segments, place);
        if let Some((kind, data)) = data {
            self.cache.remember(&data);
            group.cached.push_back((kind, data));
        }
    }

    /// Notes that entries up to `last` of `group` were cached, and evicts the oldest beyond the limit.
    pub fn trim_cache(&mut self, id: GroupId, last: LogIndex) {
        self.cache.trim(&mut self.groups, id, last);
    }

    /// Notes that an entry is at another place now. False if there is no such entry.
    pub fn relocate(&mut self, id: GroupId, index: LogIndex, place: Place) -> bool {
        let Some(group) = self.groups.get_mut(&id) else { return false };
        let Ok(old) = group.places.relocate(index, place) else { return false };
        if let Some(old) = old {
            release(&mut self.segments, old);
        }
        hold(&mut self.segments, place);
        true
    }

    /// Takes over what the oldest segment says of a group. Its entries are missing until later records
    /// bring them.
    ///
    /// # Errors
    /// If the checkpoint contradicts itself.
    pub fn restore(&mut self, id: GroupId, checkpoint: Checkpoint) -> Result<(), String> {
        let Checkpoint { record, base, base_term, last, last_term, hard_state } = checkpoint;
        let shape = Shape { record, base, base_term, last, last_term, hard_state }.checked(id)?;
        let places = Places::counted(base, last.0 - base.0);
        self.groups.insert(id, Group { shape, places, cached: VecDeque::new() });
        Ok(())
    }

    /// Ends the reading back of the log.
    ///
    /// # Errors
    /// If an entry is in no segment, or has a term that it cannot have.
    pub fn settle(&mut self) -> Result<(), String> {
        for (id, group) in &mut self.groups {
            group.places.settle().map_err(|entry| {
                format!(
                    "entry {entry} of group {id} is in no segment; one before this is gone or damaged"
                )
            })?;
            group.check_terms().map_err(|what| format!("the log of group {id} {what}"))?;
        }
        Ok(())
    }

    /// The entries `from <= index < to`, as far as they fit into `bytes_max`, but at least one.
    pub fn find(
        &self,
        id: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<Found<F>>, LogError> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.check_range(id, LogIndex(self.base(id).0 + 1), from)?;
        self.check_range(id, from, LogIndex(to.0 - 1))?;
        let group = self.groups.get(&id).expect("it has entries");
        let mut found = Vec::new();
        let mut bytes = 0;
        for index in (from.0..to.0).map(LogIndex) {
            let place = *group.place(index).expect("the range was checked");
            bytes += u64::from(place.length);
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(self.found(id, index).expect("the range was checked"));
        }
        Ok(found)
    }

    /// The entry at `index`, if it is in the log.
    pub fn found(&self, id: GroupId, index: LogIndex) -> Option<Found<F>> {
        let group = self.groups.get(&id)?;
        if let Some(entry) = group.cached_entry(index) {
            return Some(Found::Cached(entry));
        }
        let place = *group.place(index)?;
        let used = self.segments.get(&place.segment)?;
        Some(Found::Stored(index, place, used.segment.clone()))
    }

    /// Whether `index` is from `first` to the end of the log.
    pub fn check_range(
        &self,
        group: GroupId,
        first: LogIndex,
        index: LogIndex,
    ) -> Result<(), LogError> {
        let last = self.shape(group).map_or(LogIndex(0), |shape| shape.last);
        if index < first {
            return Err(LogError::Compacted { group, index, first: self.base(group).next() });
        }
        if index > last {
            return Err(LogError::Unavailable { group, index, last });
        }
        Ok(())
    }

    pub fn base(&self, group: GroupId) -> LogIndex {
        self.shape(group).map_or(LogIndex(0), |shape| shape.base)
    }
}

fn hold<F>(segments: &mut BTreeMap<u64, SegmentUse<F>>, place: Place) {
    if let Some(used) = segments.get_mut(&place.segment) {
        used.live_entries += 1;
        used.live_bytes += place.stored_bytes();
    }
}

fn release<F>(segments: &mut BTreeMap<u64, SegmentUse<F>>, place: Place) {
    if let Some(used) = segments.get_mut(&place.segment) {
        used.live_entries -= 1;
        used.live_bytes -= place.stored_bytes();
    }
}
