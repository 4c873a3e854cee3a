//! Where in the log the changes of the configuration are, and which of them the disk knows as committed.

use std::collections::BTreeSet;

use flin_state::ids::LogIndex;

/// The changes of the configuration in one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trail {
    /// An index at or after the last change that is durably known as committed, and before any of `open`.
    known: LogIndex,
    /// The later changes, in the log or about to be.
    open: BTreeSet<LogIndex>,
}

impl Trail {
    /// The trail of a log whose changes up to `known` are durably known as committed.
    pub fn new(known: LogIndex) -> Self {
        Trail { known, open: BTreeSet::new() }
    }

    /// There is a change at `index`, the last entry of the log.
    pub fn note(&mut self, index: LogIndex) {
        self.open.insert(index);
    }

    /// Everything from `index` on is replaced.
    pub fn cut(&mut self, index: LogIndex) {
        self.open.split_off(&index);
    }

    /// The log holds `commit` as committed, durably.
    pub fn settle(&mut self, commit: LogIndex) {
        let later = self.open.split_off(&commit.next());
        if let Some(last) = std::mem::replace(&mut self.open, later).last() {
            self.known = *last;
        }
    }

    /// Whether `commit` covers a change that the disk does not know as committed.
    pub fn is_owed(&self, commit: LogIndex) -> bool {
        self.open.first().is_some_and(|index| *index <= commit)
    }

    /// An index at or after the last change, if the disk knows all of them as committed.
    pub fn all_known(&self) -> Option<LogIndex> {
        self.open.is_empty().then_some(self.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_owed_from_its_commit_until_the_disk_knows() {
        let mut trail = Trail::new(LogIndex(5));
        assert_eq!(trail.all_known(), Some(LogIndex(5)));
        trail.note(LogIndex(8));
        trail.note(LogIndex(11));
        assert!(!trail.is_owed(LogIndex(7)) && trail.is_owed(LogIndex(8)));
        assert_eq!(trail.all_known(), None);
        trail.settle(LogIndex(10));
        assert!(!trail.is_owed(LogIndex(10)) && trail.is_owed(LogIndex(11)));
        trail.settle(LogIndex(12));
        assert_eq!(trail.all_known(), Some(LogIndex(11)));
    }

    #[test]
    fn a_replaced_change_is_forgotten() {
        let mut trail = Trail::new(LogIndex(5));
        trail.note(LogIndex(8));
        trail.cut(LogIndex(8));
        assert_eq!(trail.all_known(), Some(LogIndex(5)));
    }
}
