//! The pieces that options of several commands are made of.

use bytes::Bytes;
use flin_resp::Value;

use super::invalid_expire;
use crate::front::errors::{NOT_AN_INTEGER, SYNTAX};

/// A 64-bit integer as Redis reads it: decimal, no plus sign, no blanks.
pub(super) fn integer(argument: &Bytes) -> Result<i64, Value> {
    if argument.first() == Some(&b'+') {
        return Err(NOT_AN_INTEGER);
    }
    let digits = std::str::from_utf8(argument).map_err(|_not_text| NOT_AN_INTEGER)?;
    digits.parse().map_err(|_not_decimal| NOT_AN_INTEGER)
}

/// A number of milliseconds, given in seconds if `seconds`; any sign.
pub(super) fn milliseconds(argument: &Bytes, seconds: bool, command: &str) -> Result<i64, Value> {
    let number = integer(argument)?;
    let scale = if seconds { 1_000 } else { 1 };
    number.checked_mul(scale).ok_or_else(|| invalid_expire(command))
}

/// Like [`milliseconds`], but only more than zero.
pub(super) fn life(argument: &Bytes, seconds: bool, command: &str) -> Result<i64, Value> {
    let ms = milliseconds(argument, seconds, command)?;
    if ms > 0 { Ok(ms) } else { Err(invalid_expire(command)) }
}

/// The options of a request, taken one after the other.
pub(super) struct Options<'a> {
    rest: std::slice::Iter<'a, Bytes>,
}

impl<'a> Options<'a> {
    pub(super) fn new(arguments: &'a [Bytes]) -> Self {
        Options { rest: arguments.iter() }
    }

    /// The next option in upper case; empty for one too long to be any.
    pub(super) fn name(&mut self) -> Option<String> {
        const NAME_BYTES_MAX: usize = 16;
        let name = self.rest.next()?;
        if name.len() > NAME_BYTES_MAX {
            return Some(String::new());
        }
        Some(String::from_utf8_lossy(name).to_ascii_uppercase())
    }

    /// The value of the option just taken.
    pub(super) fn value(&mut self) -> Result<&'a Bytes, Value> {
        self.rest.next().ok_or(SYNTAX)
    }
}
