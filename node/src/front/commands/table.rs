//! COMMAND: the table of commands, as clients that route by it expect to read it.

use bytes::Bytes;
use flin_resp::Value;
use flin_resp::commands::{self, Command, Flag, Group, Keys};

use crate::front::errors::{self, SYNTAX};
use flin_state::read::matches;

/// Answers `COMMAND` by itself.
pub(super) fn all() -> Value {
    Value::Array(commands::all().iter().map(|command| entry(command, None)).collect())
}

/// Answers `COMMAND name`; `arguments` begin with the subcommand's name, their number is right.
pub(super) fn answer(name: &str, arguments: &[Bytes]) -> Value {
    let named = &arguments[1..];
    match name {
        "count" => Value::Integer(i64::try_from(commands::all().len()).unwrap_or(i64::MAX)),
        "info" if named.is_empty() => all(),
        "info" => Value::Array(
            named
                .iter()
                .map(|name| {
                    commands::find(name).map_or(Value::Null, |command| entry(command, None))
                })
                .collect(),
        ),
        "docs" => docs(named),
        "list" => list(named),
        "getkeys" => keys_of(named),
        _ => SYNTAX,
    }
}

fn list(filter: &[Bytes]) -> Value {
    let names = commands::all().iter().map(|command| command.name);
    match filter {
        [] => Value::Array(names.map(Value::text).collect()),
        [by, what, pattern]
            if by.eq_ignore_ascii_case(b"filterby") && what.eq_ignore_ascii_case(b"pattern") =>
        {
            let pattern = pattern.to_ascii_lowercase();
            let names = names.filter(|name| matches(&pattern, name.as_bytes()));
            Value::Array(names.map(Value::text).collect())
        }
        _ => SYNTAX,
    }
}

fn keys_of(request: &[Bytes]) -> Value {
    let Some(command) = commands::find(&request[0]) else {
        return errors::constant("ERR Invalid command specified");
    };
    if !command.accepts(request.len()) {
        return errors::constant("ERR Invalid number of arguments specified for command");
    }
    let keys: Vec<Value> = command.keys(request).cloned().map(Value::Bulk).collect();
    if keys.is_empty() {
        return errors::constant("ERR The command has no key arguments");
    }
    Value::Array(keys)
}

fn docs(named: &[Bytes]) -> Value {
    let chosen: Vec<&Command> = match named {
        [] => commands::all().iter().collect(),
        _ => named.iter().filter_map(|name| commands::find(name)).collect(),
    };
    Value::Map(
        chosen.into_iter().map(|command| (Value::text(command.name), doc(command, None))).collect(),
    )
}

fn doc(command: &'static Command, container: Option<&'static Command>) -> Value {
    let mut fields = vec![
        (Value::text("summary"), Value::text(command.summary)),
        (Value::text("since"), Value::text("0.1.0")),
        (Value::text("group"), Value::text(command.group.name())),
    ];
    if !command.subcommands.is_empty() {
        let subcommands = command
            .subcommands
            .iter()
            .map(|below| (full_name(below, Some(command)), doc(below, Some(command))))
            .collect();
        fields.push((Value::text("subcommands"), Value::Map(subcommands)));
    }
    debug_assert!(container.is_none() || command.subcommands.is_empty());
    Value::Map(fields)
}

/// The ten fields that Redis 7 answers for a command.
fn entry(command: &'static Command, container: Option<&'static Command>) -> Value {
    let (first, last, step) = match command.keys {
        Keys::None => (0, 0, 0),
        Keys::Range { first, last, step } => (signed(first), last as i64, signed(step)),
    };
    let simple = |text: &'static str| Value::Simple(text.into());
    Value::Array(vec![
        full_name(command, container),
        Value::Integer(i64::from(command.arity)),
        Value::Set(command.flags.iter().map(|flag| simple(flag.name())).collect()),
        Value::Integer(first),
        Value::Integer(last),
        Value::Integer(step),
        Value::Set(categories(command).into_iter().map(simple).collect()),
        Value::Array(Vec::new()),
        Value::Array(key_specifications(command)),
        Value::Array(command.subcommands.iter().map(|below| entry(below, Some(command))).collect()),
    ])
}

fn full_name(command: &'static Command, container: Option<&'static Command>) -> Value {
    match container {
        None => Value::text(command.name),
        Some(container) => Value::bulk(format!("{}|{}", container.name, command.name)),
    }
}

fn categories(command: &Command) -> Vec<&'static str> {
    let mut categories = match command.group {
        Group::String => vec!["@string"],
        Group::Generic => vec!["@keyspace"],
        Group::Connection | Group::Cluster => vec!["@connection"],
        Group::Server => vec![],
    };
    for (flag, category) in
        [(Flag::Write, "@write"), (Flag::ReadOnly, "@read"), (Flag::Admin, "@admin")]
    {
        if command.has(flag) {
            categories.push(category);
        }
    }
    categories.push(if command.has(Flag::Fast) { "@fast" } else { "@slow" });
    categories
}

fn key_specifications(command: &Command) -> Vec<Value> {
    let Keys::Range { first, last, step } = command.keys else { return Vec::new() };
    let map = |fields: Vec<(&'static str, Value)>| {
        Value::Map(fields.into_iter().map(|(name, value)| (Value::text(name), value)).collect())
    };
    let access = if command.has(Flag::Write) { "RW" } else { "RO" };
    // In a specification the last key is counted from the first one.
    let last = if last < 0 { last as i64 } else { last as i64 - signed(first) };
    let range = map(vec![
        ("lastkey", Value::Integer(last)),
        ("keystep", Value::Integer(signed(step))),
        ("limit", Value::Integer(0)),
    ]);
    vec![map(vec![
        ("flags", Value::Set(vec![Value::Simple(access.into())])),
        (
            "begin_search",
            map(vec![
                ("type", Value::text("index")),
                ("spec", map(vec![("index", Value::Integer(signed(first)))])),
            ]),
        ),
        ("find_keys", map(vec![("type", Value::text("range")), ("spec", range)])),
    ])]
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
