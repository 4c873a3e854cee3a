//! Golden scripts: stories of a partition, in `tests/scripts`.

use std::error::Error;
use std::fmt::Write as _;

use bytes::Bytes;
use flin_state::command::Command;
use flin_state::ids::Timestamp;
use flin_state::operation::{
    Condition, ExpireCondition, Expiry, Moment, Read, Reply, TtlUnit, Write,
};
use flin_state::read::ReadOutcome;
use goldenscript::{ArgumentConsumer, Context, Runner};

use crate::partition::Partition;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Runs each command as one entry. `now=` sets the clock, which else stands still; the writes between
/// `entry` and `end` become one entry, those between `batch` and `end` one batch.
#[derive(Default)]
struct Story {
    partition: Partition,
    now: u64,
    collecting: Option<(String, Vec<Write>)>,
}

impl Story {
    fn apply(&mut self, write: Write) -> Outcome<String> {
        if let Some((_, writes)) = &mut self.collecting {
            writes.push(write);
            return Ok(String::new());
        }
        Ok(show(&self.partition.write(self.now, write)) + "\n")
    }

    fn end(&mut self) -> Outcome<String> {
        let (kind, writes) = self.collecting.take().ok_or("nothing to end")?;
        if kind == "batch" {
            return self.apply(Write::Atomic(writes));
        }
        let command = Command { stamp: Timestamp(self.now), writes };
        let replies = self.partition.run([command]).remove(0);
        Ok(replies.iter().map(|reply| show(reply) + "\n").collect())
    }

    fn ask(&mut self, read: &Read) -> Outcome<String> {
        Ok(match self.partition.try_read(self.now, read) {
            ReadOutcome::Reply(reply) => show(&reply) + "\n",
            ReadOutcome::ExpireFirst => "expire first\n".to_owned(),
        })
    }

    fn dump(&self) -> Outcome<String> {
        let mut out = String::new();
        for (key, record) in self.partition.records() {
            write!(out, "{} = {}", text(&key), text(&record.value))?;
            match record.expires {
                Some(at) => writeln!(out, " until {at}")?,
                None => writeln!(out)?,
            }
        }
        let state = &self.partition.state;
        writeln!(out, "{} keys at {}", state.keys, state.last_time)?;
        Ok(out)
    }
}

impl Runner for Story {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _: &Context) -> Outcome<String> {
        let mut args = Args(command.consume_args());
        if let Some(now) = args.number::<u64>("now")? {
            self.now = now;
        }
        let output = match command.name.as_str() {
            "now" => String::new(),
            "dump" => self.dump()?,
            "entry" | "batch" => {
                self.collecting = Some((command.name.clone(), Vec::new()));
                String::new()
            }
            "end" => self.end()?,
            name => match write(name, &mut args)? {
                Some(write) => self.apply(write)?,
                None => {
                    let read = read(name, &mut args)?;
                    self.ask(&read.ok_or_else(|| format!("unknown command {name}"))?)?
                }
            },
        };
        args.0.reject_next()?;
        Ok(output)
    }
}

struct Args<'a>(ArgumentConsumer<'a>);

