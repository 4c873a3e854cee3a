//! Commands about keys of any type: life and death, and walking over all of them.

use bytes::Bytes;
use flin_resp::Value;
use flin_state::operation::{ExpireCondition, Moment, Read, TtlUnit, Write};

use super::options::{Options, integer, milliseconds};
use super::{Task, read, write};
use crate::front::errors::{self, SYNTAX};
use crate::front::scan::Scan;

/// How many keys a SCAN examines unless told otherwise, as in Redis.
const SCAN_COUNT: u32 = 10;

/// `key time [NX|XX|GT|LT]`
pub(super) fn expire(command: &str, arguments: &[Bytes]) -> Result<Task, Value> {
    let ms = milliseconds(&arguments[1], !command.starts_with('p'), command)?;
    let at = if command.ends_with("at") { Moment::At(ms) } else { Moment::In(ms) };
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    let mut options = Options::new(&arguments[2..]);
    let mut position = 2;
    while let Some(name) = options.name() {
        match name.as_str() {
            "NX" => nx = true,
            "XX" => xx = true,
            "GT" => gt = true,
            "LT" => lt = true,
            _ => {
                let shown = String::from_utf8_lossy(&arguments[position]).into_owned();
                return Err(Value::error(format!("ERR Unsupported option {shown}")));
            }
        }
        position += 1;
    }
    let condition = match (nx, xx, gt, lt) {
        (false, false, false, false) => ExpireCondition::Always,
        (true, false, false, false) => ExpireCondition::Nx,
        (true, ..) => {
            return Err(errors::constant(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        (_, _, true, true) => {
            return Err(errors::constant(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        (_, _, true, false) => ExpireCondition::Gt,
        (_, true, _, true) => ExpireCondition::XxLt,
        (_, false, _, true) => ExpireCondition::Lt,
        (_, true, false, false) => ExpireCondition::Xx,
    };
    Ok(write(Write::Expire { key: arguments[0].clone(), at, condition }))
}

pub(super) fn ttl(command: &str, arguments: &[Bytes]) -> Task {
    let unit = if command.starts_with('p') { TtlUnit::Milliseconds } else { TtlUnit::Seconds };
    let absolute = command.ends_with("time");
    read(Read::Ttl { key: arguments[0].clone(), unit, absolute })
}

/// `[ASYNC|SYNC]`
pub(super) fn flush(arguments: &[Bytes]) -> Result<Task, Value> {
    match arguments {
        [] => Ok(Task::Flush),
        [how] if how.eq_ignore_ascii_case(b"async") || how.eq_ignore_ascii_case(b"sync") => {
            Ok(Task::Flush)
        }
        _ => Err(SYNTAX),
    }
}

/// `cursor [MATCH pattern] [COUNT count] [TYPE type]`
pub(super) fn scan(arguments: &[Bytes]) -> Result<Scan, Value> {
    let cursor = std::str::from_utf8(&arguments[0])
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(errors::constant("ERR invalid cursor"))?;
    let mut scan = Scan { cursor, count: SCAN_COUNT, pattern: None, strings: true };
    let mut options = Options::new(&arguments[1..]);
    while let Some(name) = options.name() {
        let value = options.value()?;
        match name.as_str() {
            "MATCH" => scan.pattern = Some(value.clone()),
            "TYPE" => scan.strings = value.eq_ignore_ascii_case(b"string"),
            "COUNT" => {
                let count = integer(value)?;
                if count < 1 {
                    return Err(SYNTAX);
                }
                scan.count = u32::try_from(count).unwrap_or(u32::MAX);
            }
            _ => return Err(SYNTAX),
        }
    }
    // `MATCH *` is every key; not asking saves the comparison.
    scan.pattern = scan.pattern.filter(|pattern| pattern.as_ref() != b"*");
    Ok(scan)
}
