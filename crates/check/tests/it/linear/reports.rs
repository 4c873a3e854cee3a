//! What is said of a history that does not pass.

use flin_check::linear::Answer::{Count, Done, Sum};
use flin_check::linear::{Failure, FailureKind, Limits, Malformed, Operation};

use super::{LIMITS, add, check_within, put, saw, told, untold};

fn only_failure(history: &[Operation], limits: &Limits) -> Failure {
    let mut failures = check_within(history, limits).expect("a history that can be judged");
    assert_eq!(failures.len(), 1);
    failures.remove(0)
}

#[test]
fn a_failure_names_what_fits_and_what_does_not() {
    let (first, lost) = (told(1, 1, 2, put(0, 7), Done), untold(2, 3, add(1)));
    let (seen, back) = (saw(1, 5, 6, 8), saw(1, 7, 8, 7));
    let failure = only_failure(&[first.clone(), lost.clone(), seen.clone(), back.clone()], &LIMITS);
    assert_eq!(failure.kind, FailureKind::NotLinearizable);
    assert_eq!(failure.prefix, [first, lost, seen]);
    assert_eq!(failure.held, [(0, Some(8))]);
    assert_eq!(failure.stuck, [back]);
    let text = "object 0 is not linearizable; 3 operations can be ordered, the last of them\n  \
                1..2 client 1: put k0=7 -> done\n  \
                3..? client 2: add 1 to k0 -> unknown\n  \
                5..6 client 1: get k0 -> 8\n\
                then the keys hold k0=8\n\
                and next had to come one of\n  \
                7..8 client 1: get k0 -> 7";
    assert_eq!(failure.to_string(), text);
}

#[test]
fn objects_fail_one_by_one() {
    let mut history = Vec::new();
    for object in 0..4 {
        let write = told(1, 1, 2, put(0, 7), Done);
        let seen = saw(2, 3, 4, if object % 2 == 0 { 7 } else { 8 });
        history.extend([Operation { object, ..write }, Operation { object, ..seen }]);
    }
    let failures = check_within(&history, &LIMITS).expect("a history that can be judged");
    let objects: Vec<u32> = failures.iter().map(|failure| failure.object).collect();
    assert_eq!(objects, [1, 3]);
}

/// Thirty different additions of unknown outcome, and a sum that is not theirs.
fn hopeless() -> Vec<Operation> {
    let additions = (0..30).map(|i| untold(i, 1, add(1_000_000 + (1 << i))));
    additions.chain([told(99, 5, 6, add(1), Sum(15_000_000))]).collect()
}

#[test]
fn a_search_that_takes_too_long_is_undecided() {
    let failure = only_failure(&hopeless(), &Limits { steps_max: 10_000, ..LIMITS });
    assert_eq!(failure.kind, FailureKind::Undecided);
    assert!(failure.to_string().starts_with("object 0 is undecided"));
}

#[test]
fn an_object_that_is_undecided_does_not_hide_one_that_fails() {
    let mut history = hopeless();
    let wrong = [told(1, 1, 2, put(0, 7), Done), saw(2, 3, 4, 8)];
    history.extend(wrong.map(|operation| Operation { object: 1, ..operation }));
    let failures = check_within(&history, &Limits { steps_max: 10_000, ..LIMITS });
    let kinds: Vec<_> =
        failures.expect("a fit history").iter().map(|failure| failure.kind).collect();
    assert_eq!(kinds, [FailureKind::Undecided, FailureKind::NotLinearizable]);
}

#[test]
fn an_empty_history_is_linearizable() {
    assert_eq!(check_within(&[], &LIMITS), Ok(Vec::new()));
    assert_eq!(check_within(&[untold(1, 1, put(0, 7))], &LIMITS), Ok(Vec::new()));
}

#[test]
fn histories_that_cannot_be_judged_are_refused() {
    let fit = told(1, 1, 2, put(0, 7), Done);
    let backwards = Operation { from_us: 3, ..fit.clone() };
    let expected = Malformed::Backwards { at: 1, from_us: 3, to_us: 2 };
    assert_eq!(check_within(&[fit.clone(), backwards], &LIMITS), Err(expected));
    let half = Operation { answer: None, ..fit.clone() };
    assert_eq!(check_within(&[half], &LIMITS), Err(Malformed::HalfAnswered { at: 0 }));
    let foreign = Operation { answer: Some(Count(1)), ..fit };
    let expected = Malformed::Mismatched { at: 0, answer: Count(1) };
    assert_eq!(check_within(&[foreign], &LIMITS), Err(expected));
}