impl Args<'_> {
    fn bytes(&mut self) -> Outcome<Bytes> {
        let text = self.0.next_pos().ok_or("an argument is missing")?;
        Ok(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn rest(&mut self) -> Vec<Bytes> {
        std::iter::from_fn(|| self.bytes().ok()).collect()
    }

    fn named(&mut self, name: &str) -> Option<Bytes> {
        self.0.take_key(name).map(|text| Bytes::copy_from_slice(text.as_bytes()))
    }

    fn number<T: std::str::FromStr>(&mut self, name: &str) -> Outcome<Option<T>>
    where
        T::Err: Error + 'static,
    {
        Ok(self.0.take_key(name).map(str::parse).transpose()?)
    }

    fn expiry(&mut self) -> Outcome<Expiry> {
        if let Some(ms) = self.number("in")? {
            return Ok(Expiry::In(ms));
        }
        if let Some(ms) = self.number("at")? {
            return Ok(Expiry::At(ms));
        }
        Ok(match self.0.take_key("life") {
            Some("keep") => Expiry::Keep,
            None | Some("forever") => Expiry::None,
            Some(other) => return Err(format!("unknown life {other}").into()),
        })
    }
}

fn write(name: &str, args: &mut Args<'_>) -> Outcome<Option<Write>> {
    Ok(Some(match name {
        "set" => Write::Set {
            key: args.bytes()?,
            value: args.bytes()?,
            expiry: args.expiry()?,
            condition: match args.0.take_key("if") {
                None => Condition::Always,
                Some("absent") => Condition::IfAbsent,
                Some("present") => Condition::IfPresent,
                Some(other) => return Err(format!("unknown condition {other}").into()),
            },
            return_old: args.0.take_key("old").is_some(),
        },
        "mset" => {
            let all = args.rest();
            let pairs = all.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
            Write::SetMany { pairs: pairs.collect() }
        }
        "getdel" => Write::GetDel { key: args.bytes()? },
        "getex" => Write::GetEx { key: args.bytes()?, expiry: args.expiry()? },
        "del" => Write::Delete { keys: args.rest() },
        "incr" => Write::Increment { key: args.bytes()?, by: args.number("by")?.unwrap_or(1) },
        "append" => Write::Append { key: args.bytes()?, value: args.bytes()? },
        "setrange" => Write::SetRange {
            key: args.bytes()?,
            offset: args.number("offset")?.ok_or("no offset")?,
            value: args.bytes()?,
        },
        "expire" => Write::Expire {
            key: args.bytes()?,
            at: match args.number("in")? {
                Some(ms) => Moment::In(ms),
                None => Moment::At(args.number("at")?.ok_or("no moment")?),
            },
            condition: match args.0.take_key("only") {
                None => ExpireCondition::Always,
                Some("nx") => ExpireCondition::Nx,
                Some("xx") => ExpireCondition::Xx,
                Some("gt") => ExpireCondition::Gt,
                Some("lt") => ExpireCondition::Lt,
                Some("xxlt") => ExpireCondition::XxLt,
                Some(other) => return Err(format!("unknown condition {other}").into()),
            },
        },
        "persist" => Write::Persist { key: args.bytes()? },
        "cas" => Write::CompareAndSet {
            key: args.bytes()?,
            expected: args.named("expected"),
            value: args.named("value"),
        },
        "flush" => Write::Flush,
        "expire-due" => Write::ExpireDue { limit: args.number("limit")?.unwrap_or(100) },
        _ => return Ok(None),
    }))
}

fn read(name: &str, args: &mut Args<'_>) -> Outcome<Option<Read>> {
    let ttl = |args: &mut Args<'_>, unit, absolute| {
        Ok::<_, Box<dyn Error>>(Read::Ttl { key: args.bytes()?, unit, absolute })
    };
    Ok(Some(match name {
        "get" => Read::Get { key: args.bytes()? },
        "get-with-ttl" => Read::GetWithTtl { key: args.bytes()? },
        "mget" => Read::GetMany { keys: args.rest() },
        "exists" => Read::Exists { keys: args.rest() },
        "strlen" => Read::Length { key: args.bytes()? },
        "getrange" => Read::GetRange {
            key: args.bytes()?,
            start: args.number("start")?.ok_or("no start")?,
            end: args.number("end")?.ok_or("no end")?,
        },
        "ttl" => ttl(args, TtlUnit::Seconds, false)?,
        "pttl" => ttl(args, TtlUnit::Milliseconds, false)?,
        "expiretime" => ttl(args, TtlUnit::Seconds, true)?,
        "pexpiretime" => ttl(args, TtlUnit::Milliseconds, true)?,
        "type" => Read::Type { key: args.bytes()? },
        "count" => Read::Count,
        "scan" => Read::ScanByHash {
            position: args.number("position")?.unwrap_or(0),
            count: args.number("count")?.unwrap_or(10),
            pattern: args.named("match"),
        },
        "range" => Read::ScanRange {
            from: args.named("from").unwrap_or_default(),
            to: args.named("to"),
            limit: args.number("limit")?.unwrap_or(100),
        },
        _ => return Ok(None),
    }))
}

fn text(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

fn show(reply: &Reply) -> String {
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    match reply {
        Reply::Ok => "ok".to_owned(),
        Reply::Nil => "nil".to_owned(),
        Reply::Int(number) => number.to_string(),
        Reply::Bytes(bytes) => text(bytes),
        Reply::Array(replies) => list(replies.iter().map(show).collect()),
        Reply::Type(kind) => kind.to_string(),
        Reply::Keys(page) => {
            let keys = list(page.keys.iter().map(|key| text(key)).collect());
            page.next.map_or(keys.clone(), |next| format!("{keys} next {next}"))
        }
        Reply::Pairs(page) => {
            let pair = |(key, value): &(Bytes, Bytes)| format!("{} = {}", text(key), text(value));
            let pairs = list(page.pairs.iter().map(pair).collect());
            let next = page.next.as_ref();
            next.map_or(pairs.clone(), |next| format!("{pairs} next {}", text(next)))
        }
        Reply::Refused(refusal) => format!("refused: {refusal}"),
    }
}

macro_rules! stories {
    ($($name:ident),+ $(,)?) => {
        $(
            #[test]
            fn $name() -> std::io::Result<()> {
                goldenscript::run(
                    &mut Story::default(),
                    concat!("tests/scripts/", stringify!($name)),
                )
            }
        )+

        #[test]
        fn every_script_is_run() {
            let mut named: Vec<&str> = vec![$(stringify!($name)),+];
            named.sort_unstable();
            let mut there: Vec<_> = std::fs::read_dir("tests/scripts")
                .expect("readable")
                .map(|entry| entry.expect("readable").file_name().into_string().expect("text"))
                .collect();
            there.sort();
            assert_eq!(there, named);
        }
    };
}

stories!(batches, compare_and_set, counters, expire_conditions, expiry, flush, scans, set, strings);
