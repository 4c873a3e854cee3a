//! CLIENT: this connection and the others of its port.

use std::sync::Arc;

use bytes::Bytes;
use flin_resp::Value;

use crate::front::Port;
use crate::front::errors::{self, SYNTAX};
use crate::front::registry::Card;
use crate::front::session::{Session, label};

/// Answers `CLIENT name`; `arguments` begin with the subcommand's name, their number is right.
pub(super) fn answer<R>(
    port: &Port<R>,
    session: &Session,
    name: &str,
    arguments: &[Bytes],
) -> Value {
    let card = &session.card;
    match name {
        "id" => integer(card.id),
        "getname" => match card.labels().name.clone() {
            name if name.is_empty() => Value::Null,
            name => Value::bulk(name),
        },
        "setname" => match label(&arguments[1]) {
            Ok(name) => {
                card.labels().name = name;
                Value::OK
            }
            Err(error) => error,
        },
        "setinfo" => set_info(card, &arguments[1], &arguments[2]),
        "info" => Value::Verbatim(format!("{}\n", card.line()).into()),
        "list" => list(port, &arguments[1..]),
        "kill" => kill(port, card, &arguments[1..]),
        "no-evict" | "no-touch" => match &arguments[1] {
            choice if choice.eq_ignore_ascii_case(b"on") => Value::OK,
            choice if choice.eq_ignore_ascii_case(b"off") => Value::OK,
            _ => SYNTAX,
        },
        _ => SYNTAX,
    }
}

fn set_info(card: &Card, name: &Bytes, value: &Bytes) -> Value {
    let value = match label(value) {
        Ok(value) => value,
        Err(error) => return error,
    };
    let mut labels = card.labels();
    match name {
        name if name.eq_ignore_ascii_case(b"lib-name") => labels.library = value,
        name if name.eq_ignore_ascii_case(b"lib-ver") => labels.library_version = value,
        name => {
            let shown = String::from_utf8_lossy(name).into_owned();
            return Value::error(format!("ERR Unrecognized option '{shown}'"));
        }
    }
    Value::OK
}

fn list<R>(port: &Port<R>, filter: &[Bytes]) -> Value {
    let wanted: Option<Vec<u64>> = match filter {
        [] => None,
        [by, ids @ ..] if by.eq_ignore_ascii_case(b"id") && !ids.is_empty() => {
            match ids.iter().map(client_id).collect() {
                Some(ids) => Some(ids),
                None => return errors::constant("ERR Invalid client ID"),
            }
        }
        _ => return SYNTAX,
    };
    let mut lines = String::new();
    for card in port.registry.cards() {
        if wanted.as_ref().is_none_or(|ids| ids.contains(&card.id)) {
            lines.push_str(&card.line());
            lines.push('\n');
        }
    }
    Value::Verbatim(lines.into())
}

/// `ID client-id | ADDR ip:port | LADDR ip:port | SKIPME yes|no ...`
fn kill<R>(port: &Port<R>, own: &Card, filter: &[Bytes]) -> Value {
    let (pairs, []) = filter.as_chunks::<2>() else { return SYNTAX };
    let mut skip_me = true;
    let mut chosen: Vec<Arc<Card>> = port.registry.cards();
    for [name, value] in pairs {
        let text = String::from_utf8_lossy(value).into_owned();
        match name.to_ascii_lowercase().as_slice() {
            b"id" => match client_id(value) {
                Some(id) => chosen.retain(|card| card.id == id),
                None => return errors::constant("ERR client-id should be greater than 0"),
            },
            b"addr" => chosen.retain(|card| card.peer.to_string() == text),
            b"laddr" => chosen.retain(|card| card.local.to_string() == text),
            b"skipme" if text.eq_ignore_ascii_case("yes") => skip_me = true,
            b"skipme" if text.eq_ignore_ascii_case("no") => skip_me = false,
            _ => return SYNTAX,
        }
    }
    chosen.retain(|card| !skip_me || card.id != own.id);
    for card in &chosen {
        card.close.cancel();
    }
    integer(chosen.len() as u64)
}

fn client_id(digits: &Bytes) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|id| *id > 0)
}

fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
