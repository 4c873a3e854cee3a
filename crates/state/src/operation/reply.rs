//! What a partition answers.

use std::fmt;

use bytes::Bytes;

use crate::codec::{
    self, Decoder, Malformed, Wire, put_all, put_byte_strings, put_bytes, put_optional, put_signed,
    put_varint,
};
use crate::operation::Refusal;

/// The answer to one operation; which one is said at the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done.
    Ok,
    /// Nothing there, or a condition did not hold.
    Nil,
    /// A number.
    Int(i64),
    /// A value.
    Bytes(Bytes),
    /// Several answers.
    Array(Vec<Reply>),
    /// What a key holds.
    Type(ValueType),
    /// A page of keys in hash order.
    Keys(KeyPage),
    /// A page of pairs in key order.
    Pairs(PairPage),
    /// Nothing was done.
    Refused(Refusal),
}

/// What a key holds, displayed as TYPE says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// There is no such key.
    None,
    /// A string of bytes, counters included.
    String,
}

/// A page of a scan in hash order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys that matched; there may be none even though more pages follow.
    pub keys: Vec<Bytes>,
    /// Where the next page begins, below 2^48; `None`: this was the last.
    pub next: Option<u64>,
}

/// A page of a scan in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairPage {
    /// Keys and values; there may be none even though more pages follow.
    pub pairs: Vec<(Bytes, Bytes)>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<Bytes>,
}

impl ValueType {
    /// The word of the TYPE command.
    pub fn as_str(self) -> &'static str {
        match self {
            ValueType::None => "none",
            ValueType::String => "string",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Reply {
    /// The binary form of a list of replies.
    pub fn encode_all(replies: &[Reply]) -> Bytes {
        codec::encode_all(replies)
    }

    /// The inverse of [`Reply::encode_all`].
    ///
    /// # Errors
    /// [`Malformed`] for anything that it does not produce, and for a later version.
    pub fn decode_all(bytes: Bytes) -> Result<Vec<Reply>, Malformed> {
        codec::decode_all(bytes)
    }

    /// The value, or `Nil`.
    pub fn of_value(value: Option<Bytes>) -> Reply {
        value.map_or(Reply::Nil, Reply::Bytes)
    }

    /// The bytes of keys and values that it holds.
    pub(crate) fn value_bytes(&self) -> usize {
        match self {
            Reply::Bytes(bytes) => bytes.len(),
            Reply::Array(replies) => replies.iter().map(Reply::value_bytes).sum(),
            Reply::Keys(page) => page.keys.iter().map(Bytes::len).sum(),
            Reply::Pairs(page) => page.pairs.iter().map(|(k, v)| k.len() + v.len()).sum(),
            Reply::Ok | Reply::Nil | Reply::Int(_) | Reply::Type(_) | Reply::Refused(_) => 0,
        }
    }

    /// A count or a length; all of them are far below the limit of a number.
    pub(crate) fn of_size(size: usize) -> Reply {
        Reply::Int(i64::try_from(size).unwrap_or(i64::MAX))
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Reply {
        Reply::Refused(refusal)
    }
}

impl Wire for Reply {
    const VERSION: u8 = 1;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Reply::Ok => out.push(1),
            Reply::Nil => out.push(2),
            Reply::Int(number) => {
                out.push(3);
                put_signed(out, *number);
            }
            Reply::Bytes(bytes) => {
                out.push(4);
                put_bytes(out, bytes);
            }
            Reply::Array(replies) => {
                out.push(5);
                put_all(out, replies);
            }
            Reply::Type(ValueType::None) => out.extend_from_slice(&[6, 0]),
            Reply::Type(ValueType::String) => out.extend_from_slice(&[6, 1]),
            Reply::Keys(page) => {
                out.push(7);
                put_byte_strings(out, &page.keys);
                out.push(u8::from(page.next.is_some()));
                if let Some(next) = page.next {
                    put_varint(out, next);
                }
            }
            Reply::Pairs(page) => {
                out.push(8);
                put_varint(out, page.pairs.len() as u64);
                for (key, value) in &page.pairs {
                    put_bytes(out, key);
                    put_bytes(out, value);
                }
                put_optional(out, page.next.as_ref());
            }
            Reply::Refused(refusal) => out.extend_from_slice(&[9, refusal.number()]),
        }
    }

    fn take(input: &mut Decoder, depth: u8) -> Result<Self, Malformed> {
        let error = input.expected("reply");
        Ok(match input.byte()? {
            1 => Reply::Ok,
            2 => Reply::Nil,
            3 => Reply::Int(input.signed()?),
            4 => Reply::Bytes(input.bytes()?),
            5 => Reply::Array(input.list(depth)?),
            6 => {
                let present = input.flag()?;
                Reply::Type(if present { ValueType::String } else { ValueType::None })
            }
            7 => {
                let keys = input.byte_strings()?;
                let next = if input.flag()? { Some(input.varint()?) } else { None };
                Reply::Keys(KeyPage { keys, next })
            }
            8 => {
                let pairs = input.items(|input| Ok((input.bytes()?, input.bytes()?)))?;
                Reply::Pairs(PairPage { pairs, next: input.optional()? })
            }
            9 => Reply::Refused(Refusal::take(input)?),
            _ => return Err(error),
        })
    }

    fn size_hint(&self) -> usize {
        16 + match self {
            Reply::Bytes(bytes) => bytes.len(),
            Reply::Array(replies) => replies.iter().map(Reply::size_hint).sum(),
            Reply::Keys(page) => page.keys.iter().map(|key| key.len() + 4).sum(),
            Reply::Pairs(page) => page.pairs.iter().map(|(k, v)| k.len() + v.len() + 8).sum(),
            Reply::Ok | Reply::Nil | Reply::Int(_) | Reply::Type(_) | Reply::Refused(_) => 0,
        }
    }
}
