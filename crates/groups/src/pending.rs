//! The writes a leader has proposed and whose fate it does not know yet.
//!
//! An entry is named by index *and* term. Whatever commits at an index decides every proposal at or below
//! it: the same term means this very entry, any other that it was replaced and never happens.

use std::collections::BTreeMap;

use flin_mutant::{Bug, is};
use flin_state::ids::{LogIndex, Term};

/// Who waits for an entry: one waiter per run of writes coalesced into it.
#[derive(Debug)]
pub(crate) struct Pending<W> {
    waiting: BTreeMap<(LogIndex, Term), Vec<W>>,
}

impl<W> Default for Pending<W> {
    fn default() -> Self {
        Pending { waiting: BTreeMap::new() }
    }
}

/// What a committed entry says about the proposals it decides.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decided<W> {
    /// Waiters of the entry itself.
    pub(crate) committed: Vec<W>,
    /// Waiters of entries that will never be: surely not done.
    pub(crate) replaced: Vec<W>,
}

impl<W> Pending<W> {
    /// Remembers who waits for the entry proposed at `index` in `term`.
    pub(crate) fn insert(&mut self, index: LogIndex, term: Term, waiters: Vec<W>) {
        self.waiting.entry((index, term)).or_default().extend(waiters);
    }

    /// The proposals decided by the entry of `term` that committed at `index`.
    pub(crate) fn decide(&mut self, index: LogIndex, term: Term) -> Decided<W> {
        let mut decided = Decided { committed: Vec::new(), replaced: Vec::new() };
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > index {
                break;
            }
            let (key, waiters) = entry.remove_entry();
            if key == (index, term) || (is(Bug::IgnoreTermOfProposals) && key.0 == index) {
                decided.committed = waiters;
            } else {
                decided.replaced.extend(waiters);
            }
        }
        decided
    }

    /// Every proposal at or below `index`, decided by a snapshot that does not tell how.
    pub(crate) fn skip(&mut self, index: LogIndex) -> Vec<W> {
        let later = self.waiting.split_off(&(index.next(), Term(0)));
        std::mem::replace(&mut self.waiting, later).into_values().flatten().collect()
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(entries: &[(u64, u64, char)]) -> Pending<char> {
        let mut pending = Pending::default();
        for (index, term, waiter) in entries {
            pending.insert(LogIndex(*index), Term(*term), vec![*waiter]);
        }
        pending
    }

    #[test]
    fn an_entry_of_the_same_term_is_the_one_proposed() {
        let mut pending = pending(&[(10, 3, 'a'), (11, 3, 'b')]);
        let decided = pending.decide(LogIndex(10), Term(3));
        assert_eq!(decided, Decided { committed: vec!['a'], replaced: vec![] });
        assert!(!pending.is_empty());
    }

    #[test]
    fn an_entry_of_another_term_replaces_what_was_proposed_there() {
        let mut pending = pending(&[(10, 3, 'a'), (10, 5, 'c'), (11, 3, 'b')]);
        let decided = pending.decide(LogIndex(10), Term(5));
        assert_eq!(decided, Decided { committed: vec!['c'], replaced: vec!['a'] });
        let decided = pending.decide(LogIndex(11), Term(5));
        assert_eq!(decided, Decided { committed: vec![], replaced: vec!['b'] });
    }

    #[test]
    fn a_snapshot_leaves_the_fate_of_what_it_covers_unknown() {
        let mut pending = pending(&[(10, 3, 'a'), (12, 3, 'b'), (13, 3, 'c')]);
        assert_eq!(pending.skip(LogIndex(12)), vec!['a', 'b']);
        assert_eq!(pending.decide(LogIndex(13), Term(3)).committed, vec!['c']);
    }
}
