//! The lines between a pod of ours and the harness: records of the history, and notes about the run.

use std::io::Write as _;

use flin_check::Record;
use serde::{Deserialize, Serialize};

use super::watch::Facts;
use crate::load::report::{Outage, Run, Second, Settled};

/// What a pod says that is no part of the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub(crate) enum Note {
    /// How far a writer or reader is.
    Progress { done: u64 },
    /// A routed client's findings, for people.
    Routed { text: String },
    /// One process was sent a signal.
    Signalled { pid: i32, program: String },
    /// What the cluster says about itself and how it answers.
    Facts(Facts),
    /// One measured run of the benchmark.
    Run(Run),
    /// A second of sustained load.
    Second(Second),
    /// What the benchmark wrote and what was still there at its end.
    Settled(Settled),
    /// Writes to every partition are running; faults may begin. Names the leader where only the store knows.
    Steady { leader: Option<String> },
    /// How long writes were not possible.
    Outage(Outage),
    /// Why the run could not be completed.
    Problem { text: String },
    /// The last line of a complete run.
    Finished {},
}

/// One line of a pod's output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Line {
    Record(Record),
    Note(Note),
    /// Anything else, such as the message of a panic.
    Other(String),
}

impl Line {
    /// Reads a line; whatever is neither record nor note is [`Line::Other`].
    pub(crate) fn parse(line: &str) -> Self {
        if line.starts_with("{\"note\"") {
            if let Ok(note) = serde_json::from_str(line) {
                return Self::Note(note);
            }
        } else if let Ok(record) = Record::parse(line) {
            return Self::Record(record);
        }
        Self::Other(line.to_owned())
    }
}

/// Prints a note.
pub(crate) fn print(note: &Note) {
    let line = serde_json::to_string(note).expect("strings and numbers always serialize");
    print_line(&line);
}

/// Prints one line. A reader that went away is no reason to stop: the history would be lost.
pub(crate) fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let note = serde_json::to_string(&Note::Progress { done: 3 }).expect("serializes");
        assert_eq!(Line::parse(&note), Line::Note(Note::Progress { done: 3 }));
        let record = "{\"read\":\"k\",\"value\":null,\"from\":1,\"to\":2}";
        assert!(matches!(Line::parse(record), Line::Record(_)));
        assert!(matches!(Line::parse("thread 'main' panicked"), Line::Other(_)));
    }
}
