//! Where Flin answers unlike Redis, and why. What is not here is a mistake of one of them.

use bytes::Bytes;
use flin_resp::{Value, commands};

use super::name;

/// What is to become of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It stays.
    Meant,
    /// Flin is to answer as Redis does.
    ToBeMended,
}

/// Requests that are answered differently.
pub struct Difference {
    pub what: &'static str,
    pub reason: &'static str,
    pub state: State,
    /// Whether the two servers also do different things to the keys that are named.
    pub parts: bool,
    pub request: fn(&[Bytes]) -> bool,
    /// Redis's reply and ours.
    pub replies: fn(&Value, &Value) -> bool,
}

/// Every declared difference of requests that are sound RESP.
pub const REQUESTS: &[Difference] = &[
    Difference {
        what: "numbers with a zero in front, and -0",
        reason: "Flin reads 007 as 7 (node/src/front/keys/options.rs, `integer`); Redis reads only what it \
                 would write itself.",
        state: State::ToBeMended,
        parts: true,
        request: |request| numbers(request).any(is_odd),
        replies: |redis, _| says(redis, "ERR value is not an integer or out of range"),
    },
    Difference {
        what: "an option that is given twice",
        reason: "Redis takes it once, or the last value of it (node/src/front/keys/string.rs, `once`).",
        state: State::ToBeMended,
        parts: true,
        request: |request| is(request, &["set", "getex"]) && repeats_an_option(request),
        replies: |_, flin| flin.is_error(),
    },
    Difference {
        what: "several mistakes in one request: which of them is told",
        reason: "Redis reads all options before it looks at any number (node/src/front/keys/string.rs and \
                 generic.rs look at them in their order).",
        state: State::ToBeMended,
        parts: false,
        request: |request| is(request, WITH_OPTIONS) && request.len() > 3,
        replies: |redis, flin| redis.is_error() && !about_a_number(redis) && about_a_number(flin),
    },
    Difference {
        what: "GETEX of an absent key with a time that cannot be",
        reason: "Flin refuses what is surely wrong before it asks a partition, so that it never reaches a log.",
        state: State::Meant,
        parts: false,
        request: |request| is(request, &["getex"]),
        replies: |redis, flin| *redis == Value::Null && flin.is_error(),
    },
    Difference {
        what: "a value that is too long",
        reason: "The limit is a number in Flin and a setting in Redis, and each names its own.",
        state: State::Meant,
        parts: false,
        request: |request| is(request, &["append", "setrange"]),
        replies: |redis, flin| {
            let words = "ERR string exceeds maximum allowed size (";
            begins(redis, words) && begins(flin, words)
        },
    },
    Difference {
        what: "SCAN with an empty cursor",
        reason: "Redis begins anew; Flin takes it for the mistake that it is.",
        state: State::Meant,
        parts: false,
        request: |request| is(request, &["scan"]) && request.get(1).is_some_and(Bytes::is_empty),
        replies: |_, flin| says(flin, "ERR invalid cursor"),
    },
    Difference {
        what: "SELECT of another database",
        reason: "There is one, and Flin says so.",
        state: State::Meant,
        parts: false,
        request: |request| is(request, &["select"]),
        replies: |redis, flin| {
            let words = "ERR DB index is out of range";
            says(redis, words) && begins(flin, words)
        },
    },
    Difference {
        what: "SELECT of what is no number",
        reason: "Redis looks at the number first (node/src/front/commands/mod.rs, `select`).",
        state: State::ToBeMended,
        parts: false,
        request: |request| is(request, &["select"]),
        replies: |redis, _| says(redis, "ERR value is not an integer or out of range"),
    },
    Difference {
        what: "an unknown option with a zero byte in it",
        reason: "Redis shows what stands before the zero byte, Flin all of it.",
        state: State::Meant,
        parts: false,
        request: |request| request.iter().skip(3).any(|option| option.contains(&0)),
        replies: |redis, flin| {
            let words = "ERR Unsupported option ";
            begins(redis, words) && begins(flin, words)
        },
    },
    Difference {
        what: "an unknown command: how much of its arguments is repeated",
        reason: "Redis repeats 128 bytes of all and nothing behind a zero; Flin up to 128 of each of the first.",
        state: State::Meant,
        parts: false,
        request: |request| commands::find(&request[0]).is_none(),
        replies: |redis, flin| {
            let words = "ERR unknown command '";
            begins(redis, words) && begins(flin, words)
        },
    },
    Difference {
        what: "COMMAND GETKEYS of a command without arguments",
        reason: "Its arity is -4 in Redis and -3 in crates/resp/src/commands/table.rs.",
        state: State::ToBeMended,
        parts: false,
        request: |request| is(request, &["command"]) && request.len() == 3,
        replies: |redis, _| {
            says(redis, "ERR wrong number of arguments for 'command|getkeys' command")
        },
    },
];

