//! RESP2, the client's half: requests out, replies in.

use bytes::{Buf, Bytes, BytesMut};

/// The largest bulk string and the most elements of an array that we believe.
const LENGTH_MAX: i64 = 64 * 1024 * 1024;
/// How deep arrays may be nested; `CLUSTER SLOTS` has three levels.
const DEPTH_MAX: usize = 8;

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Bytes),
    Array(Vec<Value>),
    Nil,
}

impl Value {
    /// The bytes of a simple or bulk string.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text) => Some(text.as_bytes()),
            Self::Bulk(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text of a simple or bulk string.
    pub(crate) fn text(&self) -> Option<&str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Whether this is `+OK`.
    pub(crate) fn is_ok(&self) -> bool {
        matches!(self, Self::Simple(text) if text == "OK")
    }
}

/// Appends `parts` as one request.
pub(crate) fn encode(parts: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// Takes one whole reply off the front of `incoming`, or leaves it untouched when more must come.
///
/// # Errors
/// What is wrong with bytes that no RESP2 server sends.
pub(crate) fn take(incoming: &mut BytesMut) -> Result<Option<Value>, String> {
    let mut cursor = Cursor { bytes: incoming, at: 0 };
    let value = match cursor.value(0) {
        Ok(value) => value,
        Err(Stop::More) => return Ok(None),
        Err(Stop::Malformed(why)) => return Err(why),
    };
    let used = cursor.at;
    incoming.advance(used);
    Ok(Some(value))
}

enum Stop {
    More,
    Malformed(String),
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        let line = self.line()?;
        let (kind, rest) = line.split_first().ok_or_else(|| malformed("an empty line"))?;
        match kind {
            b'+' => Ok(Value::Simple(text(rest))),
            b'-' => Ok(Value::Error(text(rest))),
            b':' => Ok(Value::Integer(number(rest)?)),
            b'$' => match number(rest)? {
                -1 => Ok(Value::Nil),
                length => self.bulk(bounded(length)?),
            },
            b'*' if depth == DEPTH_MAX => Err(malformed("arrays nested too deep")),
            b'*' => match number(rest)? {
                -1 => Ok(Value::Nil),
                length => {
                    let elements = (0..bounded(length)?).map(|_| self.value(depth + 1));
                    elements.collect::<Result<_, _>>().map(Value::Array)
                }
            },
            other => Err(malformed(&format!("a reply of type {:?}", char::from(*other)))),
        }
    }

    fn line<'b>(&mut self) -> Result<&'b [u8], Stop>
    where
        Self: 'b,
    {
        let rest: &'b [u8] = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Stop::More)?;
        self.at += end + 2;
        Ok(&rest[..end])
    }

    fn bulk(&mut self, length: usize) -> Result<Value, Stop> {
        let end = self.at + length;
        let whole = self.bytes.get(self.at..end + 2).ok_or(Stop::More)?;
        if &whole[length..] != b"\r\n" {
            return Err(malformed("a bulk string of another length than announced"));
        }
        self.at = end + 2;
        Ok(Value::Bulk(Bytes::copy_from_slice(&whole[..length])))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn number(bytes: &[u8]) -> Result<i64, Stop> {
    let parsed = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| malformed(&format!("{:?} where a number belongs", text(bytes))))
}

fn bounded(length: i64) -> Result<usize, Stop> {
    match usize::try_from(length) {
        Ok(fit) if length <= LENGTH_MAX => Ok(fit),
        _ => Err(malformed(&format!("a length of {length}"))),
    }
}

fn malformed(what: &str) -> Stop {
    Stop::Malformed(format!("the server sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[u8] =
        b"+OK\r\n-ERR no\r\n:-7\r\n$5\r\nhe\r\no\r\n$-1\r\n*2\r\n*1\r\n:1\r\n$0\r\n\r\n";

    fn all(mut bytes: BytesMut) -> Vec<Value> {
        std::iter::from_fn(|| take(&mut bytes).expect("well formed")).collect()
    }

    #[test]
    fn every_kind_of_reply_is_understood() {
        let replies = all(BytesMut::from(REPLIES));
        assert_eq!(
            replies,
            [
                Value::Simple("OK".into()),
                Value::Error("ERR no".into()),
                Value::Integer(-7),
                Value::Bulk(Bytes::from_static(b"he\r\no")),
                Value::Nil,
                Value::Array(vec![
                    Value::Array(vec![Value::Integer(1)]),
                    Value::Bulk(Bytes::new())
                ]),
            ]
        );
    }

    #[test]
    fn replies_that_come_byte_by_byte_are_the_same() {
        let mut incoming = BytesMut::new();
        let mut replies = Vec::new();
        for byte in REPLIES {
            incoming.extend_from_slice(&[*byte]);
            replies.extend(take(&mut incoming).expect("well formed"));
        }
        assert_eq!(replies, all(BytesMut::from(REPLIES)));
        assert!(incoming.is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in
            [&b"?\r\n"[..], b"$x\r\n", b"$-2\r\n", b"$1\r\nabc", b"*99999999999\r\n", b"\r\n"]
        {
            assert!(take(&mut BytesMut::from(bytes)).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn requests_are_arrays_of_bulk_strings() {
        let mut out = Vec::new();
        encode(&[b"GET", b"k"], &mut out);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    }
}
