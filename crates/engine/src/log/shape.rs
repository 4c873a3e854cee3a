//! Which edits make sense when: the outline of a group's log, and what each edit turns it into. Pure;
//! it decides for writes before they reach the disk and again for what is read back.

use flin_state::ids::{GroupId, LogIndex, ReplicaId, Term};
use flin_state::log::{GroupRecord, HardState, LogEdit};

/// The last index that an entry can have: there is one after it, where the next entry goes. Replicas stop long
/// before.
const INDEX_MAX: LogIndex = LogIndex(u64::MAX - 1);

/// A group's log without its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub record: GroupRecord,
    /// The index before the first entry, and its term.
    pub base: LogIndex,
    pub base_term: Term,
    pub last: LogIndex,
    pub last_term: Term,
    pub hard_state: HardState,
}

impl Shape {
    /// The shape, if a log of `group` can have it.
    ///
    /// # Errors
    /// If its indexes are out of order or out of range.
    pub fn checked(self, group: GroupId) -> Result<Shape, String> {
        let Shape { base, last, .. } = self;
        if base <= last && last <= INDEX_MAX {
            return Ok(self);
        }
        Err(format!("the log of group {group} spans {base}..={last}"))
    }

    fn term(&self, index: LogIndex, term_of: impl Fn(LogIndex) -> Option<Term>) -> Option<Term> {
        match index {
            index if index == self.last => Some(self.last_term),
            index if index == self.base => Some(self.base_term),
            index => term_of(index),
        }
    }
}

/// An edit without its data.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Create {
        replica: ReplicaId,
        index: LogIndex,
        term: Term,
    },
    Append {
        first: LogIndex,
        first_term: Term,
        last: LogIndex,
        last_term: Term,
    },
    HardState(HardState),
    /// The term is `None` if the caller does not know it.
    Compact {
        index: LogIndex,
        term: Option<Term>,
    },
    Reset {
        index: LogIndex,
        term: Term,
    },
    Remove(ReplicaId),
}

impl Change {
    /// The outline of `edit`, and the group that it changes.
    ///
    /// # Errors
    /// If the entries of an append are none, not contiguous, or fall back in their terms.
    pub fn of(edit: &LogEdit) -> Result<(GroupId, Change), String> {
        Ok(match *edit {
            LogEdit::Create { group, replica, index, term } => {
                (group, Change::Create { replica, index, term })
            }
            LogEdit::HardState { group, state } => (group, Change::HardState(state)),
            LogEdit::Compact { group, index } => (group, Change::Compact { index, term: None }),
            LogEdit::Reset { group, index, term } => (group, Change::Reset { index, term }),
            LogEdit::Remove { group, replica } => (group, Change::Remove(replica)),
            LogEdit::Append { group, ref entries } => {
                let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
                    return Err(format!("append of no entries to group {group}"));
                };
                for pair in entries.windows(2) {
                    if pair[1].index != pair[0].index.next() || pair[1].term < pair[0].term {
                        let (a, b) = (&pair[0], &pair[1]);
                        return Err(format!(
                            "append to group {group}: entry {} of term {} follows {} of term {}",
                            b.index, b.term, a.index, a.term
                        ));
                    }
                }
                let change = Change::Append {
                    first: first.index,
                    first_term: first.term,
                    last: last.index,
                    last_term: last.term,
                };
                (group, change)
            }
        })
    }
}

/// What `change` makes of the log of `group`; `None` is a group never seen. `term_of` tells the term of
/// an index inside the log, where that is known.
///
/// # Errors
/// Why the change contradicts the log.
pub(super) fn after(
    group: GroupId,
    shape: Option<Shape>,
    change: Change,
    term_of: impl Fn(LogIndex) -> Option<Term>,
) -> Result<Shape, String> {
    changed(group, shape, change, term_of)?.checked(group)
}