/// Commands with options behind a number or beside one.
const WITH_OPTIONS: &[&str] = &["set", "getex", "expire", "pexpire", "expireat", "pexpireat"];

fn is(request: &[Bytes], names: &[&str]) -> bool {
    names.contains(&name(request).as_str())
}

fn says(value: &Value, words: &str) -> bool {
    matches!(value, Value::Error(said) if said == words)
}

fn begins(value: &Value, words: &str) -> bool {
    matches!(value, Value::Error(said) if said.starts_with(words))
}

fn about_a_number(value: &Value) -> bool {
    begins(value, "ERR invalid expire time in ") || begins(value, "ERR value is not an integer")
}

/// What stands in a request where a number belongs.
fn numbers(request: &[Bytes]) -> impl Iterator<Item = &Bytes> {
    let (fixed, options) = match name(request).as_str() {
        "incrby" | "decrby" | "setrange" | "setex" | "psetex" => (2..3, 0..0),
        "expire" | "pexpire" | "expireat" | "pexpireat" => (2..3, 0..0),
        "getrange" => (2..4, 0..0),
        "set" => (0..0, 3..request.len()),
        "getex" => (0..0, 2..request.len()),
        _ => (0..0, 0..0),
    };
    let fixed = fixed.chain(options);
    fixed.filter_map(|at| request.get(at))
}

/// Whether it is a number in another spelling than Redis's own.
fn is_odd(number: &Bytes) -> bool {
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    let zero_first = digits.first() == Some(&b'0') && digits.iter().all(u8::is_ascii_digit);
    zero_first && number != "0"
}

fn repeats_an_option(request: &[Bytes]) -> bool {
    let options = request.iter().skip(2).filter(|word| word.iter().all(u8::is_ascii_alphabetic));
    let mut options: Vec<_> = options.map(|word| word.to_ascii_uppercase()).collect();
    options.sort_unstable();
    options.windows(2).any(|pair| pair[0] == pair[1])
}

const ZERO_FIRST: &str = "To be mended: Flin reads 01 as 1 (crates/resp/src/request.rs, `number`), Redis reads \
                          only what it would write itself.";

/// Bytes that are no sound requests, or inline ones; with a reason if the answers differ.
pub const STREAMS: &[(&[u8], Option<&str>)] = &[
    (b"PING\r\n", None),
    (b"PING\n", None),
    (b"  PING  \r\n", None),
    (b"\r\n\r\nPING\r\n", None),
    (b"ping \"a b\"\r\n", None),
    (b"ECHO 'it\\'s'\r\n", None),
    (b"ECHO \"\\x41\\n\\t\\\\\\\"\"\r\n", None),
    (b"ECHO \"\"\r\n", None),
    (b"ECHO a\tb\r\n", None),
    (b"SET k \"a\\x00b\"\r\nGET k\r\nDEL k\r\n", None),
    (b"ECHO \"a\r\nPING\r\n", None),
    (b"ECHO \"a\"b\r\nPING\r\n", None),
    (b"ECHO 'a'b\r\nPING\r\n", None),
    (b"*1\r\n$4\r\nPING\r\n", None),
    (b"*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n", None),
    (b"*-7\r\nPING\r\n", None),
    (b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", None),
    (b"*2\r\n$4\r\nECHO\r\n$5\r\na\r\nbc\r\n", None),
    (b"*1\r\n$4\r\nPING\r\nPING\r\n*1\r\n$4\r\nPING\r\n", None),
    (b"*x\r\nPING\r\n", None),
    (b"*\r\nPING\r\n", None),
    (b"*01\r\n$4\r\nPING\r\n", Some(ZERO_FIRST)),
    (b"*+1\r\n$4\r\nPING\r\n", None),
    (b"* 1\r\n$4\r\nPING\r\n", None),
    (b"*99999999999999999999\r\nPING\r\n", None),
    (b"*1\r\n$-1\r\nPING\r\n", None),
    (b"*1\r\n$x\r\nPING\r\n", None),
    (b"*1\r\n$04\r\nPING\r\n", Some(ZERO_FIRST)),
    (b"*1\r\n$99999999999999999999\r\n", None),
    (b"*1\r\nPING\r\n", None),
    (b"*1\r\n+PING\r\n", None),
    (b"*1\r\n\r\nPING\r\n", Some("Flin shows which byte it was, Redis a blank for it.")),
    (b"*1\r\n$4\r\nPING", None),
    (b"*2\r\n$4\r\nECHO\r\n", None),
    (b"*1", None),
    (b"PING", None),
    (b"", None),
    (b"QUIT\r\nPING\r\n", None),
    (b"*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n", None),
    (b"RESET\r\nPING\r\n", None),
    (b"HELLO 3 FROB\r\nPING\r\n", None),
];
