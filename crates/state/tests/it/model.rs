//! What a partition should do, said as simply as possible: one sorted map, one write at a time.

use std::collections::BTreeMap;

use bytes::Bytes;
use flin_state::operation::{
    Condition, ExpireCondition, Expiry, Moment, Read, Refusal, Reply, TtlUnit, ValueType, Write,
};

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub keys: BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>,
    pub now: i64,
}

type Outcome = Result<Reply, Refusal>;

impl Model {
    pub fn write(&mut self, stamp: i64, write: &Write) -> Reply {
        self.now = self.now.max(stamp);
        match write {
            Write::Atomic(writes) => {
                Reply::Array(writes.iter().map(|write| self.write(stamp, write)).collect())
            }
            write => self.single(write).unwrap_or_else(Reply::Refused),
        }
    }

    fn live(&self, key: &Bytes) -> Option<(Vec<u8>, Option<i64>)> {
        let there = self.keys.get(&key[..])?;
        if there.1.is_some_and(|at| at <= self.now) { None } else { Some(there.clone()) }
    }

    fn put(&mut self, key: &Bytes, value: Vec<u8>, at: Option<i64>) {
        if at.is_some_and(|at| at <= self.now) {
            self.keys.remove(&key[..]);
        } else {
            self.keys.insert(key.to_vec(), (value, at));
        }
    }

    fn positive(&self, expiry: Expiry, old: Option<i64>) -> Result<Option<i64>, Refusal> {
        match expiry {
            Expiry::None => Ok(None),
            Expiry::Keep => Ok(old),
            Expiry::In(ms) if ms > 0 => {
                self.now.checked_add(ms).map(Some).ok_or(Refusal::InvalidExpire)
            }
            Expiry::At(ms) if ms > 0 => Ok(Some(ms)),
            _ => Err(Refusal::InvalidExpire),
        }
    }

    fn single(&mut self, write: &Write) -> Outcome {
        Ok(match write {
            Write::Set { key, value, expiry, condition, return_old } => {
                let old = self.live(key);
                let at = self.positive(*expiry, old.as_ref().and_then(|old| old.1))?;
                let holds = match condition {
                    Condition::Always => true,
                    Condition::IfAbsent => old.is_none(),
                    Condition::IfPresent => old.is_some(),
                };
                if holds {
                    self.put(key, value.to_vec(), at);
                }
                match (return_old, old) {
                    (true, Some(old)) => Reply::Bytes(old.0.into()),
                    (true, None) => Reply::Nil,
                    (false, _) => {
                        if holds {
                            Reply::Ok
                        } else {
                            Reply::Nil
                        }
                    }
                }
            }
            Write::SetMany { pairs } => {
                pairs.iter().for_each(|(key, value)| self.put(key, value.to_vec(), None));
                Reply::Ok
            }
            Write::GetDel { key } => {
                let old = self.live(key);
                self.keys.remove(&key[..]);
                Reply::of_value(old.map(|old| old.0.into()))
            }
            Write::GetEx { key, expiry } => {
                let Some((value, old)) = self.live(key) else { return Ok(Reply::Nil) };
                let at = self.positive(*expiry, old)?;
                self.put(key, value.clone(), at);
                Reply::Bytes(value.into())
            }
            Write::Delete { keys } => {
                let mut deleted = 0;
                for key in keys {
                    deleted += i64::from(self.live(key).is_some());
                    self.keys.remove(&key[..]);
                }
                Reply::Int(deleted)
            }
            Write::Increment { key, by } => {
                let (text, at) = self.live(key).unwrap_or((b"0".to_vec(), None));
                let text = String::from_utf8(text).map_err(|_| Refusal::NotAnInteger)?;
                let number: i64 = text.parse().map_err(|_| Refusal::NotAnInteger)?;
                if number.to_string() != text {
                    return Err(Refusal::NotAnInteger);
                }
                let sum = number.checked_add(*by).ok_or(Refusal::Overflow)?;
                self.put(key, sum.to_string().into_bytes(), at);
                Reply::Int(sum)
            }
            Write::Append { key, value } => {
                let (old, at) = self.live(key).unwrap_or_default();
                let new = [&old[..], value].concat();
                let length = new.len() as i64;
                self.put(key, new, at);
                Reply::Int(length)
            }
            Write::SetRange { key, offset, value } => {
                let offset = usize::try_from(*offset).map_err(|_| Refusal::OffsetOutOfRange)?;
                let (mut new, at) = self.live(key).unwrap_or_default();
                if !value.is_empty() {
                    new.resize(new.len().max(offset + value.len()), 0);
                    new[offset..offset + value.len()].copy_from_slice(value);
                    self.put(key, new.clone(), at);
                }
                Reply::Int(new.len() as i64)
            }
            Write::Expire { key, at, condition } => {
                let new = match at {
                    Moment::In(ms) => self.now.checked_add(*ms).ok_or(Refusal::InvalidExpire)?,
                    Moment::At(ms) => *ms,
                };
                let Some((value, old)) = self.live(key) else { return Ok(Reply::Int(0)) };
                let holds = match condition {
                    ExpireCondition::Always => true,
                    ExpireCondition::Nx => old.is_none(),
                    ExpireCondition::Xx => old.is_some(),
                    ExpireCondition::Gt => new > old.unwrap_or(i64::MAX),
                    ExpireCondition::Lt => old.is_none() || new < old.unwrap_or(i64::MAX),
                    ExpireCondition::XxLt => old.is_some() && new < old.unwrap_or(i64::MAX),
                };
                if holds {
                    self.put(key, value, Some(new));
                }
                Reply::Int(i64::from(holds))
            }
            Write::Persist { key } => match self.live(key) {
                Some((value, Some(_))) => {
                    self.put(key, value, None);
                    Reply::Int(1)
                }
                _ => Reply::Int(0),
            },
            Write::CompareAndSet { key, expected, value } => {
                let there = self.live(key).map(|there| Bytes::from(there.0));
                if there != *expected {
                    return Ok(Reply::of_value(there));
                }
                match value {
                    Some(value) => self.put(key, value.to_vec(), None),
                    None => drop(self.keys.remove(&key[..])),
                }
                Reply::Ok
            }
            Write::Atomic(_) => return Err(Refusal::NestedBatch),
            Write::Flush => {
                self.keys.clear();
                Reply::Ok
            }
            // How many records are left to remove depends on what was met before; the test looks at that.
            Write::ExpireDue { .. } => Reply::Int(0),
        })
    }

