//! Commands about values: SET and its kin, counters, parts of values.

use bytes::Bytes;
use flin_resp::Value;
use flin_resp::commands::Command;
use flin_state::operation::{Condition, Expiry, Read, Refusal, Write};

use super::options::{Options, integer, life};
use super::{Shape, Task, read, write};
use crate::front::errors::{self, SYNTAX};
use crate::front::lanes::Operation;

/// `key value [NX|XX|IFEQ value] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]`
pub(super) fn set(arguments: &[Bytes]) -> Result<Task, Value> {
    let (key, value) = (arguments[0].clone(), arguments[1].clone());
    let mut expiry = None;
    let mut condition = None;
    let mut expected = None;
    let mut return_old = false;
    let mut options = Options::new(&arguments[2..]);
    while let Some(name) = options.name() {
        match name.as_str() {
            "NX" => once(&mut condition, Condition::IfAbsent)?,
            "XX" => once(&mut condition, Condition::IfPresent)?,
            "GET" => return_old = true,
            "KEEPTTL" => once(&mut expiry, Expiry::Keep)?,
            "IFEQ" => once(&mut expected, options.value()?.clone())?,
            name => {
                let chosen = expiry_option(name, &mut options, "set")?.ok_or(SYNTAX)?;
                once(&mut expiry, chosen)?;
            }
        }
    }
    if expected.is_some() {
        if expiry.is_some() || condition.is_some() || return_old {
            return Err(SYNTAX);
        }
        let swap = Write::CompareAndSet { key, expected, value: Some(value) };
        return Ok(Task::One(Operation::Write(swap), Shape::OkOrNull));
    }
    Ok(write(Write::Set {
        key,
        value,
        expiry: expiry.unwrap_or_default(),
        condition: condition.unwrap_or_default(),
        return_old,
    }))
}

/// `key [EX s|PX ms|EXAT s|PXAT ms|PERSIST]`
pub(super) fn get_and_expire(arguments: &[Bytes]) -> Result<Task, Value> {
    let key = arguments[0].clone();
    let mut expiry = None;
    let mut options = Options::new(&arguments[1..]);
    while let Some(name) = options.name() {
        let chosen = match name.as_str() {
            "PERSIST" => Expiry::None,
            name => expiry_option(name, &mut options, "getex")?.ok_or(SYNTAX)?,
        };
        once(&mut expiry, chosen)?;
    }
    Ok(match expiry {
        None => read(Read::Get { key }),
        Some(expiry) => write(Write::GetEx { key, expiry }),
    })
}

/// `key seconds value`, or milliseconds for PSETEX
pub(super) fn set_with_life(command: &str, arguments: &[Bytes]) -> Result<Task, Value> {
    let ms = life(&arguments[1], command == "setex", command)?;
    Ok(write(Write::Set {
        key: arguments[0].clone(),
        value: arguments[2].clone(),
        expiry: Expiry::In(ms),
        condition: Condition::Always,
        return_old: false,
    }))
}

pub(super) fn set_if_absent(arguments: &[Bytes]) -> Task {
    let set = Write::Set {
        key: arguments[0].clone(),
        value: arguments[1].clone(),
        expiry: Expiry::None,
        condition: Condition::IfAbsent,
        return_old: false,
    };
    Task::One(Operation::Write(set), Shape::Flag)
}

pub(super) fn get_and_set(arguments: &[Bytes]) -> Task {
    write(Write::Set {
        key: arguments[0].clone(),
        value: arguments[1].clone(),
        expiry: Expiry::None,
        condition: Condition::Always,
        return_old: true,
    })
}

pub(super) fn delete_if_equal(arguments: &[Bytes]) -> Task {
    let (key, expected) = (arguments[0].clone(), Some(arguments[1].clone()));
    let swap = Write::CompareAndSet { key, expected, value: None };
    Task::One(Operation::Write(swap), Shape::Flag)
}

pub(super) fn set_many(command: &Command, arguments: &[Bytes]) -> Result<Task, Value> {
    let (pairs, []) = arguments.as_chunks::<2>() else {
        return Err(errors::wrong_arity(command, None));
    };
    Ok(Task::SetMany(pairs.iter().map(|[key, value]| (key.clone(), value.clone())).collect()))
}

pub(super) fn decrement_by(arguments: &[Bytes]) -> Result<Task, Value> {
    let by = integer(&arguments[1])?
        .checked_neg()
        .ok_or(errors::constant("ERR decrement would overflow"))?;
    Ok(write(Write::Increment { key: arguments[0].clone(), by }))
}

pub(super) fn get_range(arguments: &[Bytes]) -> Result<Task, Value> {
    let (start, end) = (integer(&arguments[1])?, integer(&arguments[2])?);
    Ok(read(Read::GetRange { key: arguments[0].clone(), start, end }))
}

pub(super) fn set_range(arguments: &[Bytes]) -> Result<Task, Value> {
    let offset = integer(&arguments[1])?;
    if offset < 0 {
        return Err(Value::error(format!("ERR {}", Refusal::OffsetOutOfRange)));
    }
    let (key, value) = (arguments[0].clone(), arguments[2].clone());
    Ok(write(Write::SetRange { key, offset, value }))
}

/// The expiry that `name` and its value choose; `None` if it is no such option.
fn expiry_option(
    name: &str,
    options: &mut Options<'_>,
    command: &str,
) -> Result<Option<Expiry>, Value> {
    let seconds = matches!(name, "EX" | "EXAT");
    Ok(match name {
        "EX" | "PX" => Some(Expiry::In(life(options.value()?, seconds, command)?)),
        "EXAT" | "PXAT" => Some(Expiry::At(life(options.value()?, seconds, command)?)),
        _ => None,
    })
}

/// Chooses among options that exclude each other.
fn once<T>(chosen: &mut Option<T>, choice: T) -> Result<(), Value> {
    if chosen.is_some() {
        return Err(SYNTAX);
    }
    *chosen = Some(choice);
    Ok(())
}
