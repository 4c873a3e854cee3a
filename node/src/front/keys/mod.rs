//! Commands about keys, turned into operations of partitions.
//!
//! Everything about a request that does not depend on state is checked here, so that what is surely refused
//! never reaches a log.

mod generic;
mod options;
mod string;

use bytes::Bytes;
use flin_resp::Value;
use flin_resp::commands::Command;
use flin_state::operation::{Read, Reply, Write};

use super::errors::{self, SYNTAX};
use super::lanes::Operation;
use super::scan::Scan;

/// What a command about keys asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Task {
    /// One operation on one key, the command's first argument.
    One(Operation, Shape),
    /// Values of keys, in their order.
    GetMany(Vec<Bytes>),
    /// Keys and values to set.
    SetMany(Vec<(Bytes, Bytes)>),
    /// Keys to remove; the answer is how many there were.
    Delete(Vec<Bytes>),
    /// Keys to be counted if they exist.
    Exists(Vec<Bytes>),
    /// The number of all keys.
    Count,
    /// No more keys.
    Flush,
    /// A page of all keys.
    Scan(Scan),
}

/// How the reply of a partition is said in RESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// As it is.
    Plain,
    /// 1 for done and 0 for not.
    Flag,
    /// OK for done and null for not, whatever the value that stood in the way.
    OkOrNull,
}

/// What `command` with its `arguments` (the name first, their number already checked) asks for.
///
/// # Errors
/// The error reply for a request that is malformed.
pub(super) fn task(command: &Command, arguments: &[Bytes]) -> Result<Task, Value> {
    let rest = &arguments[1..];
    let key = || rest[0].clone();
    let task = match command.name {
        "append" => write(Write::Append { key: key(), value: rest[1].clone() }),
        "dbsize" => Task::Count,
        "decr" => write(Write::Increment { key: key(), by: -1 }),
        "decrby" => string::decrement_by(rest)?,
        "del" | "unlink" => Task::Delete(rest.to_vec()),
        "delifeq" => string::delete_if_equal(rest),
        "exists" | "touch" => Task::Exists(rest.to_vec()),
        "expire" | "expireat" | "pexpire" | "pexpireat" => generic::expire(command.name, rest)?,
        "expiretime" | "pexpiretime" | "ttl" | "pttl" => generic::ttl(command.name, rest),
        "flushall" | "flushdb" => generic::flush(rest)?,
        "get" => read(Read::Get { key: key() }),
        "getdel" => write(Write::GetDel { key: key() }),
        "getex" => string::get_and_expire(rest)?,
        "getrange" => string::get_range(rest)?,
        "getset" => string::get_and_set(rest),
        "incr" => write(Write::Increment { key: key(), by: 1 }),
        "incrby" => write(Write::Increment { key: key(), by: options::integer(&rest[1])? }),
        "mget" => Task::GetMany(rest.to_vec()),
        "mset" => string::set_many(command, rest)?,
        "persist" => write(Write::Persist { key: key() }),
        "psetex" | "setex" => string::set_with_life(command.name, rest)?,
        "scan" => Task::Scan(generic::scan(rest)?),
        "set" => string::set(rest)?,
        "setnx" => string::set_if_absent(rest),
        "setrange" => string::set_range(rest)?,
        "strlen" => read(Read::Length { key: key() }),
        "type" => read(Read::Type { key: key() }),
        // The table and this match are held together by a test.
        _ => return Err(SYNTAX),
    };
    check(&task)
        .map_err(|refusal| Value::error(format!("ERR {}", refusal.words_for(command.name))))?;
    Ok(task)
}

/// The limits of keys and values, for what is split by partition only later too.
fn check(task: &Task) -> Result<(), flin_state::operation::Refusal> {
    match task {
        Task::One(Operation::Write(write), _) => write.check(),
        Task::One(Operation::Read(read), _) => read.check(),
        Task::GetMany(keys) | Task::Delete(keys) | Task::Exists(keys) => {
            keys.iter().try_for_each(|key| Read::Get { key: key.clone() }.check())
        }
        Task::SetMany(pairs) => {
            pairs.iter().try_for_each(|(key, value)| Write::set(key.clone(), value.clone()).check())
        }
        Task::Scan(scan) => scan.check(),
        Task::Count | Task::Flush => Ok(()),
    }
}

fn write(write: Write) -> Task {
    Task::One(Operation::Write(write), Shape::Plain)
}

fn read(read: Read) -> Task {
    Task::One(Operation::Read(read), Shape::Plain)
}

