//! Values that expire, by clocks that are wrong by up to 10 us.

use flin_check::linear::Answer::{Count, Done, Sum};
use flin_check::linear::{Action, Limits, Operation};

use super::{LIMITS, add, compare_and_set, is_linearizable, put, saw, told, untold};

const LIFE_US: u64 = 1_000;

/// Put between 100 and 200: the deadline is between 1090 and 1210 of some clock, and what another
/// clock shows may be 10 off as well.
fn short_lived() -> Operation {
    told(1, 100, 200, short(7), Done)
}

fn short(value: i64) -> Action {
    Action::PutFor { key: 0, value, life_us: LIFE_US }
}

fn accepts<const N: usize>(history: [Operation; N]) -> bool {
    is_linearizable(&history, &Limits { clock_error_us: 10, ..LIMITS })
}

#[test]
fn a_value_lives_until_its_deadline() {
    assert!(accepts([short_lived(), saw(2, 1_000, 1_070, 7)]));
    assert!(!accepts([short_lived(), saw(2, 1_000, 1_070, None)]));
}

#[test]
fn a_value_gone_before_its_time_is_found() {
    assert!(!accepts([short_lived(), saw(2, 300, 1_079, None)]));
    assert!(accepts([short_lived(), saw(2, 300, 1_080, None)]));
}

#[test]
fn a_value_seen_after_its_time_is_found() {
    assert!(accepts([short_lived(), saw(2, 1_220, 5_000, 7)]));
    assert!(!accepts([short_lived(), saw(2, 1_221, 5_000, 7)]));
}

#[test]
fn a_value_near_its_deadline_may_be_there_or_gone() {
    for seen in [Some(7), None] {
        assert!(accepts([short_lived(), saw(2, 1_150, 1_160, seen)]));
    }
}

#[test]
fn a_value_found_to_have_expired_does_not_come_back() {
    let (gone, there) = (saw(2, 1_150, 1_160, None), saw(2, 1_170, 1_180, 7));
    assert!(!accepts([short_lived(), gone.clone(), there]));
    assert!(accepts([short_lived(), saw(2, 1_100, 1_110, 7), gone]));
}

#[test]
fn whoever_saw_a_value_before_its_put_was_answered_sets_its_deadline() {
    // Seen by 120, so put by 120, so gone at 1140 at the latest.
    let early = saw(2, 110, 120, 7);
    assert!(accepts([short_lived(), early.clone(), saw(2, 1_140, 5_000, 7)]));
    assert!(!accepts([short_lived(), early, saw(2, 1_141, 5_000, 7)]));
}

#[test]
fn whoever_finds_a_value_gone_is_not_before_those_who_look_later() {
    // To be found gone takes until 1080, and the removal is answered by 1070.
    let removal = told(3, 300, 1_070, Action::Delete { keys: vec![1] }, Count(0));
    let swap = Action::Swap { key: 0, value: Some(8) };
    let answer = flin_check::linear::Answer::Values(vec![None]);
    let swapped = told(2, 300, 2_000, swap, answer);
    let seen = saw(3, 1_000, 1_070, 8);
    assert!(accepts([short_lived(), swapped.clone(), removal.clone()]));
    assert!(!accepts([short_lived(), swapped, removal, seen]));
}

#[test]
fn an_unanswered_put_expires_after_it_took_effect() {
    let late = untold(1, 100, short(7));
    // It may take effect at any time.
    assert!(accepts([late.clone(), saw(2, 5_000, 5_010, 7)]));
    // And then lives for so long.
    let seen = saw(2, 5_000, 5_010, 7);
    assert!(accepts([late.clone(), seen.clone(), saw(2, 6_030, 6_040, 7)]));
    assert!(!accepts([late.clone(), seen.clone(), saw(2, 6_031, 6_040, 7)]));
    // A leader may have stamped it when it was sent: then it was gone soon after it was seen.
    assert!(accepts([late, seen, saw(2, 5_011, 5_020, None)]));
}

#[test]
fn an_unanswered_put_that_nobody_saw_may_explain_an_absence() {
    let (first, gone) = (told(1, 1, 2, put(0, 6), Done), saw(2, 5_000, 5_010, None));
    assert!(!accepts([first.clone(), gone.clone()]));
    assert!(accepts([first, untold(1, 100, short(7)), gone]));
}

