//! Operations that change a partition.

use bytes::Bytes;

use crate::codec::{
    self, Decoder, Malformed, Wire, put_all, put_byte_strings, put_bytes, put_optional, put_signed,
    put_varint,
};
use crate::operation::{KEY_BYTES_MAX, Refusal, VALUE_BYTES_MAX};

/// The life that a key has after a write of its value. Milliseconds throughout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// It lives for ever, whatever it had before.
    #[default]
    None,
    /// What it had before.
    Keep,
    /// It expires this long after the command's stamp; must be positive.
    In(i64),
    /// It expires at this moment since the Unix epoch; must be positive. One that has passed leaves no
    /// key behind.
    At(i64),
}

/// When a key expires, relative to the command's stamp or since the Unix epoch, in milliseconds. Zero,
/// negative and past moments remove the key at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// This long after the command's stamp.
    In(i64),
    /// At this moment.
    At(i64),
}

/// When a `Set` takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Whatever is there.
    #[default]
    Always,
    /// Only if the key does not exist (NX).
    IfAbsent,
    /// Only if the key exists (XX).
    IfPresent,
}

/// When an `Expire` takes effect. A key without an expiry counts as one that expires after every other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpireCondition {
    /// On every key that exists.
    #[default]
    Always,
    /// Only if the key has no expiry.
    Nx,
    /// Only if the key has an expiry.
    Xx,
    /// Only if the new moment is later than the old one. XX and GT together say the same.
    Gt,
    /// Only if the new moment is earlier than the old one.
    Lt,
    /// XX and LT together: only if there is an old one and the new moment is earlier.
    XxLt,
}

/// A change of a partition. A key whose time has come is absent to every one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a key. `Ok`, or `Nil` if the condition did not hold; with `return_old` always the value from
    /// before, `Nil` if there was none.
    Set {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
        /// Its life from now on.
        expiry: Expiry,
        /// When to do it.
        condition: Condition,
        /// Whether the old value is the answer.
        return_old: bool,
    },
    /// Sets keys to live for ever, later pairs over earlier ones. `Ok`; all or none.
    SetMany {
        /// Keys and values.
        pairs: Vec<(Bytes, Bytes)>,
    },
    /// Removes a key. Its value, or `Nil`.
    GetDel {
        /// The key.
        key: Bytes,
    },
    /// Changes a key's life. Its value, or `Nil`. [`Expiry::None`] is PERSIST, [`Expiry::Keep`] changes
    /// nothing.
    GetEx {
        /// The key.
        key: Bytes,
        /// Its life from now on.
        expiry: Expiry,
    },
    /// Removes keys. `Int`: how many existed.
    Delete {
        /// The keys.
        keys: Vec<Bytes>,
    },
    /// Adds to a decimal counter, from zero if absent, keeping its life. `Int`: the sum.
    Increment {
        /// The key.
        key: Bytes,
        /// What to add.
        by: i64,
    },
    /// Appends to a value, from empty if absent, keeping its life. `Int`: the length.
    Append {
        /// The key.
        key: Bytes,
        /// What to append.
        value: Bytes,
    },
    /// Overwrites a part of a value, zero bytes before it where there was nothing, keeping its life. `Int`:
    /// the length. An empty `value` changes nothing.
    SetRange {
        /// The key.
        key: Bytes,
        /// Where the part begins; not negative.
        offset: i64,
        /// The part.
        value: Bytes,
    },
    /// Gives a key an expiry. `Int`: 1, or 0 if the key is absent or the condition did not hold.
    Expire {
        /// The key.
        key: Bytes,
        /// When it expires.
        at: Moment,
        /// When to do it.
        condition: ExpireCondition,
    },
    /// Takes the expiry away. `Int`: 1 if there was one, else 0.
    Persist {
        /// The key.
        key: Bytes,
    },
    /// Replaces the value, to live for ever, only where it is the expected one. `Ok`, or what is there
    /// instead: `Bytes` or `Nil`.
    CompareAndSet {
        /// The key.
        key: Bytes,
        /// The value that must be there; `None`: the key must be absent.
        expected: Option<Bytes>,
        /// The value to put there; `None` removes the key.
        value: Option<Bytes>,
    },
    /// Does writes one after the other, nothing between them. `Array` of their replies; one that is
    /// refused does not undo the others. Not inside another batch.
    Atomic(Vec<Write>),
    /// Removes every key. `Ok`.
    Flush,
    /// Removes keys whose time has come, the earliest first. `Int`: how many.
    ExpireDue {
        /// The most to remove.
        limit: u32,
    },
}

impl Write {
    /// Sets `key` to `value`, for ever and whatever was there.
    pub fn set(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Write::Set {
            key: key.into(),
            value: value.into(),
            expiry: Expiry::None,
            condition: Condition::Always,
            return_old: false,
        }
    }

