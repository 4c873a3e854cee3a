//! Operations and failures in words, for whoever reads the report of a failed run.

use std::fmt;

use super::failure::{Failure, FailureKind};
use super::operation::{Action, Answer, Operation, Value};

/// How many of the operations that could be ordered are spelled out, counted from the last.
const PREFIX_SHOWN: usize = 12;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, kind, prefix, held, stuck } = self;
        match kind {
            FailureKind::NotLinearizable => write!(f, "object {object} is not linearizable")?,
            FailureKind::Undecided => write!(f, "object {object} is undecided: out of steps")?,
        }
        write!(f, "; {} operations can be ordered, the last of them", prefix.len())?;
        for operation in &prefix[prefix.len().saturating_sub(PREFIX_SHOWN)..] {
            write!(f, "\n  {operation}")?;
        }
        write!(f, "\nthen the keys hold")?;
        for (key, value) in held {
            write!(f, " k{key}={}", Shown(value))?;
        }
        write!(f, "\nand next had to come one of")?;
        for operation in stuck {
            write!(f, "\n  {operation}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.from_us)?;
        match self.to_us {
            Some(to_us) => write!(f, "{to_us}")?,
            None => f.write_str("?")?,
        }
        write!(f, " client {}: {}", self.client, self.action)?;
        match &self.answer {
            Some(answer) => write!(f, " -> {answer}"),
            None => f.write_str(" -> unknown"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(keys) => {
                f.write_str("get")?;
                keys.iter().try_for_each(|key| write!(f, " k{key}"))
            }
            Self::Put { pairs } => {
                f.write_str("put")?;
                pairs.iter().try_for_each(|(key, value)| write!(f, " k{key}={value}"))
            }
            Self::PutFor { key, value, life_us } => {
                write!(f, "put k{key}={value} for {life_us} us")
            }
            Self::Add { key, by } => write!(f, "add {by} to k{key}"),
            Self::CompareAndSet { key, expected, value } => {
                write!(f, "set k{key} from {} to {}", Shown(expected), Shown(value))
            }
            Self::Delete { keys } => {
                f.write_str("delete")?;
                keys.iter().try_for_each(|key| write!(f, " k{key}"))
            }
            Self::Swap { key, value } => write!(f, "swap k{key} for {}", Shown(value)),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Sum(sum) => write!(f, "sum {sum}"),
            Self::Count(count) => write!(f, "{count} of them"),
            Self::Found(value) => write!(f, "found {}", Shown(value)),
            Self::Values(values) => {
                let values: Vec<_> = values.iter().map(|value| Shown(value).to_string()).collect();
                f.write_str(&values.join(" "))
            }
        }
    }
}

/// A value, or that there is none.
struct Shown<'a>(&'a Option<Value>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value}"),
            None => f.write_str("absent"),
        }
    }
}
