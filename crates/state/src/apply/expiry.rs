//! Lives of keys: setting, changing and taking away an expiry.

use bytes::Bytes;

use crate::apply::Apply;
use crate::engine::Result;
use crate::ids::Timestamp;
use crate::keys::Record;
use crate::operation::{ExpireCondition, Expiry, Moment, Refusal, Reply};

/// The end of time: the last moment that answers can still say as a signed number.
const TIME_MAX: u64 = i64::MAX as u64;

impl Apply<'_> {
    pub(super) fn get_ex(&mut self, key: &Bytes, expiry: Expiry) -> Result<Reply> {
        let now = self.now();
        let mut place = self.overlay.place(key, now)?;
        let Some(record) = place.record().cloned() else { return Ok(Reply::Nil) };
        let expires = match moment_of_expiry(expiry, record.expires, now) {
            Ok(expires) => expires,
            Err(refusal) => return Ok(refusal.into()),
        };
        let value = record.value.clone();
        if expires != record.expires {
            place.set_unless_due(Record { expires, ..record }, now);
        }
        self.keep(value.len());
        Ok(Reply::Bytes(value))
    }

    pub(super) fn expire(
        &mut self,
        key: &Bytes,
        at: Moment,
        condition: ExpireCondition,
    ) -> Result<Reply> {
        let now = self.now();
        let moment = match moment_of(at, now) {
            Ok(moment) => moment,
            Err(refusal) => return Ok(refusal.into()),
        };
        let mut place = self.overlay.place(key, now)?;
        let Some(record) = place.record().cloned() else { return Ok(Reply::Int(0)) };
        if !holds(condition, record.expires, moment) {
            return Ok(Reply::Int(0));
        }
        let bytes = record.value.len();
        if record.expires != Some(moment) {
            place.set_unless_due(Record { expires: Some(moment), ..record }, now);
        }
        self.keep(bytes);
        Ok(Reply::Int(1))
    }

    pub(super) fn persist(&mut self, key: &Bytes) -> Result<Reply> {
        let now = self.now();
        let mut place = self.overlay.place(key, now)?;
        let Some(record) = place.record().filter(|record| record.expires.is_some()).cloned() else {
            return Ok(Reply::Int(0));
        };
        let bytes = record.value.len();
        place.set(Record { expires: None, ..record });
        self.keep(bytes);
        Ok(Reply::Int(1))
    }
}

/// When a value with `expiry` expires that is written at `now` over one that expires at `old`.
pub(super) fn moment_of_expiry(
    expiry: Expiry,
    old: Option<Timestamp>,
    now: Timestamp,
) -> std::result::Result<Option<Timestamp>, Refusal> {
    match expiry {
        Expiry::None => Ok(None),
        Expiry::Keep => Ok(old),
        Expiry::In(ms) if ms > 0 => moment_of(Moment::In(ms), now).map(Some),
        Expiry::At(ms) if ms > 0 => moment_of(Moment::At(ms), now).map(Some),
        Expiry::In(_) | Expiry::At(_) => Err(Refusal::InvalidExpire),
    }
}

/// The moment meant at `now`; one before the epoch is taken as the epoch, which has passed as well.
fn moment_of(moment: Moment, now: Timestamp) -> std::result::Result<Timestamp, Refusal> {
    let ms = match moment {
        Moment::In(ms) => now.0.min(TIME_MAX).checked_add_signed(ms).unwrap_or(0),
        Moment::At(ms) => u64::try_from(ms).unwrap_or(0),
    };
    if ms > TIME_MAX { Err(Refusal::InvalidExpire) } else { Ok(Timestamp(ms)) }
}

fn holds(condition: ExpireCondition, old: Option<Timestamp>, new: Timestamp) -> bool {
    match condition {
        ExpireCondition::Always => true,
        ExpireCondition::Nx => old.is_none(),
        ExpireCondition::Xx => old.is_some(),
        ExpireCondition::Gt => old.is_some_and(|old| new > old),
        ExpireCondition::Lt => old.is_none_or(|old| new < old),
        ExpireCondition::XxLt => old.is_some_and(|old| new < old),
    }
}
