//! What clients recorded: JSON lines, one record each, in any order.
//!
//! ```text
//! {"write":"k17","value":"17.0","from":120,"to":310,"outcome":"acknowledged"}
//! {"write":"k17","value":null,"from":400,"to":5400,"outcome":"maybe"}
//! {"read":"k17","value":"17.0","from":9000,"to":9100}
//! ```
//! `from` is when the client sent the request, `to` when it had the answer or gave up, both of one clock
//! in any unit. `value` is what was written or seen; `null` is a deletion or an absent key. Recorders may
//! round times down: rounding makes operations overlap more, which only ever excuses, never accuses.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest line that [`History::parse`] accepts, in bytes: longer ones are no record of ours.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// One thing that a client did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Record {
    /// A write, whatever became of it.
    Write(Write),
    /// A read that was answered. Reads without an answer say nothing and are not recorded.
    Read(Read),
}

/// A write of one key. Values are unique among the writes of a key, so that a read tells which it saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// The key.
    #[serde(rename = "write")]
    pub key: String,
    /// The value put there; `None` removes the key.
    #[serde(deserialize_with = "present")]
    pub value: Option<String>,
    /// When the request was first sent.
    pub from: u64,
    /// When the answer came, or the client gave up waiting.
    pub to: u64,
    /// What the client was told.
    pub outcome: Outcome,
}

/// What a client knows about its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The cluster said it is done.
    Acknowledged,
    /// No answer, or the answer that the outcome is unknown: it may take effect at any later time.
    Maybe,
    /// The cluster said that it was surely not done.
    Failed,
}

/// An answered read of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// The key.
    #[serde(rename = "read")]
    pub key: String,
    /// What was there; `None` when the key was absent.
    #[serde(deserialize_with = "present")]
    pub value: Option<String>,
    /// When the request was sent.
    pub from: u64,
    /// When the answer came.
    pub to: u64,
}

/// Everything that was recorded of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The records, in the order in which they were added; the order means nothing.
    pub records: Vec<Record>,
}

/// Why a history cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HistoryError {
    /// A line that is not one of our records.
    #[error("line {line} is no record: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The parser's words.
        reason: String,
    },
    /// A line longer than [`LINE_BYTES_MAX`].
    #[error("line {line} has {bytes} bytes, more than {LINE_BYTES_MAX}")]
    LineTooLong {
        /// Counted from 1.
        line: usize,
        /// Its length.
        bytes: usize,
    },
    /// A record that ends before it begins.
    #[error("an operation on {key:?} ends at {to}, before it begins at {from}")]
    Backwards {
        /// The key.
        key: String,
        /// Its beginning.
        from: u64,
        /// Its end.
        to: u64,
    },
    /// Two writes of one key with the same value: a read could not tell them apart.
    #[error("two writes put the same value {value:?} into {key:?}")]
    Ambiguous {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
}

impl History {
    /// Reads JSON lines; empty lines are skipped.
    ///
    /// # Errors
    /// [`HistoryError::Line`] or [`HistoryError::LineTooLong`] for the first line that is no record.
    pub fn parse(text: &str) -> Result<Self, HistoryError> {
        let mut history = Self::default();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            history.records.push(Record::parse(line).map_err(|e| e.at_line(at + 1))?);
        }
        Ok(history)
    }

    /// Adds a record.
    pub fn push(&mut self, record: impl Into<Record>) {
        self.records.push(record.into());
    }

    /// The history as JSON lines, the inverse of [`History::parse`].
    pub fn to_lines(&self) -> String {
        self.records.iter().map(|record| record.to_line() + "\n").collect()
    }
}

impl Extend<Record> for History {
    fn extend<T: IntoIterator<Item = Record>>(&mut self, records: T) {
        self.records.extend(records);
    }
}

impl Record {
    /// Reads one line.
    ///
    /// # Errors
    /// [`HistoryError::Line`] or [`HistoryError::LineTooLong`], as if it were line 1.
    pub fn parse(line: &str) -> Result<Self, HistoryError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(HistoryError::LineTooLong { line: 1, bytes: line.len() });
        }
        serde_json::from_str(line)
            .map_err(|source| HistoryError::Line { line: 1, reason: source.to_string() })
    }

    /// The record as one line, without its end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always serialize")
    }
}

impl HistoryError {
    fn at_line(self, number: usize) -> Self {
        match self {
            Self::Line { reason, .. } => Self::Line { line: number, reason },
            Self::LineTooLong { bytes, .. } => Self::LineTooLong { line: number, bytes },
            other => other,
        }
    }
}

impl From<Write> for Record {
    fn from(write: Write) -> Self {
        Self::Write(write)
    }
}

impl From<Read> for Record {
    fn from(read: Read) -> Self {
        Self::Read(read)
    }
}

/// A field that may be `null` but not left out: a recorder that forgot the value is not believed.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_lines_are_read() {
        let text = concat!(
            "{\"write\":\"k17\",\"value\":\"17.0\",\"from\":120,\"to\":310,\"outcome\":\"acknowledged\"}\n",
            "\n",
            "{\"write\":\"k17\",\"value\":null,\"from\":400,\"to\":5400,\"outcome\":\"maybe\"}\n",
            "{\"read\":\"k17\",\"value\":\"17.0\",\"from\":9000,\"to\":9100}\n",
        );
        let history = History::parse(text).expect("the lines of the module's head");
        assert_eq!(history.records.len(), 3);
        assert_eq!(history.to_lines(), text.replace("\n\n", "\n"));
    }

    #[test]
    fn a_foreign_line_is_refused_with_its_number() {
        let text = "{\"read\":\"a\",\"value\":null,\"from\":1,\"to\":2}\nhello\n";
        assert!(matches!(History::parse(text), Err(HistoryError::Line { line: 2, .. })));
    }

    #[test]
    fn a_record_that_forgot_its_value_is_refused() {
        assert!(Record::parse("{\"read\":\"a\",\"from\":1,\"to\":2}").is_err());
    }

    #[test]
    fn an_endless_line_is_refused() {
        let line = "x".repeat(LINE_BYTES_MAX + 1);
        let found = Record::parse(&line);
        assert_eq!(found, Err(HistoryError::LineTooLong { line: 1, bytes: LINE_BYTES_MAX + 1 }));
    }
}
