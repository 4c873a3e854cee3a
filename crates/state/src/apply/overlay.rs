//! What a run has read and changed so far, over what the engine holds.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};

use crate::engine::{Edit, EngineError, Reader, Result, WriteBatch};
use crate::ids::{GroupId, Timestamp};
use crate::keys::{EngineKey, Record, Space, hash_of, space_range};

/// What a slot takes in memory besides its key and value, about.
const SLOT_BYTES: usize = 160;

/// The keys that a run has met, each with what the engine holds and what the run makes of it.
pub(super) struct Overlay<'a> {
    reader: &'a dyn Reader,
    group: GroupId,
    slots: BTreeMap<Bytes, Slot>,
    /// The number of records, this run's changes included.
    keys: u64,
    /// The number of records in the engine.
    keys_stored: u64,
    /// Whether everything that the engine holds is removed.
    flushed: bool,
    held_bytes: usize,
    /// Room for an engine key.
    scratch: Vec<u8>,
}

struct Slot {
    /// The expiry of the engine's record; `None` if it has none.
    stored: Option<Option<Timestamp>>,
    /// The record as the run sees it.
    current: Option<Record>,
    /// Whether `current` differs from the engine's record in anything.
    changed: bool,
}

/// A user key's place in the overlay, to look at and to change.
pub(super) struct Place<'o> {
    slot: &'o mut Slot,
    keys: &'o mut u64,
    held_bytes: &'o mut usize,
}

impl<'a> Overlay<'a> {
    pub fn new(reader: &'a dyn Reader, group: GroupId, keys: u64) -> Self {
        Overlay {
            reader,
            group,
            slots: BTreeMap::new(),
            keys,
            keys_stored: keys,
            flushed: false,
            held_bytes: 0,
            scratch: Vec::new(),
        }
    }

    pub fn keys(&self) -> u64 {
        self.keys
    }

    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The place of `key`, loaded if need be. A record that is due at `now` is removed first.
    pub fn place(&mut self, key: &Bytes, now: Timestamp) -> Result<Place<'_>> {
        let slot = match self.slots.entry(key.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let current = if self.flushed {
                    None
                } else {
                    load(self.reader, self.group, key, &mut self.scratch)?
                };
                let value_bytes = current.as_ref().map_or(0, |record| record.value.len());
                self.held_bytes += SLOT_BYTES + key.len() + value_bytes;
                let stored = current.as_ref().map(|record| record.expires);
                entry.insert(Slot { stored, current, changed: false })
            }
        };
        let mut place = Place { slot, keys: &mut self.keys, held_bytes: &mut self.held_bytes };
        if place.record().is_some_and(|record| record.is_due(now)) {
            place.remove();
        }
        Ok(place)
    }

    /// Removes every key.
    pub fn flush(&mut self) {
        self.slots.clear();
        self.flushed = true;
        self.keys = 0;
        self.held_bytes = 0;
    }

    /// Removes at most `limit` of the records that are due at `now`, the earliest first, and returns how
    /// many.
    pub fn remove_due(&mut self, now: Timestamp, limit: usize) -> Result<usize> {
        let mut due: Vec<(Timestamp, Bytes)> = Vec::new();
        for (key, slot) in &self.slots {
            let expires = slot.current.as_ref().and_then(|record| record.expires);
            due.extend(expires.filter(|moment| *moment <= now).map(|moment| (moment, key.clone())));
        }
        if !self.flushed {
            self.due_in_engine(now, limit, &mut due)?;
        }
        due.sort_unstable();
        due.truncate(limit);
        for (moment, key) in &due {
            self.remove_known(key, *moment);
        }
        Ok(due.len())
    }

    /// Adds the first `limit` keys of the expiry index that are due at `now` and not in the overlay.
    fn due_in_engine(
        &self,
        now: Timestamp,
        limit: usize,
        due: &mut Vec<(Timestamp, Bytes)>,
    ) -> Result<()> {
        let (from, space_end) = space_range(self.group, Space::Expiry);
        let to = match now.0.checked_add(1) {
            Some(after) => EngineKey::Expiry(Timestamp(after), &[]).to_bytes(self.group).to_vec(),
            None => space_end,
        };
        let end = due.len().saturating_add(limit);
        self.reader.scan(&from, &to, &mut |engine_key, _| {
            if due.len() >= end {
                return ControlFlow::Break(());
            }
            if let Some((_, EngineKey::Expiry(moment, key))) = EngineKey::parse(engine_key)
                && !self.slots.contains_key(key)
            {
                due.push((moment, Bytes::copy_from_slice(key)));
            }
            ControlFlow::Continue(())
        })
    }

    /// Removes a record that the overlay or the expiry index has just named, without reading its value.
    fn remove_known(&mut self, key: &Bytes, moment: Timestamp) {
        match self.slots.entry(key.clone()) {
            Entry::Occupied(entry) => {
                let slot = entry.into_mut();
                Place { slot, keys: &mut self.keys, held_bytes: &mut self.held_bytes }.remove();
            }
            Entry::Vacant(entry) => {
                self.held_bytes += SLOT_BYTES + key.len();
                self.keys = self.keys.saturating_sub(1);
                entry.insert(Slot { stored: Some(Some(moment)), current: None, changed: true });
            }
        }
    }

    /// Adds what makes the engine hold what the overlay shows. One allocation carries all keys and values.
    pub fn finish(self, out: &mut WriteBatch) {
        if self.flushed && self.keys_stored > 0 {
            for space in [Space::Data, Space::Hash, Space::Expiry] {
                let (from, to) = space_range(self.group, space);
                out.edits.push(Edit::DeleteRange { from: from.into(), to: to.into() });
            }
        }
        let changed = || self.slots.iter().filter(|(_, slot)| slot.changed);
        let room = changed().map(|(key, slot)| slot.edit_bytes_max(key)).sum();
        out.edits.reserve(2 * changed().count() + 1);
        let mut edits = Edits { group: self.group, arena: BytesMut::with_capacity(room), out };
        changed().for_each(|(key, slot)| slot.write(key, &mut edits));
    }
}