    /// The answer at `now`, for reads without pages.
    pub fn read(&mut self, now: i64, read: &Read) -> Reply {
        self.now = self.now.max(now);
        let value = |key: &Bytes| self.live(key).map(|there| Bytes::from(there.0));
        match read {
            Read::Get { key } => Reply::of_value(value(key)),
            Read::GetWithTtl { key } => match self.live(key) {
                None => Reply::Nil,
                Some((value, at)) => Reply::Array(vec![
                    Reply::Bytes(value.into()),
                    at.map_or(Reply::Nil, |at| Reply::Int(at - self.now)),
                ]),
            },
            Read::GetMany { keys } => {
                Reply::Array(keys.iter().map(|key| Reply::of_value(value(key))).collect())
            }
            Read::Exists { keys } => {
                Reply::Int(keys.iter().filter(|key| value(key).is_some()).count() as i64)
            }
            Read::Length { key } => Reply::Int(value(key).map_or(0, |value| value.len()) as i64),
            Read::Ttl { key, unit, absolute } => Reply::Int(match self.live(key) {
                None => -2,
                Some((_, None)) => -1,
                Some((_, Some(at))) => {
                    let ms = if *absolute { at } else { at - self.now };
                    if *unit == TtlUnit::Seconds { ms.saturating_add(500) / 1000 } else { ms }
                }
            }),
            Read::Type { key } => Reply::Type(match value(key) {
                None => ValueType::None,
                Some(_) => ValueType::String,
            }),
            Read::Count => Reply::Int(self.live_keys().len() as i64),
            other => panic!("{other:?} is tested by its pages"),
        }
    }

    pub fn live_keys(&self) -> Vec<Vec<u8>> {
        let live = |(_, at): &(Vec<u8>, Option<i64>)| at.is_none_or(|at| at > self.now);
        self.keys.iter().filter(|(_, there)| live(there)).map(|(key, _)| key.clone()).collect()
    }
}