/// The reply of a partition in RESP; `command` is the one that asked, for the words of a refusal.
pub(super) fn value(reply: Reply, shape: Shape, command: &Command) -> Value {
    match (reply, shape) {
        (Reply::Refused(refusal), _) => {
            Value::error(format!("ERR {}", refusal.words_for(command.name)))
        }
        (reply, Shape::Flag) => Value::Integer(i64::from(reply == Reply::Ok)),
        (Reply::Ok, _) => Value::OK,
        (_, Shape::OkOrNull) | (Reply::Nil, _) => Value::Null,
        (Reply::Int(number), _) => Value::Integer(number),
        (Reply::Bytes(bytes), _) => Value::Bulk(bytes),
        (Reply::Array(replies), _) => Value::Array(
            replies.into_iter().map(|reply| value(reply, Shape::Plain, command)).collect(),
        ),
        (Reply::Type(kind), _) => Value::Simple(kind.as_str().into()),
        (Reply::Keys(page), _) => Value::Array(page.keys.into_iter().map(Value::Bulk).collect()),
        (Reply::Pairs(page), _) => {
            let pair = |(key, value)| [Value::Bulk(key), Value::Bulk(value)];
            Value::Array(page.pairs.into_iter().flat_map(pair).collect())
        }
    }
}

fn invalid_expire(command: &str) -> Value {
    errors::invalid_expire(command)
}

#[cfg(test)]
mod tests {
    use flin_resp::commands::{self, Scope};
    use flin_state::operation::{Condition, ExpireCondition, Expiry, Moment};

    use super::*;

    pub(super) fn parse(request: &str) -> Result<Task, Value> {
        let arguments: Vec<Bytes> =
            request.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let command = commands::find(&arguments[0]).expect("the command exists");
        assert!(command.accepts(arguments.len()), "{request}");
        task(command, &arguments)
    }

    fn words(request: &str) -> String {
        match parse(request) {
            Err(Value::Error(words)) => words.into_owned(),
            other => panic!("{request} is no error: {other:?}"),
        }
    }

    #[test]
    fn every_command_of_the_table_that_touches_data_is_known_here() {
        for command in commands::all().iter().filter(|c| c.scope != Scope::Connection) {
            let count = usize::try_from(command.arity.unsigned_abs()).expect("small");
            let mut arguments = vec![Bytes::from_static(b"1"); count];
            arguments[0] = Bytes::from_static(command.name.as_bytes());
            let task = task(command, &arguments);
            assert!(task.is_ok(), "{}: {task:?}", command.name);
        }
    }

    #[test]
    fn set_understands_its_options_in_any_order() {
        let set = |expiry, condition, return_old| {
            let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(b"v"));
            Ok(write(Write::Set { key, value, expiry, condition, return_old }))
        };
        assert_eq!(parse("SET k v"), set(Expiry::None, Condition::Always, false));
        assert_eq!(parse("set k v ex 2 nx"), set(Expiry::In(2_000), Condition::IfAbsent, false));
        assert_eq!(parse("set k v XX GET PX 7"), set(Expiry::In(7), Condition::IfPresent, true));
        assert_eq!(parse("set k v KEEPTTL"), set(Expiry::Keep, Condition::Always, false));
        assert_eq!(parse("set k v exat 9"), set(Expiry::At(9_000), Condition::Always, false));
    }

    #[test]
    fn impossible_options_are_syntax_errors() {
        for request in [
            "set k v nx xx",
            "set k v ex 1 px 1",
            "set k v ex 1 keepttl",
            "set k v ex",
            "set k v frobnicate",
            "set k v ifeq a nx",
            "getex k ex 1 persist",
            "flushall now",
            "scan 0 count 0",
            "scan 0 match",
        ] {
            assert_eq!(words(request), "ERR syntax error", "{request}");
        }
    }

    #[test]
    fn numbers_that_cannot_be_are_refused_in_the_words_of_redis() {
        for (request, expected) in [
            ("set k v ex 0", "ERR invalid expire time in 'set' command"),
            ("set k v ex -1", "ERR invalid expire time in 'set' command"),
            ("set k v ex 9223372036854775807", "ERR invalid expire time in 'set' command"),
            ("set k v ex abc", "ERR value is not an integer or out of range"),
            ("setex k 0 v", "ERR invalid expire time in 'setex' command"),
            ("expire k 9223372036854775807", "ERR invalid expire time in 'expire' command"),
            ("expire k 1.5", "ERR value is not an integer or out of range"),
            ("incrby k 1e3", "ERR value is not an integer or out of range"),
            ("decrby k -9223372036854775808", "ERR decrement would overflow"),
            ("setrange k -1 v", "ERR offset is out of range"),
            ("scan abc", "ERR invalid cursor"),
            ("mset a 1 b", "ERR wrong number of arguments for 'mset' command"),
        ] {
            assert_eq!(words(request), expected, "{request}");
        }
    }

    #[test]
    fn expire_conditions_are_combined_only_where_that_means_something() {
        let expire = |condition| {
            let (key, at) = (Bytes::from_static(b"k"), Moment::In(1_000));
            Ok(write(Write::Expire { key, at, condition }))
        };
        assert_eq!(parse("expire k 1"), expire(ExpireCondition::Always));
        assert_eq!(parse("expire k 1 nx"), expire(ExpireCondition::Nx));
        assert_eq!(parse("expire k 1 xx gt"), expire(ExpireCondition::Gt));
        assert_eq!(parse("expire k 1 lt xx"), expire(ExpireCondition::XxLt));
        assert!(words("expire k 1 nx gt").contains("not compatible"));
        assert!(words("expire k 1 gt lt").contains("not compatible"));
        assert!(words("expire k 1 zz").contains("Unsupported option zz"));
    }
}