    /// The binary form of a list of writes.
    pub fn encode_all(writes: &[Write]) -> Bytes {
        codec::encode_all(writes)
    }

    /// The inverse of [`Write::encode_all`].
    ///
    /// # Errors
    /// [`Malformed`] for anything that it does not produce, and for a later version.
    pub fn decode_all(bytes: Bytes) -> Result<Vec<Write>, Malformed> {
        codec::decode_all(bytes)
    }

    /// About how many bytes this write takes in a command, for limits on what is proposed.
    pub fn size_bytes(&self) -> usize {
        self.size_hint()
    }

    /// Whether the limits that do not depend on state hold. A node asks before it proposes, so that what
    /// would surely be refused never reaches the log.
    ///
    /// # Errors
    /// The refusal that apply would answer.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Write::Atomic(writes) => writes.iter().try_for_each(|write| match write {
                Write::Atomic(_) => Err(Refusal::NestedBatch),
                write => write.check(),
            }),
            Write::Set { key, value, .. } | Write::Append { key, value } => check_pair(key, value),
            Write::SetRange { key, value, .. } => check_pair(key, value),
            Write::CompareAndSet { key, value, .. } => {
                check_pair(key, value.as_ref().unwrap_or(&Bytes::new()))
            }
            Write::SetMany { pairs } => pairs.iter().try_for_each(|(k, v)| check_pair(k, v)),
            Write::Delete { keys } => keys.iter().try_for_each(check_key),
            Write::GetDel { key }
            | Write::GetEx { key, .. }
            | Write::Increment { key, .. }
            | Write::Expire { key, .. }
            | Write::Persist { key } => check_key(key),
            Write::Flush | Write::ExpireDue { .. } => Ok(()),
        }
    }
}

pub(super) fn check_key(key: &Bytes) -> Result<(), Refusal> {
    if key.len() > KEY_BYTES_MAX { Err(Refusal::KeyTooLong) } else { Ok(()) }
}

fn check_pair(key: &Bytes, value: &Bytes) -> Result<(), Refusal> {
    check_key(key)?;
    if value.len() > VALUE_BYTES_MAX { Err(Refusal::ValueTooLong) } else { Ok(()) }
}

/// What a variant adds to the bytes it carries, at most about this.
const OVERHEAD_BYTES: usize = 16;

impl Wire for Write {
    const VERSION: u8 = 1;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Write::Set { key, value, expiry, condition, return_old } => {
                out.push(1);
                put_bytes(out, key);
                put_bytes(out, value);
                expiry.put(out);
                out.push(condition.number() | if *return_old { RETURN_OLD } else { 0 });
            }
            Write::SetMany { pairs } => {
                out.push(2);
                put_varint(out, pairs.len() as u64);
                for (key, value) in pairs {
                    put_bytes(out, key);
                    put_bytes(out, value);
                }
            }
            Write::GetDel { key } => {
                out.push(3);
                put_bytes(out, key);
            }
            Write::GetEx { key, expiry } => {
                out.push(4);
                put_bytes(out, key);
                expiry.put(out);
            }
            Write::Delete { keys } => {
                out.push(5);
                put_byte_strings(out, keys);
            }
            Write::Increment { key, by } => {
                out.push(6);
                put_bytes(out, key);
                put_signed(out, *by);
            }
            Write::Append { key, value } => {
                out.push(7);
                put_bytes(out, key);
                put_bytes(out, value);
            }
            Write::SetRange { key, offset, value } => {
                out.push(8);
                put_bytes(out, key);
                put_signed(out, *offset);
                put_bytes(out, value);
            }
            Write::Expire { key, at, condition } => {
                out.push(9);
                put_bytes(out, key);
                at.put(out);
                out.push(condition.number());
            }
            Write::Persist { key } => {
                out.push(10);
                put_bytes(out, key);
            }
            Write::CompareAndSet { key, expected, value } => {
                out.push(11);
                put_bytes(out, key);
                put_optional(out, expected.as_ref());
                put_optional(out, value.as_ref());
            }
            Write::Atomic(writes) => {
                out.push(12);
                put_all(out, writes);
            }
            Write::Flush => out.push(13),
            Write::ExpireDue { limit } => {
                out.push(14);
                put_varint(out, u64::from(*limit));
            }
        }
    }

    fn take(input: &mut Decoder, depth: u8) -> Result<Self, Malformed> {
        let error = input.expected("write");
        Ok(match input.byte()? {
            1 => {
                let (key, value) = (input.bytes()?, input.bytes()?);
                let expiry = Expiry::take(input)?;
                let error = input.expected("condition");
                let flags = input.byte()?;
                let condition = Condition::of(flags & !RETURN_OLD).ok_or(error)?;
                Write::Set { key, value, expiry, condition, return_old: flags & RETURN_OLD != 0 }
            }
            2 => Write::SetMany { pairs: input.items(|i| Ok((i.bytes()?, i.bytes()?)))? },
            3 => Write::GetDel { key: input.bytes()? },
            4 => Write::GetEx { key: input.bytes()?, expiry: Expiry::take(input)? },
            5 => Write::Delete { keys: input.byte_strings()? },
            6 => Write::Increment { key: input.bytes()?, by: input.signed()? },
            7 => Write::Append { key: input.bytes()?, value: input.bytes()? },
            8 => {
                let (key, offset) = (input.bytes()?, input.signed()?);
                Write::SetRange { key, offset, value: input.bytes()? }
            }
            9 => {
                let (key, at) = (input.bytes()?, Moment::take(input)?);
                let error = input.expected("condition");
                let condition = ExpireCondition::of(input.byte()?).ok_or(error)?;
                Write::Expire { key, at, condition }
            }
            10 => Write::Persist { key: input.bytes()? },
            11 => {
                let (key, expected) = (input.bytes()?, input.optional()?);
                Write::CompareAndSet { key, expected, value: input.optional()? }
            }
            12 => Write::Atomic(input.list(depth)?),
            13 => Write::Flush,
            14 => Write::ExpireDue { limit: input.small()? },
            _ => return Err(error),
        })
    }

    fn size_hint(&self) -> usize {
        let carried = match self {
            Write::Set { key, value, .. }
            | Write::Append { key, value }
            | Write::SetRange { key, value, .. } => key.len() + value.len(),
            Write::SetMany { pairs } => pairs.iter().map(|(k, v)| k.len() + v.len() + 8).sum(),
            Write::Delete { keys } => keys.iter().map(|key| key.len() + 4).sum(),
            Write::CompareAndSet { key, expected, value } => {
                let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
                key.len() + length(expected) + length(value)
            }
            Write::Atomic(writes) => writes.iter().map(Write::size_hint).sum(),
            Write::GetDel { key }
            | Write::GetEx { key, .. }
            | Write::Increment { key, .. }
            | Write::Expire { key, .. }
            | Write::Persist { key } => key.len(),
            Write::Flush | Write::ExpireDue { .. } => 0,
        };
        carried + OVERHEAD_BYTES
    }
}

