//! Operations that ask a partition and change nothing.

use bytes::Bytes;

use crate::codec::{
    self, Decoder, Malformed, Wire, put_byte_strings, put_bytes, put_optional, put_signed,
    put_varint,
};
use crate::operation::write::check_key;
use crate::operation::{PATTERN_BYTES_MAX, Refusal};

/// The unit of a life or a moment in an answer. Seconds are rounded to the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// A question to a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// `Bytes`: the value, or `Nil`.
    Get {
        /// The key.
        key: Bytes,
    },
    /// `Array` of the value and `Int` milliseconds to live (`Nil`: for ever), or `Nil`.
    GetWithTtl {
        /// The key.
        key: Bytes,
    },
    /// `Array` of a value or `Nil` for each key.
    GetMany {
        /// The keys.
        keys: Vec<Bytes>,
    },
    /// `Int`: how many exist, a repeated key counted each time.
    Exists {
        /// The keys.
        keys: Vec<Bytes>,
    },
    /// `Int`: the value's length, 0 if absent.
    Length {
        /// The key.
        key: Bytes,
    },
    /// `Bytes`: the part from `start` to `end`, both included and negative ones counted from the end, as
    /// in GETRANGE; empty if there is none.
    GetRange {
        /// The key.
        key: Bytes,
        /// The first byte.
        start: i64,
        /// The last byte.
        end: i64,
    },
    /// `Int`: -2 if absent, -1 if it lives for ever.
    Ttl {
        /// The key.
        key: Bytes,
        /// The unit of the answer.
        unit: TtlUnit,
        /// True: the moment of expiry since the Unix epoch; false: the life that remains.
        absolute: bool,
    },
    /// `Type`.
    Type {
        /// The key.
        key: Bytes,
    },
    /// `Int`: the number of keys.
    Count,
    /// `Keys`: the keys at hash positions from `position` on, those that match. The order is the hash's, so
    /// that a key that stays is met once whatever is written meanwhile.
    ScanByHash {
        /// Where to begin; 0 is the beginning.
        position: u64,
        /// How many keys to examine before the page ends, from 1 to
        /// [`crate::operation::SCAN_COUNT_MAX`]; others are taken as the nearest.
        count: u32,
        /// A glob as in Redis.
        pattern: Option<Bytes>,
    },
    /// `Pairs`: keys and values with `from <= key < to`, ascending.
    ScanRange {
        /// The first key that may be there.
        from: Bytes,
        /// The first key beyond; `None`: to the end.
        to: Option<Bytes>,
        /// The most pairs, from 1 to [`crate::operation::SCAN_COUNT_MAX`]; others are taken as the
        /// nearest.
        limit: u32,
    },
}

impl Read {
    /// The binary form of a list of reads.
    pub fn encode_all(reads: &[Read]) -> Bytes {
        codec::encode_all(reads)
    }

    /// The inverse of [`Read::encode_all`].
    ///
    /// # Errors
    /// [`Malformed`] for anything that it does not produce, and for a later version.
    pub fn decode_all(bytes: Bytes) -> Result<Vec<Read>, Malformed> {
        codec::decode_all(bytes)
    }

    /// Whether the limits that do not depend on state hold.
    ///
    /// # Errors
    /// The refusal that the partition would answer.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Read::Get { key }
            | Read::GetWithTtl { key }
            | Read::Length { key }
            | Read::GetRange { key, .. }
            | Read::Ttl { key, .. }
            | Read::Type { key } => check_key(key),
            Read::GetMany { keys } | Read::Exists { keys } => keys.iter().try_for_each(check_key),
            Read::ScanByHash { pattern: Some(pattern), .. }
                if pattern.len() > PATTERN_BYTES_MAX =>
            {
                Err(Refusal::PatternTooLong)
            }
            Read::ScanRange { from, to, .. } => {
                check_key(from)?;
                to.as_ref().map_or(Ok(()), check_key)
            }
            Read::ScanByHash { .. } | Read::Count => Ok(()),
        }
    }
}

impl Wire for Read {
    const VERSION: u8 = 1;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Read::Get { key } => {
                out.push(1);
                put_bytes(out, key);
            }
            Read::GetWithTtl { key } => {
                out.push(2);
                put_bytes(out, key);
            }
            Read::GetMany { keys } => {
                out.push(3);
                put_byte_strings(out, keys);
            }
            Read::Exists { keys } => {
                out.push(4);
                put_byte_strings(out, keys);
            }
            Read::Length { key } => {
                out.push(5);
                put_bytes(out, key);
            }
            Read::GetRange { key, start, end } => {
                out.push(6);
                put_bytes(out, key);
                put_signed(out, *start);
                put_signed(out, *end);
            }
            Read::Ttl { key, unit, absolute } => {
                out.push(7);
                put_bytes(out, key);
                out.push(u8::from(*unit == TtlUnit::Milliseconds));
                out.push(u8::from(*absolute));
            }
            Read::Type { key } => {
                out.push(8);
                put_bytes(out, key);
            }
            Read::Count => out.push(9),
            Read::ScanByHash { position, count, pattern } => {
                out.push(10);
                put_varint(out, *position);
                put_varint(out, u64::from(*count));
                put_optional(out, pattern.as_ref());
            }
            Read::ScanRange { from, to, limit } => {
                out.push(11);
                put_bytes(out, from);
                put_optional(out, to.as_ref());
                put_varint(out, u64::from(*limit));
            }
        }
    }

    fn take(input: &mut Decoder, _depth: u8) -> Result<Self, Malformed> {
        let error = input.expected("read");
        Ok(match input.byte()? {
            1 => Read::Get { key: input.bytes()? },
            2 => Read::GetWithTtl { key: input.bytes()? },
            3 => Read::GetMany { keys: input.byte_strings()? },
            4 => Read::Exists { keys: input.byte_strings()? },
            5 => Read::Length { key: input.bytes()? },
            6 => {
                Read::GetRange { key: input.bytes()?, start: input.signed()?, end: input.signed()? }
            }
            7 => {
                let key = input.bytes()?;
                let unit = if input.flag()? { TtlUnit::Milliseconds } else { TtlUnit::Seconds };
                Read::Ttl { key, unit, absolute: input.flag()? }
            }
            8 => Read::Type { key: input.bytes()? },
            9 => Read::Count,
            10 => {
                let (position, count) = (input.varint()?, input.small()?);
                Read::ScanByHash { position, count, pattern: input.optional()? }
            }
            11 => {
                let (from, to) = (input.bytes()?, input.optional()?);
                Read::ScanRange { from, to, limit: input.small()? }
            }
            _ => return Err(error),
        })
    }

    fn size_hint(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        16 + match self {
            Read::Get { key }
            | Read::GetWithTtl { key }
            | Read::Length { key }
            | Read::GetRange { key, .. }
            | Read::Ttl { key, .. }
            | Read::Type { key } => key.len(),
            Read::GetMany { keys } | Read::Exists { keys } => {
                keys.iter().map(|key| key.len() + 4).sum()
            }
            Read::Count => 0,
            Read::ScanByHash { pattern, .. } => length(pattern),
            Read::ScanRange { from, to, .. } => from.len() + length(to),
        }
    }
}
