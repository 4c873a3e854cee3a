//! Small histories judged twice: by the rules, and by a search over all orders of the writes.

use flin_check::{History, Outcome, Read, Write, check};
use proptest::prelude::*;

/// Whether some order of effects explains `read`: the obvious definition, exponential and easy to believe.
fn explained(writes: &[Write], read: &Read) -> bool {
    let can: Vec<&Write> = writes.iter().filter(|w| w.outcome != Outcome::Failed).collect();
    extends(&can, &mut Vec::new(), read)
}

/// Extends the sequence `done` of writes that took effect before the read, in every permitted way.
fn extends<'a>(all: &[&'a Write], done: &mut Vec<&'a Write>, read: &Read) -> bool {
    let seen = done.last().and_then(|w| w.value.as_ref());
    let missing = all.iter().filter(|w| !done.iter().any(|d| std::ptr::eq(*d, **w)));
    let missing: Vec<_> = missing.copied().collect();
    // The read may come now if no write was acknowledged before it began and is not yet done.
    let due = |w: &&Write| w.outcome == Outcome::Acknowledged && w.to < read.from;
    if !missing.iter().any(due) && seen == read.value.as_ref() {
        return true;
    }
    missing.iter().any(|next| {
        // Nothing that is still to come may have ended before this one began; the read neither.
        let ended = |w: &&Write| w.outcome == Outcome::Acknowledged && w.to < next.from;
        if missing.iter().any(ended) || read.to < next.from {
            return false;
        }
        done.push(next);
        let found = extends(all, done, read);
        done.pop();
        found
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Acknowledged),
        2 => Just(Outcome::Maybe),
        1 => Just(Outcome::Failed),
    ]
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let one = (any::<bool>(), 0_u64..12, 0_u64..6, outcome());
    proptest::collection::vec(one, 0..5).prop_map(|drawn| {
        let named = drawn.into_iter().enumerate();
        named
            .map(|(i, (removes, from, length, outcome))| Write {
                key: "k".to_owned(),
                value: (!removes || i % 2 == 0).then(|| format!("v{i}")),
                from,
                to: from + length,
                outcome,
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_rules_agree_with_a_search_over_all_orders(
        writes in writes(),
        seen in proptest::option::of(0_usize..6),
        from in 0_u64..20,
        length in 0_u64..6,
    ) {
        let value = seen.map(|i| format!("v{i}"));
        let read = Read { key: "k".to_owned(), value, from, to: from + length };
        let mut history = History::default();
        history.extend(writes.iter().cloned().map(Into::into));
        history.push(read.clone());
        let verdict = check(&history).expect("values are unique");
        let accused = verdict.findings.iter().any(|f| f.violation != flin_check::Violation::Unread);
        prop_assert_eq!(!accused, explained(&writes, &read), "{}", verdict);
    }
}
