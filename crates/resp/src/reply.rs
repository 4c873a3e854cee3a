//! The other side's view: replies decoded from bytes, for clients and tests.

use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};

use crate::limits::Limits;
use crate::request::number;
use crate::value::Value;

/// How deep replies may nest.
const DEPTH_MAX: usize = 16;

/// Bytes that are no reply of RESP2 or RESP3, or one beyond the limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A type byte that the protocol does not have.
    #[error("'{}' begins no reply", .0.escape_ascii())]
    UnknownType(u8),
    /// A number, length or truth value that is none.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A reply larger or deeper than the limits allow.
    #[error("reply too big: it exceeds {0}")]
    TooBig(&'static str),
}

/// Decodes replies. A reply that is not whole yet is parsed again from its start when more has arrived.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplyDecoder {
    limits: Limits,
}

impl ReplyDecoder {
    /// A decoder of replies within `limits`.
    pub fn new(limits: Limits) -> Self {
        ReplyDecoder { limits }
    }

    /// Takes the next whole reply off the front of `input`; `None` when more input is needed.
    ///
    /// # Errors
    /// [`ReplyError`] when the input is no reply; the connection cannot go on.
    pub fn decode(&self, input: &mut BytesMut) -> Result<Option<Value>, ReplyError> {
        let mut cursor = Cursor { rest: input, limits: self.limits, items: 0 };
        let Some(value) = cursor.value(0)? else { return Ok(None) };
        let taken = input.len() - cursor.rest.len();
        input.advance(taken);
        Ok(Some(value))
    }
}

/// `Ok(None)` means that the input ends before the thing that was asked for does.
type Parsed<T> = Result<Option<T>, ReplyError>;

struct Cursor<'a> {
    rest: &'a [u8],
    limits: Limits,
    /// Elements seen so far in the whole reply.
    items: usize,
}

/// Unwraps a [`Parsed`], or answers that more input is needed.
macro_rules! whole {
    ($parsed:expr) => {
        match $parsed? {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}

impl Cursor<'_> {
    fn value(&mut self, depth: usize) -> Parsed<Value> {
        if depth > DEPTH_MAX {
            return Err(ReplyError::TooBig("the depth of 16"));
        }
        self.items += 1;
        if self.items > self.limits.arguments_max {
            return Err(ReplyError::TooBig("max_arguments"));
        }
        let Some(kind) = self.rest.first().copied() else { return Ok(None) };
        if !b"+-:$*_#,%~>=".contains(&kind) {
            return Err(ReplyError::UnknownType(kind));
        }
        let line = whole!(self.line());
        let head = &line[1..];
        Ok(Some(match kind {
            b'+' => Value::Simple(text(head)),
            b'-' => Value::Error(text(head)),
            b':' => Value::Integer(number(head).ok_or(ReplyError::Malformed("integer"))?),
            b'$' => match length(head)? {
                None => Value::Null,
                Some(len) => Value::Bulk(whole!(self.bulk(len))),
            },
            b'=' => {
                let len = length(head)?.ok_or(ReplyError::Malformed("verbatim text"))?;
                let body = whole!(self.bulk(len));
                if body.get(3) != Some(&b':') {
                    return Err(ReplyError::Malformed("verbatim text"));
                }
                Value::Verbatim(body.slice(4..))
            }
            b'*' => match length(head)? {
                None => Value::Null,
                Some(len) => Value::Array(whole!(self.items(len, depth))),
            },
            b'~' => Value::Set(whole!(self.items(some_length(head)?, depth))),
            b'>' => Value::Push(whole!(self.items(some_length(head)?, depth))),
            b'%' => Value::Map(whole!(self.pairs(some_length(head)?, depth))),
            b'_' if head.is_empty() => Value::Null,
            b'#' if head == b"t" => Value::Boolean(true),
            b'#' if head == b"f" => Value::Boolean(false),
            b',' => Value::Double(
                text(head).parse().map_err(|_no_number| ReplyError::Malformed("double"))?,
            ),
            b'_' => return Err(ReplyError::Malformed("null")),
            _ => return Err(ReplyError::Malformed("boolean")),
        }))
    }

    fn items(&mut self, len: usize, depth: usize) -> Parsed<Vec<Value>> {
        let mut items = Vec::new();
        for _ in 0..len {
            items.push(whole!(self.value(depth + 1)));
        }
        Ok(Some(items))
    }

    fn pairs(&mut self, len: usize, depth: usize) -> Parsed<Vec<(Value, Value)>> {
        let mut pairs = Vec::new();
        for _ in 0..len {
            let name = whole!(self.value(depth + 1));
            pairs.push((name, whole!(self.value(depth + 1))));
        }
        Ok(Some(pairs))
    }

    fn line(&mut self) -> Parsed<Vec<u8>> {
        let window = &self.rest[..self.rest.len().min(self.limits.inline_bytes_max)];
        let Some(end) = memchr::memchr(b'\n', window) else {
            if self.rest.len() >= self.limits.inline_bytes_max {
                return Err(ReplyError::TooBig("max_inline_bytes"));
            }
            return Ok(None);
        };
        let line = self.rest[..end]
            .strip_suffix(b"\r")
            .filter(|line| !line.is_empty())
            .ok_or(ReplyError::Malformed("line end"))?
            .to_vec();
        self.rest = &self.rest[end + 1..];
        Ok(Some(line))
    }

    fn bulk(&mut self, len: usize) -> Parsed<Bytes> {
        if len > self.limits.bulk_bytes_max {
            return Err(ReplyError::TooBig("max_bulk_bytes"));
        }
        if self.rest.len() < len + 2 {
            return Ok(None);
        }
        let (body, tail) = self.rest.split_at(len);
        self.rest = tail.strip_prefix(b"\r\n").ok_or(ReplyError::Malformed("line end"))?;
        Ok(Some(Bytes::copy_from_slice(body)))
    }
}

fn text(bytes: &[u8]) -> Cow<'static, str> {
    Cow::Owned(String::from_utf8_lossy(bytes).into_owned())
}

/// A length; `None` for -1, which is how RESP2 writes a null.
fn length(digits: &[u8]) -> Result<Option<usize>, ReplyError> {
    match number(digits).ok_or(ReplyError::Malformed("length"))? {
        -1 => Ok(None),
        len => Ok(Some(usize::try_from(len).map_err(|_negative| ReplyError::Malformed("length"))?)),
    }
}

fn some_length(digits: &[u8]) -> Result<usize, ReplyError> {
    length(digits)?.ok_or(ReplyError::Malformed("length"))
}
