//! Reads of many keys: in hash order, in key order, and counting.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::apply::unreadable_record;
use crate::ids::Timestamp;
use crate::keys::{EngineKey, HASH_BITS, Record, Space, space_range, user_key_of_data};
use crate::operation::{KeyPage, PAGE_BYTES_MAX, PairPage, SCAN_COUNT_MAX};
use crate::read::{Answer, NoAnswer, Partition, glob};

/// A count leaves out at most this many keys whose time has come and that are not yet removed; if there
/// are more, they are counted.
const DUE_COUNTED_MAX: u64 = 10_000;

impl Partition<'_> {
    /// The number of keys that are there.
    pub(super) fn count(&self) -> Answer<u64> {
        self.refuse_newly_due()?;
        let due = self.due_until(self.state.last_time, DUE_COUNTED_MAX)?;
        Ok(self.state.keys.saturating_sub(due))
    }

    pub(super) fn scan_by_hash(
        &self,
        position: u64,
        count: u32,
        pattern: Option<&[u8]>,
    ) -> Answer<KeyPage> {
        if position >= 1 << HASH_BITS {
            return Ok(KeyPage::default());
        }
        self.refuse_newly_due()?;
        let count = count.clamp(1, SCAN_COUNT_MAX);
        let from = EngineKey::Hash(position, &[]).to_bytes(self.group);
        let (_, to) = space_range(self.group, Space::Hash);
        let mut page = KeyPage::default();
        let (mut examined, mut bytes, mut last) = (0, 0, None);
        self.reader.scan(&from, &to, &mut |engine_key, _| {
            let Some((_, EngineKey::Hash(hash, key))) = EngineKey::parse(engine_key) else {
                return ControlFlow::Continue(());
            };
            // Keys of one hash are never parted: the next page begins with a hash.
            if (examined >= count || bytes >= PAGE_BYTES_MAX) && last != Some(hash) {
                page.next = Some(hash);
                return ControlFlow::Break(());
            }
            examined += 1;
            bytes += key.len();
            last = Some(hash);
            if pattern.is_none_or(|pattern| glob::matches(pattern, key)) {
                page.keys.push(Bytes::copy_from_slice(key));
            }
            ControlFlow::Continue(())
        })?;
        if self.due_until(self.state.last_time, 1)? > 0 {
            page.keys = self.those_there(page.keys)?;
        }
        Ok(page)
    }

    pub(super) fn scan_range(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        limit: u32,
    ) -> Answer<PairPage> {
        let from = EngineKey::Data(from).to_bytes(self.group).to_vec();
        let to = match to {
            Some(to) => EngineKey::Data(to).to_bytes(self.group).to_vec(),
            None => space_range(self.group, Space::Data).1,
        };
        let mut page = PairPage::default();
        if from >= to {
            return Ok(page);
        }
        let limit = limit.clamp(1, SCAN_COUNT_MAX) as usize;
        let (mut examined, mut bytes, mut stopped) = (0, 0, Ok(()));
        self.reader.scan(&from, &to, &mut |engine_key, record| {
            let key = user_key_of_data(engine_key);
            if page.pairs.len() >= limit || bytes >= PAGE_BYTES_MAX || examined >= SCAN_COUNT_MAX {
                page.next = Some(Bytes::copy_from_slice(key));
                return ControlFlow::Break(());
            }
            examined += 1;
            match self.value_if_there(record) {
                Ok(None) => ControlFlow::Continue(()),
                Ok(Some(value)) => {
                    bytes += key.len() + value.len();
                    let pair = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                    page.pairs.push(pair);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    stopped = Err(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        stopped.map(|()| page)
    }

    fn value_if_there<'r>(&self, record: &'r [u8]) -> Answer<Option<&'r [u8]>> {
        let (expires, start) = Record::head(record).ok_or_else(|| unreadable_record(self.group))?;
        Ok(if self.is_absent(expires)? { None } else { Some(&record[start..]) })
    }

    fn those_there(&self, keys: Vec<Bytes>) -> Answer<Vec<Bytes>> {
        let mut there = Vec::with_capacity(keys.len());
        for key in keys {
            if self.record(&key)?.is_some() {
                there.push(key);
            }
        }
        Ok(there)
    }

    /// Stops a read of all keys if one of them is due by the reader's clock but not by the partition's.
    fn refuse_newly_due(&self) -> Answer<()> {
        let newly_due = match self.state.last_time.0.checked_add(1) {
            Some(after) => self.due_between(Timestamp(after), self.now, 1)?,
            None => 0,
        };
        if newly_due > 0 { Err(NoAnswer::ExpireFirst) } else { Ok(()) }
    }

    /// How many keys expire at `last` or before, at most `limit`.
    fn due_until(&self, last: Timestamp, limit: u64) -> Answer<u64> {
        self.due_between(Timestamp(0), last, limit)
    }

    fn due_between(&self, first: Timestamp, last: Timestamp, limit: u64) -> Answer<u64> {
        let from = EngineKey::Expiry(first, &[]).to_bytes(self.group).to_vec();
        let to = match last.0.checked_add(1) {
            Some(after) => EngineKey::Expiry(Timestamp(after), &[]).to_bytes(self.group).to_vec(),
            None => space_range(self.group, Space::Expiry).1,
        };
        let mut found = 0;
        if from < to {
            self.reader.scan(&from, &to, &mut |_, _| {
                found += 1;
                if found < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
        }
        Ok(found)
    }
}
