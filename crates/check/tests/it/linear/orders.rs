//! Small histories judged twice: by the search, and by the obvious definition.

use flin_check::linear::{Action, Answer, Limits, Operation, Value};
use proptest::prelude::*;

use super::explained::is_explained;
use super::store::{Chance, Shape, record, spoil};
use super::{LIMITS, is_linearizable};

/// Histories as clients record them, some of them spoilt: many are right, and the wrong ones are
/// nearly right.
fn nearly_right(shape: &Shape, seed: u64, spoilt: u8) -> Vec<Operation> {
    let mut chance = Chance::new(seed);
    let mut history = record(shape, &mut chance);
    for _ in 0..spoilt {
        if !history.is_empty() {
            spoil(&mut history, &mut chance);
        }
    }
    history
}

fn small(lives_percent: u64) -> impl Strategy<Value = Shape> {
    let clocks = (0_u64..3, 1_u64..25);
    let sizes = (1_usize..8, 1_u32..5, 1_u8..3, 1_u64..12, 1_u64..8);
    (sizes, clocks, 0_u64..60, 0_u64..60).prop_map(
        move |((operations, clients, keys_max, length_us, pause_us), clocks, unknown, ahead)| {
            Shape {
                operations: operations.max(clients as usize),
                clients,
                objects: 1,
                keys_max,
                unknown_percent: unknown,
                lives_percent,
                life_us: clocks.1,
                clock_error_us: clocks.0,
                ahead_percent: ahead,
                distinct: false,
                length_us,
                pause_us,
            }
        },
    )
}

/// Up to five operations with any answers that their kinds permit.
fn anything() -> impl Strategy<Value = Vec<Operation>> {
    let operation = (0_u32..3, 0_u64..14, 0_u64..10, any::<bool>(), action(), answer());
    proptest::collection::vec(operation, 1..6).prop_map(|drawn| {
        let operation = |(client, from_us, length, known, action, answer): Drawn| {
            let to_us = known.then_some(from_us + length);
            let answer = known.then(|| fitting(&action, answer));
            Operation { client, object: 0, from_us, to_us, action, answer }
        };
        drawn.into_iter().map(operation).collect()
    })
}

/// A client, a time, a length, whether it was answered, and what.
type Drawn = (u32, u64, u64, bool, Action, (Option<Value>, Option<Value>, bool));

fn value() -> impl Strategy<Value = Option<Value>> {
    proptest::option::weighted(0.6, 1_i64..3)
}

fn action() -> impl Strategy<Value = Action> {
    let key = || 0_u8..2;
    let keys = || prop_oneof![Just(vec![0]), Just(vec![1]), Just(vec![0, 1])];
    let pairs = (keys(), 1_i64..3, 1_i64..3)
        .prop_map(|(keys, a, b)| Action::Put { pairs: keys.into_iter().zip([a, b]).collect() });
    prop_oneof![
        3 => keys().prop_map(Action::Get),
        3 => pairs,
        2 => (key(), 1_i64..3, 1_u64..12)
            .prop_map(|(key, value, life_us)| Action::PutFor { key, value, life_us }),
        2 => (key(), -1_i64..3).prop_map(|(key, by)| Action::Add { key, by }),
        2 => (key(), value(), value())
            .prop_map(|(key, expected, value)| Action::CompareAndSet { key, expected, value }),
        1 => keys().prop_map(|keys| Action::Delete { keys }),
        1 => (key(), value()).prop_map(|(key, value)| Action::Swap { key, value }),
    ]
}

/// Material for an answer of any kind.
fn answer() -> impl Strategy<Value = (Option<Value>, Option<Value>, bool)> {
    (value(), value(), any::<bool>())
}

fn fitting(action: &Action, (a, b, done): (Option<Value>, Option<Value>, bool)) -> Answer {
    match action {
        Action::Get(keys) => Answer::Values([a, b][..keys.len()].to_vec()),
        Action::Swap { .. } => Answer::Values(vec![a]),
        Action::Put { .. } | Action::PutFor { .. } => Answer::Done,
        Action::Add { by, .. } => Answer::Sum(a.unwrap_or(0) + by),
        Action::CompareAndSet { .. } if done => Answer::Done,
        Action::CompareAndSet { .. } => Answer::Found(a),
        Action::Delete { keys } => {
            let there = [a, b].iter().take(keys.len()).flatten().count();
            Answer::Count(there as u64)
        }
    }
}

fn compare(history: &[Operation], clock_error_us: u64) -> Result<(), TestCaseError> {
    let limits = Limits { clock_error_us, ..LIMITS };
    let found = is_linearizable(history, &limits);
    prop_assert_eq!(found, is_explained(history, clock_error_us), "{:#?}", history);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_search_agrees_with_all_orders_about_recorded_histories(
        shape in small(0),
        seed in any::<u64>(),
        spoilt in 0_u8..3,
    ) {
        compare(&nearly_right(&shape, seed, spoilt), 0)?;
    }

    #[test]
    fn the_search_agrees_with_all_orders_where_values_expire(
        shape in small(35),
        seed in any::<u64>(),
        spoilt in 0_u8..3,
    ) {
        compare(&nearly_right(&shape, seed, spoilt), shape.clock_error_us)?;
    }

    #[test]
    fn the_search_agrees_with_all_orders_about_anything(
        history in anything(),
        clock_error_us in 0_u64..3,
    ) {
        compare(&history, clock_error_us)?;
    }
}
