//! What the text of a setting may be, and what it becomes.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The form of a setting, with its limits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Any text but the empty one.
    Text,
    /// Any text.
    OptionalText,
    /// A path that must be given.
    Path,
    /// A path, or empty for none.
    OptionalPath,
    /// An address to listen on.
    Address,
    /// An address to call, by name or number, or empty for none.
    OptionalHostPort,
    /// Yes or no.
    Flag,
    /// A number within limits.
    Number { min: u64, max: u64 },
    /// A size within limits.
    Bytes { min: u64, max: u64 },
    /// One of a few words.
    OneOf(&'static [&'static str]),
    /// A log level, or levels by target.
    LogFilter,
}

/// A setting's value once its form is known to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Path(PathBuf),
    Address(SocketAddr),
    Flag(bool),
    Number(u64),
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const UNITS: [(&str, u64); 4] = [("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)];
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

impl Kind {
    /// The value that `text` stands for.
    ///
    /// # Errors
    /// What it must be instead, limits included.
    pub(crate) fn parse(self, text: &str) -> Result<Value, String> {
        let wrong = || format!("must be {self}");
        match self {
            Kind::Text if text.is_empty() => Err(wrong()),
            Kind::Text | Kind::OptionalText => Ok(Value::Text(text.to_owned())),
            Kind::Path if text.is_empty() => Err(wrong()),
            Kind::Path | Kind::OptionalPath => Ok(Value::Path(text.into())),
            Kind::Address => text.parse().map(Value::Address).map_err(|_| wrong()),
            Kind::OptionalHostPort if text.is_empty() || is_host_port(text) => {
                Ok(Value::Text(text.to_owned()))
            }
            Kind::OptionalHostPort => Err(wrong()),
            Kind::Flag => text.parse().map(Value::Flag).map_err(|_| wrong()),
            Kind::Number { min, max } => within(number(text), min, max).ok_or_else(wrong),
            Kind::Bytes { min, max } => within(size(text), min, max).ok_or_else(wrong),
            Kind::OneOf(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
            Kind::OneOf(_) => Err(wrong()),
            Kind::LogFilter if text.split(',').all(is_directive) => {
                Ok(Value::Text(text.to_owned()))
            }
            Kind::LogFilter => Err(wrong()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Text => f.write_str("a text"),
            Kind::OptionalText => f.write_str("a text, or empty for none"),
            Kind::Path => f.write_str("a path"),
            Kind::OptionalPath => f.write_str("a path, or empty for none"),
            Kind::Address => f.write_str("an IP address and port"),
            Kind::OptionalHostPort => {
                f.write_str("a host and port (`host:port`), or empty for none")
            }
            Kind::Flag => f.write_str("true or false"),
            Kind::Number { min, max } => write!(f, "a number from {min} to {max}"),
            Kind::Bytes { min, max } => {
                write!(f, "a size from {} to {}", Size(*min), Size(*max))
            }
            Kind::OneOf(words) => f.write_str(&words.join(" or ")),
            Kind::LogFilter => {
                write!(f, "one of {}, or a list like info,flin_node=debug", LEVELS.join(", "))
            }
        }
    }
}

/// A number of bytes, written with the largest unit that divides it.
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => self.0.fmt(f),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.replace('_', "").parse().ok()
}

fn size(text: &str) -> Option<u64> {
    let unit = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
    let (digits, unit) = unit.unwrap_or((text, 1));
    number(digits.trim_end())?.checked_mul(unit)
}

fn within(number: Option<u64>, min: u64, max: u64) -> Option<Value> {
    number.filter(|n| (min..=max).contains(n)).map(Value::Number)
}

/// What the cluster's state takes for an address that others can call.
fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// The subscriber's own parser would take a misspelt level for the name of a target.
fn is_directive(text: &str) -> bool {
    let level = text.rsplit_once('=').map_or(text, |(_, level)| level);
    LEVELS.contains(&level)
}

/// The Rust type of a setting's field.
pub(crate) trait FromValue: Sized {
    /// The value as this type; `None` if its kind does not fit, which a test rules out.
    fn from_value(value: &Value) -> Option<Self>;

    /// The value as a text that its kind would take.
    fn to_text(&self) -> String;
}

macro_rules! from_value {
    ($($type:ty: $variant:ident, $from:expr, $to:expr;)+) => {
        $(impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                let Value::$variant(inner) = value else { return None };
                $from(inner)
            }

            fn to_text(&self) -> String {
                $to(self)
            }
        })+
    };
}

from_value! {
    String: Text, |text: &String| Some(text.clone()), String::clone;
    Option<String>: Text, |text: &String| Some(Some(text.clone()).filter(|text| !text.is_empty())),
        |text: &Option<String>| text.clone().unwrap_or_default();
    PathBuf: Path, |path: &PathBuf| Some(path.clone()), |path: &PathBuf| path.display().to_string();
    Option<PathBuf>: Path, |path: &PathBuf| optional_path(path), |path: &Option<PathBuf>| {
        path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    };
    SocketAddr: Address, |address: &SocketAddr| Some(*address), SocketAddr::to_string;
    bool: Flag, |flag: &bool| Some(*flag), bool::to_string;
    u64: Number, |number: &u64| Some(*number), u64::to_string;
    u32: Number, |number: &u64| u32::try_from(*number).ok(), u32::to_string;
    usize: Number, |number: &u64| usize::try_from(*number).ok(), usize::to_string;
}

fn optional_path(path: &Path) -> Option<Option<PathBuf>> {
    Some(Some(path.to_owned()).filter(|path| !path.as_os_str().is_empty()))
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => text.fmt(f),
            Value::Path(path) => path.display().fmt(f),
            Value::Address(address) => address.fmt(f),
            Value::Flag(flag) => flag.fmt(f),
            Value::Number(number) => number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_may_carry_a_unit() {
        let kind = Kind::Bytes { min: 0, max: u64::MAX };
        for (text, bytes) in
            [("17", 17), ("64KiB", 64 << 10), ("16 MiB", 16 << 20), ("2GiB", 2 << 30)]
        {
            assert_eq!(kind.parse(text), Ok(Value::Number(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "16MB", "99999999999TiB"] {
            assert!(kind.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refusal_names_the_limits() {
        let kind = Kind::Number { min: 1, max: 10 };
        assert_eq!(kind.parse("11"), Err("must be a number from 1 to 10".to_owned()));
        let kind = Kind::Bytes { min: 1 << 20, max: 1 << 30 };
        assert_eq!(kind.parse("17"), Err("must be a size from 1MiB to 1GiB".to_owned()));
    }

    #[test]
    fn address_to_call_needs_host_and_port() {
        for good in ["", "demo-0.demo-nodes:6383", "10.0.0.7:6383", "[::1]:6383"] {
            assert!(Kind::OptionalHostPort.parse(good).is_ok(), "{good}");
        }
        for bad in ["demo-0", ":6383", "demo-0:", "demo-0:0", "demo-0:70000"] {
            assert!(Kind::OptionalHostPort.parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn misspelt_log_level_is_refused() {
        assert!(Kind::LogFilter.parse("info,flin_node::groups=debug").is_ok());
        assert!(Kind::LogFilter.parse("inof").is_err());
        assert!(Kind::LogFilter.parse("info,flin_node=loud").is_err());
    }
}
