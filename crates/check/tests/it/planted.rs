//! Histories of a correct cluster are clean, and whatever fault is planted into them is found.

use std::collections::BTreeMap;

use flin_check::{History, Outcome, Read, Record, Violation, Write, check};
use proptest::prelude::*;

/// What one simulated client operation does to a key; times are drawn around the moment of its effect.
#[derive(Debug, Clone)]
enum Step {
    Put { key: u8, outcome: Outcome, applied: bool, before: u64, after: u64 },
    Remove { key: u8, before: u64, after: u64 },
    Read { key: u8, before: u64, after: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        8 => Just(Outcome::Acknowledged), 2 => Just(Outcome::Maybe), 1 => Just(Outcome::Failed)
    ];
    let (key, margin) = (0_u8..5, || 0_u64..35);
    prop_oneof![
        6 => (key.clone(), outcome, any::<bool>(), margin(), margin()).prop_map(
            |(key, outcome, applied, before, after)| Step::Put { key, outcome, applied, before, after }
        ),
        1 => (key.clone(), margin(), margin())
            .prop_map(|(key, before, after)| Step::Remove { key, before, after }),
        2 => (key, margin(), margin())
            .prop_map(|(key, before, after)| Step::Read { key, before, after }),
    ]
}

/// Runs the steps against a correct register, ten ticks apart, and reads every key at the end.
fn correct(steps: &[Step]) -> History {
    let mut history = History::default();
    let mut state = BTreeMap::<String, String>::new();
    for (i, step) in steps.iter().enumerate() {
        let moment = 100 + 10 * i as u64;
        match step {
            Step::Put { key, outcome, applied, before, after } => {
                let (key, value) = (format!("k{key}"), format!("v{i}"));
                let done = match outcome {
                    Outcome::Acknowledged => true,
                    Outcome::Maybe => *applied,
                    Outcome::Failed => false,
                };
                if done {
                    state.insert(key.clone(), value.clone());
                }
                let (from, to) = (moment - before, moment + after);
                history.push(Write { key, value: Some(value), from, to, outcome: *outcome });
            }
            Step::Remove { key, before, after } => {
                let key = format!("k{key}");
                state.remove(&key);
                let (from, to) = (moment - before, moment + after);
                let outcome = Outcome::Acknowledged;
                history.push(Write { key, value: None, from, to, outcome });
            }
            Step::Read { key, before, after } => {
                let key = format!("k{key}");
                let value = state.get(&key).cloned();
                history.push(Read { key, value, from: moment - before, to: moment + after });
            }
        }
    }
    let end = 200 + 10 * steps.len() as u64;
    for key in (0..5).map(|key| format!("k{key}")) {
        let value = state.get(&key).cloned();
        history.push(Read { key, value, from: end, to: end + 1 });
    }
    history
}

/// One write after the other to each key, each acknowledged, then a read of every key: only one answer
/// is right for each.
fn sequential(keys: usize, writes_per_key: usize) -> History {
    let mut history = History::default();
    for key in 0..keys {
        for write in 0..writes_per_key {
            let from = (key * writes_per_key + write) as u64 * 10;
            let value = Some(format!("{key}.{write}"));
            let outcome = Outcome::Acknowledged;
            history.push(Write { key: format!("k{key}"), value, from, to: from + 5, outcome });
        }
    }
    for key in 0..keys {
        let value = Some(format!("{key}.{}", writes_per_key - 1));
        let from = (keys * writes_per_key) as u64 * 10 + key as u64;
        history.push(Read { key: format!("k{key}"), value, from, to: from + 1 });
    }
    history
}

/// The final read of `key` now says `value`.
fn plant(history: &mut History, key: usize, value: Option<String>) {
    let name = format!("k{key}");
    let read = history.records.iter_mut().rev().find_map(|record| match record {
        Record::Read(read) if read.key == name => Some(read),
        _ => None,
    });
    read.expect("every key has a final read").value = value;
}

proptest! {
    #[test]
    fn a_correct_cluster_is_never_accused(steps in proptest::collection::vec(step(), 0..60)) {
        let history = correct(&steps);
        let verdict = check(&history).expect("values are unique");
        prop_assert!(verdict.is_clean(), "{}\n{}", verdict, history.to_lines());
    }

    #[test]
    fn every_planted_fault_is_found_and_nothing_else(
        faults in proptest::collection::btree_map(0_usize..50, 0_u8..4, 0..8),
    ) {
        let mut history = sequential(50, 3);
        let mut expected = Vec::new();
        for (key, fault) in faults {
            let (value, violation) = match fault {
                0 => (None, Violation::Lost),
                1 => (Some(format!("{key}.1")), Violation::Resurrected),
                2 => (Some(format!("{key}.2 ")), Violation::Altered),
                _ => (Some(format!("{}.2", (key + 1) % 50)), Violation::Altered),
            };
            plant(&mut history, key, value);
            expected.push((format!("k{key}"), violation));
        }
        expected.sort();
        let verdict = check(&history).expect("values are unique");
        let mut found: Vec<_> =
            verdict.findings.into_iter().map(|f| (f.key, f.violation)).collect();
        found.sort();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn histories_survive_their_lines(steps in proptest::collection::vec(step(), 0..40)) {
        let history = correct(&steps);
        prop_assert_eq!(History::parse(&history.to_lines()), Ok(history));
    }

    #[test]
    fn the_order_of_the_lines_means_nothing(
        steps in proptest::collection::vec(step(), 0..40),
        turn in 0_usize..40,
    ) {
        let mut history = correct(&steps);
        let first = check(&history);
        let middle = turn % history.records.len();
        history.records.rotate_left(middle);
        prop_assert_eq!(check(&history), first);
    }
}

#[test]
fn one_loss_among_fifty_thousand_keys_is_found() {
    let mut history = sequential(50_000, 1);
    plant(&mut history, 31_415, None);
    let verdict = check(&history).expect("values are unique");
    assert_eq!(verdict.tally.keys_acknowledged, 50_000);
    assert_eq!(verdict.findings.len(), 1);
    assert_eq!(verdict.findings[0].key, "k31415");
    assert_eq!(verdict.findings[0].violation, Violation::Lost);
}

#[test]
fn a_key_left_out_of_the_final_reads_is_reported() {
    let mut history = sequential(100, 2);
    history.records.retain(|record| !matches!(record, Record::Read(read) if read.key == "k7"));
    let verdict = check(&history).expect("values are unique");
    assert_eq!(verdict.findings.len(), 1);
    assert_eq!(verdict.findings[0].violation, Violation::Unread);
}