fn changed(
    group: GroupId,
    shape: Option<Shape>,
    change: Change,
    term_of: impl Fn(LogIndex) -> Option<Term>,
) -> Result<Shape, String> {
    if let Change::Create { replica, index, term } = change {
        return created(group, shape, replica, index, term);
    }
    let Some(Shape { record: GroupRecord::Hosted(replica), .. }) = shape else {
        return Err(format!("group {group} is not hosted here"));
    };
    let shape = shape.expect("matched above");
    match change {
        Change::Create { .. } => unreachable!("handled above"),
        Change::Append { first, first_term, last, last_term } => {
            let Shape { base, last: end, .. } = shape;
            if first <= base || first > end.next() {
                return Err(format!(
                    "append to group {group} at index {first}, its log spans {base}..={end}"
                ));
            }
            let before = shape.term(LogIndex(first.0 - 1), term_of);
            if let Some(term) = before.filter(|term| *term > first_term) {
                return Err(format!(
                    "append to group {group}: entry {first} of term {first_term} follows term {term}"
                ));
            }
            Ok(Shape { last, last_term, ..shape })
        }
        Change::HardState(state) => {
            let HardState { term, vote, .. } = shape.hard_state;
            let voted = vote != ReplicaId(0) && vote != state.vote;
            if state.term < term || (state.term == term && voted) {
                return Err(format!(
                    "hard state of group {group}: a vote for {} in term {} after one for {vote} in \
                     term {term}",
                    state.vote, state.term
                ));
            }
            Ok(Shape { hard_state: state, ..shape })
        }
        Change::Compact { index, .. } if index <= shape.base => Ok(shape),
        Change::Compact { index, term } => {
            match term.or_else(|| shape.term(index, term_of)).filter(|_| index <= shape.last) {
                Some(term) => Ok(Shape { base: index, base_term: term, ..shape }),
                None => {
                    let Shape { base, last, .. } = shape;
                    Err(format!(
                        "compaction of group {group} to index {index}, its log spans {base}..={last}"
                    ))
                }
            }
        }
        Change::Reset { index, .. } if index < shape.base => {
            Err(format!("reset of group {group} to index {index}, compacted to {}", shape.base))
        }
        Change::Reset { index, term } => Ok(emptied(shape, index, term)),
        Change::Remove(removed) if removed == replica => {
            let tombstone = Shape { record: GroupRecord::Removed(replica), ..shape };
            let nothing = Shape { hard_state: HardState::default(), ..tombstone };
            Ok(emptied(nothing, LogIndex(0), Term(0)))
        }
        Change::Remove(removed) => Err(format!(
            "removal of replica {removed} of group {group}, which is hosted as replica {replica}"
        )),
    }
}

fn created(
    group: GroupId,
    shape: Option<Shape>,
    replica: ReplicaId,
    index: LogIndex,
    term: Term,
) -> Result<Shape, String> {
    match shape.map(|shape| shape.record) {
        Some(GroupRecord::Hosted(present)) => {
            Err(format!("group {group} is hosted already, as replica {present}"))
        }
        // Ids are minted in ascending order, so that a lower one is a message from the past.
        Some(GroupRecord::Removed(gone)) if replica <= gone => Err(format!(
            "replica {replica} of group {group} is not newer than {gone}, removed here"
        )),
        _ if replica == ReplicaId(0) => Err(format!("replica 0 of group {group} is no replica")),
        _ => Ok(Shape {
            record: GroupRecord::Hosted(replica),
            base: index,
            base_term: term,
            last: index,
            last_term: term,
            // As if a snapshot at `index` had been received: raft's commit is never below its base.
            hard_state: HardState { term, vote: ReplicaId(0), commit: index },
        }),
    }
}

