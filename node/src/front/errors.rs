//! The words for what went wrong: the one place where a [`RequestError`] becomes a RESP error.
//!
//! MOVED, TRYAGAIN and CLUSTERDOWN are said only when the command was surely not done, because clients
//! send it again on their own; UNKNOWNOUTCOME is said when a write may yet take effect.

use std::borrow::Cow;

use bytes::Bytes;
use flin_groups::requests::{RequestError, View};
use flin_resp::commands::Command;
use flin_resp::{ProtocolError, Value};

use super::Mode;

/// The most of an unknown command that is repeated to whoever sent it, as in Redis.
const QUOTED_BYTES_MAX: usize = 128;

pub(super) const NOAUTH: Value = constant("NOAUTH Authentication required.");
pub(super) const SYNTAX: Value = constant("ERR syntax error");
pub(super) const NOT_AN_INTEGER: Value = constant("ERR value is not an integer or out of range");
pub(super) const CROSSSLOT: Value =
    constant("CROSSSLOT Keys in request don't hash to the same slot");
pub(super) const WRONGPASS: Value =
    constant("WRONGPASS invalid username-password pair or user is disabled.");

pub(super) const fn constant(words: &'static str) -> Value {
    Value::Error(Cow::Borrowed(words))
}

/// What a failed run of operations says to one of them: `slot` is the hash slot of its first key, if it
/// has one, and `write` whether it would have changed something.
pub(super) fn failure(
    error: &RequestError,
    write: bool,
    slot: Option<u16>,
    mode: Mode,
    view: &View,
) -> Value {
    match error {
        RequestError::NotHere { leader: Some(leader) } if mode == Mode::Here => {
            let members = view.cluster.as_ref().map(|cluster| &cluster.members);
            match (slot, members.and_then(|members| members.get(leader))) {
                // A node that just lost or gained the lead must not send clients in circles.
                _ if *leader == view.node => {
                    constant("TRYAGAIN the partition's leadership is moving")
                }
                (Some(slot), Some(member)) => {
                    Value::error(format!("MOVED {slot} {}", member.client_address))
                }
                _ => constant("CLUSTERDOWN the partition's leader is not known here"),
            }
        }
        RequestError::NotHere { .. } => {
            constant("CLUSTERDOWN Hash slot not served: it has no leader")
        }
        RequestError::TryLater(words) => Value::error(format!("TRYAGAIN {words}")),
        RequestError::Unknown(words) if write => Value::error(format!(
            "UNKNOWNOUTCOME the write may or may not have been applied: {words}"
        )),
        RequestError::Unknown(words) => Value::error(format!("TRYAGAIN {words}")),
        RequestError::Refused(words) => Value::error(format!("ERR {words}")),
    }
}

pub(super) fn protocol(error: &ProtocolError) -> Value {
    Value::error(format!("ERR Protocol error: {error}"))
}

pub(super) fn unknown_command(arguments: &[Bytes]) -> Value {
    let quoted = |bytes: &Bytes| {
        let shown = &bytes[..bytes.len().min(QUOTED_BYTES_MAX)];
        format!("'{}'", String::from_utf8_lossy(shown))
    };
    let mut words = String::new();
    for argument in &arguments[1..] {
        if words.len() >= QUOTED_BYTES_MAX {
            break;
        }
        words.push_str(&quoted(argument));
        words.push(' ');
    }
    let name = quoted(&arguments[0]);
    Value::error(format!("ERR unknown command {name}, with args beginning with: {words}"))
}

pub(super) fn wrong_arity(command: &Command, container: Option<&Command>) -> Value {
    let container = container.map_or(String::new(), |container| format!("{}|", container.name));
    Value::error(format!("ERR wrong number of arguments for '{container}{}' command", command.name))
}

pub(super) fn unknown_subcommand(container: &Command, name: &Bytes) -> Value {
    let shown = &name[..name.len().min(QUOTED_BYTES_MAX)];
    Value::error(format!(
        "ERR unknown subcommand '{}'. Try {} HELP.",
        String::from_utf8_lossy(shown),
        container.name.to_uppercase()
    ))
}

pub(super) fn invalid_expire(command: &str) -> Value {
    Value::error(format!("ERR invalid expire time in '{command}' command"))
}
