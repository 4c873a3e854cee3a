//! The search for an order: planted faults, histories that only look faulty, and two kinds of
//! comparison with a search over all orders.

mod clients;
mod explained;
mod lives;
mod orders;
mod planted;
mod reports;
#[path = "../../../examples/store/mod.rs"]
mod store;
mod stored;

use flin_check::linear::{
    Action, Answer, FailureKind, Key, Limits, Operation, Value, check as check_within,
};

/// Enough for everything here that is to be decided.
const LIMITS: Limits = Limits { clock_error_us: 0, steps_max: 1_000_000 };

/// An answered operation on object 0.
fn told(client: u32, from_us: u64, to_us: u64, action: Action, answer: Answer) -> Operation {
    let (to_us, answer) = (Some(to_us), Some(answer));
    Operation { client, object: 0, from_us, to_us, action, answer }
}

/// An operation on object 0 of unknown outcome.
fn untold(client: u32, from_us: u64, action: Action) -> Operation {
    Operation { client, object: 0, from_us, to_us: None, action, answer: None }
}

fn put(key: Key, value: Value) -> Action {
    Action::Put { pairs: vec![(key, value)] }
}

fn put_both(a: Value, b: Value) -> Action {
    Action::Put { pairs: vec![(0, a), (1, b)] }
}

fn add(by: i64) -> Action {
    Action::Add { key: 0, by }
}

fn delete() -> Action {
    Action::Delete { keys: vec![0] }
}

fn compare_and_set(expected: Option<Value>, value: Option<Value>) -> Action {
    Action::CompareAndSet { key: 0, expected, value }
}

/// A read of key 0 that was answered `value`.
fn saw(client: u32, from_us: u64, to_us: u64, value: impl Into<Option<Value>>) -> Operation {
    told(client, from_us, to_us, Action::Get(vec![0]), Answer::Values(vec![value.into()]))
}

/// A read of keys 0 and 1.
fn saw_both(client: u32, from_us: u64, to_us: u64, a: Value, b: Value) -> Operation {
    let answer = Answer::Values(vec![Some(a), Some(b)]);
    told(client, from_us, to_us, Action::Get(vec![0, 1]), answer)
}

/// Whether an order was found; panics where the search gave up.
fn is_linearizable(history: &[Operation], limits: &Limits) -> bool {
    let failures = check_within(history, limits).expect("a history that can be judged");
    let decided = failures.iter().all(|failure| failure.kind == FailureKind::NotLinearizable);
    assert!(decided, "undecided: {history:#?}");
    failures.is_empty()
}

#[track_caller]
fn accepts<const N: usize>(history: [Operation; N]) {
    assert!(is_linearizable(&history, &LIMITS), "{:#?}", check_within(&history, &LIMITS));
}

#[track_caller]
fn refuses<const N: usize>(history: [Operation; N]) {
    assert!(!is_linearizable(&history, &LIMITS));
}
