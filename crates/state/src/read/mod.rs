//! Answers reads of a partition from the engine.
//!
//! A key whose time has come by the partition's own time is absent: every replica agrees on that. One whose
//! time has come only by the reader's clock is not answered: the expiry is proposed first, so that a
//! later leader with a slower clock cannot bring the key back.

mod glob;
mod scan;

use bytes::Bytes;

pub use glob::matches;

use crate::apply::unreadable_record;
use crate::engine::{EngineError, Reader, Result};
use crate::ids::{GroupId, Timestamp};
use crate::keys::{EngineKey, GroupState, Record};
use crate::operation::{REPLY_BYTES_MAX, Read, Refusal, Reply, TtlUnit, ValueType};

/// What became of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome<T = Reply> {
    /// The answer.
    Reply(T),
    /// The read met a key that expires by now. Propose [`crate::operation::Write::ExpireDue`] stamped
    /// with a clock not behind `now`, and when it is applied read again with the same `now`: that
    /// answers.
    ExpireFirst,
}

/// Answers `read` at `now`, the reader's clock, from what `reader` holds of `group`; `state` is the
/// group's record there. For a read of several keys `reader` must not change meanwhile.
///
/// # Errors
/// Those of the engine; the node stops on them.
pub fn read_partition(
    reader: &dyn Reader,
    group: GroupId,
    state: &GroupState,
    now: Timestamp,
    read: &Read,
) -> Result<ReadOutcome> {
    let partition = Partition { reader, group, state, now: now.max(state.last_time) };
    outcome(partition.answer(read))
}

/// Answers all of `reads` at one moment; see [`read_partition`]. Together their values are at most
/// [`REPLY_BYTES_MAX`] bytes and one more answer; what comes after is refused.
///
/// # Errors
/// Those of the engine; the node stops on them.
pub fn read_all(
    reader: &dyn Reader,
    group: GroupId,
    state: &GroupState,
    now: Timestamp,
    reads: &[Read],
) -> Result<ReadOutcome<Vec<Reply>>> {
    let partition = Partition { reader, group, state, now: now.max(state.last_time) };
    let mut bytes = 0;
    let answers = reads.iter().map(|read| {
        if bytes > REPLY_BYTES_MAX {
            return Ok(Refusal::ReplyTooLarge.into());
        }
        let reply = partition.answer(read)?;
        bytes += reply.value_bytes();
        Ok(reply)
    });
    outcome(answers.collect())
}

fn outcome<T>(answer: Answer<T>) -> Result<ReadOutcome<T>> {
    match answer {
        Ok(reply) => Ok(ReadOutcome::Reply(reply)),
        Err(NoAnswer::ExpireFirst) => Ok(ReadOutcome::ExpireFirst),
        Err(NoAnswer::Failed(error)) => Err(error),
    }
}

/// Why there is no reply.
enum NoAnswer {
    ExpireFirst,
    Failed(EngineError),
}

impl From<EngineError> for NoAnswer {
    fn from(error: EngineError) -> Self {
        NoAnswer::Failed(error)
    }
}

type Answer<T> = std::result::Result<T, NoAnswer>;

/// A partition as a read sees it.
struct Partition<'a> {
    reader: &'a dyn Reader,
    group: GroupId,
    state: &'a GroupState,
    /// Not before the partition's own time.
    now: Timestamp,
}

