//! How far a task is, for the person who waits.

use std::io::{IsTerminal as _, Write as _};

/// One line on the standard error that changes: over itself for a person, below each other in a log.
pub(crate) struct ProgressLine {
    over: bool,
    shown: String,
}

impl ProgressLine {
    /// Nothing is shown yet.
    pub(crate) fn new() -> ProgressLine {
        ProgressLine { over: std::io::stderr().is_terminal(), shown: String::new() }
    }

    /// Shows `words` instead of what is shown.
    pub(crate) fn show(&mut self, words: &str) {
        if self.shown == words {
            return;
        }
        let mut out = std::io::stderr().lock();
        // A terminal that is gone must not end the wait.
        let _ = if self.over {
            write!(out, "\r\x1b[2K{words}").and_then(|()| out.flush())
        } else {
            writeln!(out, "{words}")
        };
        words.clone_into(&mut self.shown);
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.over && !self.shown.is_empty() {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}