fn emptied(shape: Shape, index: LogIndex, term: Term) -> Shape {
    Shape { base: index, base_term: term, last: index, last_term: term, ..shape }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(1);

    fn hosted() -> Shape {
        let create = Change::Create { replica: ReplicaId(4), index: LogIndex(5), term: Term(5) };
        after(GROUP, None, create, |_| None).expect("a new group can be created")
    }

    fn appended(first: u64, last: u64) -> Change {
        Change::Append {
            first: LogIndex(first),
            first_term: Term(5),
            last: LogIndex(last),
            last_term: Term(6),
        }
    }

    fn compacted(index: u64) -> Change {
        Change::Compact { index: LogIndex(index), term: None }
    }

    fn refused(shape: Shape, change: Change) -> bool {
        after(GROUP, Some(shape), change, |_| Some(Term(5))).is_err()
    }

    #[test]
    fn append_neither_leaves_a_gap_nor_reaches_below_the_base() {
        let shape = after(GROUP, Some(hosted()), appended(6, 8), |_| Some(Term(5)));
        let shape = shape.expect("contiguous");
        assert_eq!((shape.last, shape.last_term), (LogIndex(8), Term(6)));
        assert!(refused(shape, appended(10, 11)));
        assert!(refused(shape, appended(5, 6)));
        assert!(!refused(shape, appended(6, 6)));
        let next = Shape { last_term: Term(5), ..shape };
        assert!(!refused(next, appended(9, 9)));
    }

    #[test]
    fn entry_of_an_older_term_cannot_follow() {
        let newer = Shape { base_term: Term(9), last_term: Term(9), ..hosted() };
        assert!(refused(newer, appended(6, 8)));
        let long = after(GROUP, Some(hosted()), appended(6, 8), |_| None).expect("contiguous");
        assert!(after(GROUP, Some(long), appended(7, 8), |_| Some(Term(9))).is_err());
    }

    #[test]
    fn log_never_reaches_an_index_that_has_no_next_one() {
        let reset = |index| Change::Reset { index: LogIndex(index), term: Term(5) };
        assert!(refused(hosted(), reset(u64::MAX)));
        let full = after(GROUP, Some(hosted()), reset(u64::MAX - 1), |_| None);
        assert!(refused(full.expect("there is a next one"), appended(u64::MAX, u64::MAX)));
    }

    #[test]
    fn vote_is_not_changed_within_its_term() {
        let voted = HardState { term: Term(7), vote: ReplicaId(1), commit: LogIndex(5) };
        let shape = after(GROUP, Some(hosted()), Change::HardState(voted), |_| None);
        let shape = shape.expect("a first vote");
        let other = HardState { vote: ReplicaId(2), ..voted };
        assert!(refused(shape, Change::HardState(other)));
        assert!(refused(shape, Change::HardState(HardState { term: Term(6), ..voted })));
        assert!(!refused(shape, Change::HardState(HardState { term: Term(8), ..other })));
        assert!(!refused(shape, Change::HardState(HardState { commit: LogIndex(6), ..voted })));
    }

    #[test]
    fn removed_replica_is_never_hosted_again() {
        let tombstone = after(GROUP, Some(hosted()), Change::Remove(ReplicaId(4)), |_| None);
        let tombstone = tombstone.expect("it is hosted");
        let again =
            |id| Change::Create { replica: ReplicaId(id), index: LogIndex(0), term: Term(0) };
        assert!(refused(tombstone, again(4)));
        assert!(refused(tombstone, again(3)));
        assert!(refused(tombstone, appended(1, 1)));
        assert!(!refused(tombstone, again(5)));
        assert!(refused(hosted(), again(9)), "hosted already");
    }

    #[test]
    fn compaction_stays_inside_the_log() {
        let shape = after(GROUP, Some(hosted()), appended(6, 8), |_| None).expect("contiguous");
        assert!(refused(shape, compacted(9)));
        let all = after(GROUP, Some(shape), compacted(8), |_| None);
        let all = all.expect("the last index is in the log");
        assert_eq!((all.base, all.base_term, all.last), (LogIndex(8), Term(6), LogIndex(8)));
        let again = after(GROUP, Some(all), compacted(6), |_| None);
        assert_eq!(again, Ok(all), "what is compacted stays so");
    }
}
