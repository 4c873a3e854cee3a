//! Replies: one model for both protocol versions, and its encoder.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

/// The version of the protocol that a connection speaks; RESP2 until `HELLO 3`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Spoken by every client.
    #[default]
    Resp2,
    /// Adds types: null, map, set, boolean, double, verbatim text, push.
    Resp3,
}

/// A reply. What RESP2 has no type for is encoded there as Redis does it: a map as a flat array, a set or
/// push as an array, a boolean as 1 or 0, a double and a verbatim text as bulk strings.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A short text without line breaks, such as `OK`.
    Simple(Cow<'static, str>),
    /// An error: a code word, a blank and a sentence.
    Error(Cow<'static, str>),
    /// A number.
    Integer(i64),
    /// Any bytes.
    Bulk(Bytes),
    /// Nothing (in RESP2 the null bulk string).
    Null,
    /// Replies in order.
    Array(Vec<Value>),
    /// Names and values, in order.
    Map(Vec<(Value, Value)>),
    /// Values in no particular order.
    Set(Vec<Value>),
    /// Something that no request asked for.
    Push(Vec<Value>),
    /// A truth value.
    Boolean(bool),
    /// A floating point number.
    Double(f64),
    /// Text for a person to read.
    Verbatim(Bytes),
}

impl Value {
    /// The reply of a command that has nothing else to say.
    pub const OK: Value = Value::Simple(Cow::Borrowed("OK"));

    /// An error reply; `text` begins with the code word.
    pub fn error(text: impl Into<Cow<'static, str>>) -> Value {
        Value::Error(text.into())
    }

    /// A bulk string.
    pub fn bulk(bytes: impl Into<Bytes>) -> Value {
        Value::Bulk(bytes.into())
    }

    /// A bulk string of constant text.
    pub const fn text(text: &'static str) -> Value {
        Value::Bulk(Bytes::from_static(text.as_bytes()))
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }

    /// About how many bytes this takes on the wire, for bounds on what waits to be sent.
    pub fn approximate_bytes(&self) -> usize {
        const HEADER_BYTES: usize = 16;
        HEADER_BYTES
            + match self {
                Value::Simple(text) | Value::Error(text) => text.len(),
                Value::Bulk(bytes) | Value::Verbatim(bytes) => bytes.len(),
                Value::Array(items) | Value::Set(items) | Value::Push(items) => {
                    items.iter().map(Value::approximate_bytes).sum()
                }
                Value::Map(pairs) => pairs
                    .iter()
                    .map(|(name, value)| name.approximate_bytes() + value.approximate_bytes())
                    .sum(),
                Value::Integer(_) | Value::Null | Value::Boolean(_) | Value::Double(_) => 0,
            }
    }

    /// Appends this reply to `out`. Line breaks inside simple texts and errors become blanks, so that
    /// nothing a client sent can forge a second reply.
    pub fn encode(&self, protocol: Protocol, out: &mut BytesMut) {
        let resp3 = protocol == Protocol::Resp3;
        match self {
            Value::Simple(text) => line(b'+', text, out),
            Value::Error(text) => line(b'-', text, out),
            Value::Integer(number) => integer(b':', *number, out),
            Value::Bulk(bytes) => bulk(b'$', &[bytes], out),
            Value::Null if resp3 => out.put_slice(b"_\r\n"),
            Value::Null => out.put_slice(b"$-1\r\n"),
            Value::Array(items) => array(b'*', items, protocol, out),
            Value::Set(items) => array(if resp3 { b'~' } else { b'*' }, items, protocol, out),
            Value::Push(items) => array(if resp3 { b'>' } else { b'*' }, items, protocol, out),
            Value::Map(pairs) => {
                if resp3 {
                    length(b'%', pairs.len(), out);
                } else {
                    length(b'*', pairs.len() * 2, out);
                }
                for (name, value) in pairs {
                    name.encode(protocol, out);
                    value.encode(protocol, out);
                }
            }
            Value::Boolean(truth) if resp3 => {
                out.put_slice(if *truth { b"#t\r\n" } else { b"#f\r\n" });
            }
            Value::Boolean(truth) => integer(b':', i64::from(*truth), out),
            Value::Double(number) if resp3 => line(b',', &double(*number), out),
            Value::Double(number) => bulk(b'$', &[double(*number).as_bytes()], out),
            Value::Verbatim(text) if resp3 => bulk(b'=', &[b"txt:", text], out),
            Value::Verbatim(text) => bulk(b'$', &[text], out),
        }
    }
}

fn line(kind: u8, text: &str, out: &mut BytesMut) {
    out.reserve(text.len() + 3);
    out.put_u8(kind);
    if memchr::memchr2(b'\r', b'\n', text.as_bytes()).is_none() {
        out.put_slice(text.as_bytes());
    } else {
        out.put_slice(text.replace(['\r', '\n'], " ").as_bytes());
    }
    out.put_slice(b"\r\n");
}

fn integer(kind: u8, number: i64, out: &mut BytesMut) {
    out.put_u8(kind);
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
    out.put_slice(b"\r\n");
}

fn length(kind: u8, len: usize, out: &mut BytesMut) {
    integer(kind, i64::try_from(len).expect("lengths in memory fit i64"), out);
}

fn bulk(kind: u8, parts: &[&[u8]], out: &mut BytesMut) {
    let len = parts.iter().map(|part| part.len()).sum();
    out.reserve(len + 24);
    length(kind, len, out);
    for part in parts {
        out.put_slice(part);
    }
    out.put_slice(b"\r\n");
}

fn array(kind: u8, items: &[Value], protocol: Protocol, out: &mut BytesMut) {
    length(kind, items.len(), out);
    for item in items {
        item.encode(protocol, out);
    }
}

fn double(number: f64) -> String {
    match number {
        n if n.is_nan() => "nan".to_owned(),
        n if n.is_infinite() => if n > 0.0 { "inf" } else { "-inf" }.to_owned(),
        n => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: &Value, protocol: Protocol) -> String {
        let mut out = BytesMut::new();
        value.encode(protocol, &mut out);
        String::from_utf8(out.to_vec()).expect("the examples are text")
    }

    #[test]
    fn resp3_types_have_a_form_in_resp2() {
        for (value, resp2, resp3) in [
            (Value::Null, "$-1\r\n", "_\r\n"),
            (Value::Boolean(true), ":1\r\n", "#t\r\n"),
            (Value::Double(0.5), "$3\r\n0.5\r\n", ",0.5\r\n"),
            (Value::Verbatim("a".into()), "$1\r\na\r\n", "=5\r\ntxt:a\r\n"),
            (
                Value::Map(vec![(Value::text("a"), Value::Integer(-1))]),
                "*2\r\n$1\r\na\r\n:-1\r\n",
                "%1\r\n$1\r\na\r\n:-1\r\n",
            ),
            (Value::Set(vec![Value::OK]), "*1\r\n+OK\r\n", "~1\r\n+OK\r\n"),
            (Value::Push(vec![Value::OK]), "*1\r\n+OK\r\n", ">1\r\n+OK\r\n"),
        ] {
            assert_eq!(encoded(&value, Protocol::Resp2), resp2);
            assert_eq!(encoded(&value, Protocol::Resp3), resp3);
        }
    }

    #[test]
    fn an_error_stays_one_line() {
        let value = Value::error("ERR unknown command 'a\r\n+OK'");
        assert_eq!(encoded(&value, Protocol::Resp2), "-ERR unknown command 'a  +OK'\r\n");
    }
}