impl Partition<'_> {
    fn answer(&self, read: &Read) -> Answer<Reply> {
        if let Err(refusal) = read.check() {
            return Ok(refusal.into());
        }
        Ok(match read {
            Read::Get { key } => Reply::of_value(self.value(key)?),
            Read::GetWithTtl { key } => match self.record(key)? {
                None => Reply::Nil,
                Some(record) => {
                    let ttl = record.expires.map_or(Reply::Nil, |at| Reply::Int(self.life(at)));
                    Reply::Array(vec![Reply::Bytes(record.value), ttl])
                }
            },
            Read::GetMany { keys } => self.get_many(keys)?,
            Read::Exists { keys } => {
                let mut there = 0;
                for key in keys {
                    there += usize::from(self.record(key)?.is_some());
                }
                Reply::of_size(there)
            }
            Read::Length { key } => Reply::of_size(self.value(key)?.map_or(0, |value| value.len())),
            Read::GetRange { key, start, end } => {
                let value = self.value(key)?.unwrap_or_default();
                Reply::Bytes(part(&value, *start, *end))
            }
            Read::Ttl { key, unit, absolute } => Reply::Int(match self.record(key)? {
                None => -2,
                Some(Record { expires: None, .. }) => -1,
                Some(Record { expires: Some(at), .. }) if *absolute => in_unit(signed(at.0), *unit),
                Some(Record { expires: Some(at), .. }) => in_unit(self.life(at), *unit),
            }),
            Read::Type { key } => Reply::Type(match self.record(key)? {
                None => ValueType::None,
                Some(_) => ValueType::String,
            }),
            Read::Count => Reply::Int(signed(self.count()?)),
            Read::ScanByHash { position, count, pattern } => {
                Reply::Keys(self.scan_by_hash(*position, *count, pattern.as_deref())?)
            }
            Read::ScanRange { from, to, limit } => {
                Reply::Pairs(self.scan_range(from, to.as_deref(), *limit)?)
            }
        })
    }

    fn get_many(&self, keys: &[Bytes]) -> Answer<Reply> {
        let mut bytes = 0;
        let mut replies = Vec::with_capacity(keys.len());
        for key in keys {
            let value = self.value(key)?;
            bytes += value.as_ref().map_or(0, Bytes::len);
            if bytes > REPLY_BYTES_MAX {
                return Ok(Refusal::ReplyTooLarge.into());
            }
            replies.push(Reply::of_value(value));
        }
        Ok(Reply::Array(replies))
    }

    fn value(&self, key: &[u8]) -> Answer<Option<Bytes>> {
        Ok(self.record(key)?.map(|record| record.value))
    }

    fn record(&self, key: &[u8]) -> Answer<Option<Record>> {
        let Some(bytes) = self.reader.get(&EngineKey::Data(key).to_bytes(self.group))? else {
            return Ok(None);
        };
        let record = Record::parse(&bytes).ok_or_else(|| unreadable_record(self.group))?;
        Ok(if self.is_absent(record.expires)? { None } else { Some(record) })
    }

    /// Whether a record that expires so is absent, if that can be said.
    fn is_absent(&self, expires: Option<Timestamp>) -> Answer<bool> {
        match expires {
            Some(moment) if moment <= self.state.last_time => Ok(true),
            Some(moment) if moment <= self.now => Err(NoAnswer::ExpireFirst),
            _ => Ok(false),
        }
    }

    /// The milliseconds until `moment`.
    fn life(&self, moment: Timestamp) -> i64 {
        signed(moment.0.saturating_sub(self.now.0))
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn in_unit(ms: i64, unit: TtlUnit) -> i64 {
    match unit {
        TtlUnit::Milliseconds => ms,
        TtlUnit::Seconds => ms.saturating_add(500) / 1000,
    }
}

/// The part of `value` from `start` to `end` as GETRANGE means it: both included, negative ones counted
/// from the end, and one before the beginning taken as the beginning.
fn part(value: &Bytes, start: i64, end: i64) -> Bytes {
    let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
    if length == 0 || (start < 0 && end < 0 && start > end) {
        return Bytes::new();
    }
    let from_front = |at: i64| if at < 0 { at.saturating_add(length).max(0) } else { at };
    let (start, end) = (from_front(start), from_front(end).min(length - 1));
    if start > end {
        return Bytes::new();
    }
    let at = |place: i64| usize::try_from(place).expect("from zero to the length");
    value.slice(at(start)..=at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_getrange() {
        let value = Bytes::from_static(b"This is a string");
        for (start, end, expected) in [
            (0, 3, "This"),
            (-3, -1, "ing"),
            (0, -1, "This is a string"),
            (10, 100, "string"),
            (5, 3, ""),
            (-1, -3, ""),
            (-100, 3, "This"),
            (0, -100, "T"),
            (16, 20, ""),
            (i64::MIN, i64::MAX, "This is a string"),
            (i64::MAX, i64::MIN, ""),
        ] {
            assert_eq!(part(&value, start, end), expected, "{start} {end}");
        }
        assert_eq!(part(&Bytes::new(), 0, -1), "");
    }
}