impl Slot {
    fn write(&self, key: &[u8], edits: &mut Edits<'_>) {
        let hash = || EngineKey::Hash(hash_of(key), key);
        let expiry = |moment| EngineKey::Expiry(moment, key);
        match (self.stored, &self.current) {
            (None, None) => return,
            (Some(_), None) => {
                edits.delete(&EngineKey::Data(key));
                edits.delete(&hash());
            }
            (stored, Some(record)) => {
                edits.put(&EngineKey::Data(key), Some(record));
                if stored.is_none() {
                    edits.put(&hash(), None);
                }
            }
        }
        let stored = self.stored.flatten();
        let current = self.current.as_ref().and_then(|record| record.expires);
        if stored != current {
            stored.iter().for_each(|moment| edits.delete(&expiry(*moment)));
            current.iter().for_each(|moment| edits.put(&expiry(*moment), None));
        }
    }

    /// At most what [`Slot::write`] writes: a data key, a hash key, two expiry keys and a record.
    fn edit_bytes_max(&self, key: &[u8]) -> usize {
        let expiries = usize::from(self.stored.flatten().is_some())
            + usize::from(self.current.as_ref().is_some_and(|record| record.expires.is_some()));
        let hash = usize::from(self.stored.is_none() || self.current.is_none());
        EngineKey::Data(key).size_bytes()
            + hash * EngineKey::Hash(0, key).size_bytes()
            + expiries * EngineKey::Expiry(Timestamp(0), key).size_bytes()
            + self.current.as_ref().map_or(0, Record::size_bytes)
    }
}

impl Place<'_> {
    pub fn record(&self) -> Option<&Record> {
        self.slot.current.as_ref()
    }

    /// Puts `record` here and returns what was there.
    pub fn set(&mut self, record: Record) -> Option<Record> {
        *self.held_bytes += record.value.len();
        let old = self.slot.current.replace(record);
        self.slot.changed = true;
        match &old {
            Some(old) => *self.held_bytes = self.held_bytes.saturating_sub(old.value.len()),
            None => *self.keys += 1,
        }
        old
    }

    /// Removes what is here and returns it.
    pub fn remove(&mut self) -> Option<Record> {
        let old = self.slot.current.take()?;
        self.slot.changed = true;
        *self.held_bytes = self.held_bytes.saturating_sub(old.value.len());
        *self.keys = self.keys.saturating_sub(1);
        Some(old)
    }

    /// As [`Place::set`], but a record that is already due at `now` leaves nothing behind.
    pub fn set_unless_due(&mut self, record: Record, now: Timestamp) -> Option<Record> {
        if record.is_due(now) { self.remove() } else { self.set(record) }
    }
}

fn load(
    reader: &dyn Reader,
    group: GroupId,
    key: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<Option<Record>> {
    scratch.clear();
    EngineKey::Data(key).write(group, scratch);
    let Some(bytes) = reader.get(scratch)? else { return Ok(None) };
    Record::parse(&bytes).map(Some).ok_or_else(|| unreadable_record(group))
}

/// The error of a record that no build has written, or only a newer one.
pub(crate) fn unreadable_record(group: GroupId) -> EngineError {
    EngineError::new(format!("read a record of group {group}"), "its form is unknown")
}

/// Edits whose keys and values share one allocation.
struct Edits<'o> {
    group: GroupId,
    arena: BytesMut,
    out: &'o mut WriteBatch,
}

impl Edits<'_> {
    /// Puts a record, or nothing for an index.
    fn put(&mut self, key: &EngineKey<'_>, record: Option<&Record>) {
        let key = self.key(key);
        let value = record.map(|record| {
            record.write(&mut self.arena);
            self.arena.split().freeze()
        });
        self.out.edits.push(Edit::Put { key, value: value.unwrap_or_default() });
    }

    fn delete(&mut self, key: &EngineKey<'_>) {
        let key = self.key(key);
        self.out.edits.push(Edit::Delete { key });
    }

    fn key(&mut self, key: &EngineKey<'_>) -> Bytes {
        key.write(self.group, &mut self.arena);
        self.arena.split().freeze()
    }
}