/// Beside the number of a condition: the old value is the answer.
const RETURN_OLD: u8 = 0x80;

impl Expiry {
    fn put(self, out: &mut Vec<u8>) {
        match self {
            Expiry::None => out.push(0),
            Expiry::Keep => out.push(1),
            Expiry::In(ms) => {
                out.push(2);
                put_signed(out, ms);
            }
            Expiry::At(ms) => {
                out.push(3);
                put_signed(out, ms);
            }
        }
    }

    fn take(input: &mut Decoder) -> Result<Self, Malformed> {
        let error = input.expected("expiry");
        Ok(match input.byte()? {
            0 => Expiry::None,
            1 => Expiry::Keep,
            2 => Expiry::In(input.signed()?),
            3 => Expiry::At(input.signed()?),
            _ => return Err(error),
        })
    }
}

impl Moment {
    fn put(self, out: &mut Vec<u8>) {
        let (number, ms) = match self {
            Moment::In(ms) => (2, ms),
            Moment::At(ms) => (3, ms),
        };
        out.push(number);
        put_signed(out, ms);
    }

    fn take(input: &mut Decoder) -> Result<Self, Malformed> {
        let error = input.expected("moment");
        Ok(match input.byte()? {
            2 => Moment::In(input.signed()?),
            3 => Moment::At(input.signed()?),
            _ => return Err(error),
        })
    }
}

impl Condition {
    fn number(self) -> u8 {
        match self {
            Condition::Always => 0,
            Condition::IfAbsent => 1,
            Condition::IfPresent => 2,
        }
    }

    fn of(number: u8) -> Option<Self> {
        [Condition::Always, Condition::IfAbsent, Condition::IfPresent]
            .get(usize::from(number))
            .copied()
    }
}

impl ExpireCondition {
    const ALL: [ExpireCondition; 6] = [
        ExpireCondition::Always,
        ExpireCondition::Nx,
        ExpireCondition::Xx,
        ExpireCondition::Gt,
        ExpireCondition::Lt,
        ExpireCondition::XxLt,
    ];

    fn number(self) -> u8 {
        match self {
            ExpireCondition::Always => 0,
            ExpireCondition::Nx => 1,
            ExpireCondition::Xx => 2,
            ExpireCondition::Gt => 3,
            ExpireCondition::Lt => 4,
            ExpireCondition::XxLt => 5,
        }
    }

    fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}
