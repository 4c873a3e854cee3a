//! Values: setting, removing, counting and patching them.

use bytes::{Bytes, BytesMut};

use flin_mutant::{Bug, is};

use crate::apply::Apply;
use crate::apply::expiry::moment_of_expiry;
use crate::engine::Result;
use crate::keys::Record;
use crate::operation::{Condition, Expiry, Refusal, Reply, VALUE_BYTES_MAX};

impl Apply<'_> {
    pub(super) fn set(
        &mut self,
        key: &Bytes,
        value: Bytes,
        expiry: Expiry,
        condition: Condition,
        return_old: bool,
    ) -> Result<Reply> {
        let now = self.now();
        let mut place = self.overlay.place(key, now)?;
        let old = place.record();
        let expires = match moment_of_expiry(expiry, old.and_then(|record| record.expires), now) {
            Ok(expires) => expires,
            Err(refusal) => return Ok(refusal.into()),
        };
        let holds = match condition {
            Condition::Always => true,
            Condition::IfAbsent => old.is_none(),
            Condition::IfPresent => old.is_some(),
        };
        let old = if return_old { old.map(|record| record.value.clone()) } else { None };
        if holds {
            place.set_unless_due(Record { expires, value }, now);
        }
        if return_old {
            self.keep(old.as_ref().map_or(0, Bytes::len));
            return Ok(Reply::of_value(old));
        }
        Ok(if holds { Reply::Ok } else { Reply::Nil })
    }

    pub(super) fn set_many(&mut self, pairs: Vec<(Bytes, Bytes)>) -> Result<Reply> {
        let now = self.now();
        let kept =
            if is(Bug::SplitBatches) && pairs.len() > 1 { pairs.len() - 1 } else { pairs.len() };
        for (key, value) in pairs.into_iter().take(kept) {
            self.overlay.place(&key, now)?.set(Record { expires: None, value });
        }
        Ok(Reply::Ok)
    }

    pub(super) fn get_del(&mut self, key: &Bytes) -> Result<Reply> {
        let now = self.now();
        let old = self.overlay.place(key, now)?.remove();
        self.keep(old.as_ref().map_or(0, |record| record.value.len()));
        Ok(Reply::of_value(old.map(|record| record.value)))
    }

    pub(super) fn delete(&mut self, keys: &[Bytes]) -> Result<Reply> {
        let now = self.now();
        let mut deleted = 0;
        for key in keys {
            deleted += usize::from(self.overlay.place(key, now)?.remove().is_some());
        }
        Ok(Reply::of_size(deleted))
    }

    pub(super) fn increment(&mut self, key: &Bytes, by: i64) -> Result<Reply> {
        let now = self.now();
        let mut place = self.overlay.place(key, now)?;
        let (expires, old) = match place.record() {
            None => (None, Some(0)),
            Some(record) => (record.expires, integer(&record.value)),
        };
        let Some(old) = old else { return Ok(Refusal::NotAnInteger.into()) };
        let Some(sum) = old.checked_add(by) else { return Ok(Refusal::Overflow.into()) };
        place.set(Record { expires, value: Bytes::from(sum.to_string()) });
        Ok(Reply::Int(sum))
    }

    pub(super) fn append(&mut self, key: &Bytes, tail: &Bytes) -> Result<Reply> {
        let now = self.now();
        let mut place = self.overlay.place(key, now)?;
        let Some(record) = place.record() else {
            place.set(Record { expires: None, value: tail.clone() });
            return Ok(Reply::of_size(tail.len()));
        };
        let length = record.value.len() + tail.len();
        if length > VALUE_BYTES_MAX {
            return Ok(Refusal::ValueTooLong.into());
        }
        let mut value = BytesMut::with_capacity(length);
        value.extend_from_slice(&record.value);
        value.extend_from_slice(tail);
        let expires = record.expires;
        place.set(Record { expires, value: value.freeze() });
        self.keep(length);
        Ok(Reply::of_size(length))
    }

    pub(super) fn set_range(&mut self, key: &Bytes, offset: i64, part: &Bytes) -> Result<Reply> {
        let Ok(offset) = usize::try_from(offset) else {
            return Ok(Refusal::OffsetOutOfRange.into());
        };
        let now = self.now();
        let mut place = self.overlay.place(key, now)?;
        let old = place.record().map_or(&[][..], |record| &record.value);
        if part.is_empty() {
            return Ok(Reply::of_size(old.len()));
        }
        let end = offset.saturating_add(part.len());
        if end > VALUE_BYTES_MAX {
            return Ok(Refusal::ValueTooLong.into());
        }
        let length = old.len().max(end);
        let mut value = BytesMut::zeroed(length);
        value[..old.len()].copy_from_slice(old);
        value[offset..end].copy_from_slice(part);
        let expires = place.record().and_then(|record| record.expires);
        place.set(Record { expires, value: value.freeze() });
        self.keep(length);
        Ok(Reply::of_size(length))
    }

    pub(super) fn compare_and_set(
        &mut self,
        key: &Bytes,
        expected: Option<&Bytes>,
        value: Option<Bytes>,
    ) -> Result<Reply> {
        let now = self.now();
        let mut place = self.overlay.place(key, now)?;
        let there = place.record().map(|record| &record.value);
        if there != expected && !is(Bug::IgnoreExpected) {
            let there = there.cloned();
            self.keep(there.as_ref().map_or(0, Bytes::len));
            return Ok(Reply::of_value(there));
        }
        match value {
            Some(value) => place.set(Record { expires: None, value }),
            None => place.remove(),
        };
        Ok(Reply::Ok)
    }
}

/// The number that `text` is, written as Redis writes numbers: no plus, no leading zeros, no spaces.
fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if plain { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_as_redis_writes_them_count() {
        for number in [0, 7, -7, 10, i64::MIN, i64::MAX] {
            assert_eq!(integer(number.to_string().as_bytes()), Some(number));
        }
        let others =
            ["", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1.0", "abc", "9223372036854775808"];
        for other in others {
            assert_eq!(integer(other.as_bytes()), None, "{other}");
        }
        assert_eq!(integer(&[b'9'; 100_000]), None);
    }
}