#[test]
fn an_increment_keeps_the_life() {
    let sum = told(2, 300, 400, add(1), Sum(8));
    assert!(accepts([short_lived(), sum.clone(), saw(2, 1_300, 1_400, None)]));
    assert!(!accepts([short_lived(), sum, saw(2, 1_300, 1_400, 8)]));
}

#[test]
fn an_increment_after_the_deadline_begins_anew_and_lives_for_ever() {
    let sum = told(2, 1_300, 1_400, add(1), Sum(1));
    assert!(accepts([short_lived(), sum, saw(2, 9_000, 9_100, 1)]));
}

#[test]
fn an_increment_of_zero_near_the_deadline_leaves_two_possibilities() {
    let (zero, sum) = (told(1, 100, 200, short(0), Done), told(2, 1_150, 1_160, add(1), Sum(1)));
    for seen in [Some(1), None] {
        assert!(accepts([zero.clone(), sum.clone(), saw(2, 5_000, 5_100, seen)]));
    }
}

#[test]
fn an_increment_of_unknown_outcome_near_the_deadline_leaves_three_possibilities() {
    let lost = untold(2, 1_150, add(1));
    for seen in [Some(1), None] {
        assert!(accepts([short_lived(), lost.clone(), saw(2, 5_000, 5_100, seen)]));
    }
    assert!(accepts([short_lived(), lost.clone(), saw(2, 1_160, 1_170, 8)]));
    assert!(!accepts([short_lived(), lost, saw(2, 5_000, 5_100, 8)]));
}

#[test]
fn an_unanswered_put_of_the_same_value_may_save_it_from_expiry() {
    let (again, sum) = (untold(2, 210, put(0, 7)), told(3, 300, 310, add(1), Sum(8)));
    let late = saw(3, 5_000, 5_010, 8);
    assert!(accepts([short_lived(), again, sum.clone(), late.clone()]));
    assert!(!accepts([short_lived(), sum, late]));
}

#[test]
fn two_equal_unanswered_puts_may_take_effect_in_either_order() {
    let (early, later) = (untold(1, 100, short(7)), untold(2, 5_000, short(7)));
    let (seen, other) = (saw(3, 5_050, 5_060, 7), told(3, 5_100, 5_110, put(0, 8), Done));
    // Only the one that was sent early can be gone as soon as it was seen, so it came second.
    let (again, gone) = (saw(3, 5_200, 5_210, 7), saw(3, 5_300, 5_310, None));
    assert!(accepts([early, later, seen, other, again, gone]));
}

#[test]
fn a_plain_put_ends_the_life_of_what_was_there() {
    let overwritten = told(2, 300, 400, put(0, 8), Done);
    assert!(accepts([short_lived(), overwritten.clone(), saw(2, 9_000, 9_100, 8)]));
    assert!(!accepts([short_lived(), overwritten, saw(2, 9_000, 9_100, None)]));
}

#[test]
fn a_comparison_ends_the_life_of_what_was_there() {
    let set = told(2, 300, 400, compare_and_set(Some(7), Some(7)), Done);
    assert!(accepts([short_lived(), set.clone(), saw(2, 9_000, 9_100, 7)]));
    assert!(!accepts([short_lived(), set, saw(2, 9_000, 9_100, None)]));
}

#[test]
fn a_removal_near_two_deadlines_may_count_none_one_or_both() {
    let other = Action::PutFor { key: 1, value: 8, life_us: LIFE_US };
    let other = told(1, 300, 400, other, Done);
    let both =
        |from, to, count| told(2, from, to, Action::Delete { keys: vec![0, 1] }, Count(count));
    let counts = |from, to| {
        let possible =
            |count: &u64| accepts([short_lived(), other.clone(), both(from, to, *count)]);
        (0..4).filter(possible).collect::<Vec<u64>>()
    };
    assert_eq!(counts(500, 600), [2]);
    assert_eq!(counts(1_150, 1_160), [1, 2]);
    assert_eq!(counts(1_150, 1_350), [0, 1, 2]);
    assert_eq!(counts(1_250, 1_260), [1]);
    assert_eq!(counts(1_350, 1_360), [0, 1]);
    assert_eq!(counts(2_000, 2_010), [0]);
}
