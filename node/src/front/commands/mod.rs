//! Commands that are answered on the spot: about the connection, the node and the topology.

mod client;
mod cluster;
mod server;
mod table;

use bytes::Bytes;
use flin_groups::requests::View;
use flin_resp::Value;
use flin_resp::commands::Command;

use super::Port;
use super::errors;
use super::session::Session;

/// The answer to a command that needs no partition; `None` for the others. The number of arguments has been
/// checked for the command, not for its subcommands.
pub(super) fn answer_locally<R>(
    port: &Port<R>,
    session: &mut Session,
    view: &View,
    command: &'static Command,
    arguments: &[Bytes],
) -> Option<Value> {
    let rest = &arguments[1..];
    Some(match command.name {
        "asking" => errors::constant("ERR ASKING is not needed: this server never answers ASK"),
        "auth" => session.auth(rest, &port.options),
        "client" => sub(command, rest, |name| client::answer(port, session, name, rest)),
        "cluster" => sub(command, rest, |name| cluster::answer(view, name, rest)),
        "command" if rest.is_empty() => table::all(),
        "command" => sub(command, rest, |name| table::answer(name, rest)),
        "config" => sub(command, rest, |name| server::config(&port.options, name, rest)),
        "echo" => Value::Bulk(rest[0].clone()),
        "hello" => session.hello(rest, &port.options),
        "info" => server::info(port, view, rest),
        "ping" => match rest {
            [] => Value::Simple("PONG".into()),
            [message] => Value::Bulk(message.clone()),
            _ => errors::wrong_arity(command, None),
        },
        "quit" | "readonly" | "readwrite" => Value::OK,
        "reset" => session.reset(&port.options),
        "select" if rest[0] == "0" => Value::OK,
        "select" => errors::constant("ERR DB index is out of range: there is only database 0"),
        "time" => server::time(&port.options),
        _ => return None,
    })
}

/// Finds the subcommand that the first of `rest` names, checks the number of arguments, and answers it.
fn sub(container: &'static Command, rest: &[Bytes], answer: impl FnOnce(&str) -> Value) -> Value {
    let Some(command) = container.subcommand(&rest[0]) else {
        return errors::unknown_subcommand(container, &rest[0]);
    };
    if !command.accepts(rest.len() + 1) {
        return errors::wrong_arity(command, Some(container));
    }
    if command.name == "help" {
        return help(container);
    }
    answer(command.name)
}

fn help(container: &Command) -> Value {
    let mut lines = vec![Value::Simple(
        format!("{} <subcommand> [<arg> ...]. Subcommands are:", container.name.to_uppercase())
            .into(),
    )];
    for command in container.subcommands {
        let name = format!("{} {}", command.name.to_uppercase(), command.syntax);
        lines.push(Value::Simple(name.trim_end().to_owned().into()));
        lines.push(Value::Simple(format!("    {}", command.summary).into()));
    }
    Value::Array(lines)
}
