//! One fault each, and beside it the history that is nearly the same and right.

use flin_check::linear::Action;
use flin_check::linear::Answer::{Count, Done, Found, Sum, Values};

use super::{
    accepts, add, compare_and_set, delete, put, put_both, refuses, saw, saw_both, told, untold,
};

#[test]
fn a_read_of_what_was_last_written_is_right() {
    accepts([told(1, 1, 2, put(0, 7), Done), saw(2, 3, 4, 7)]);
}

#[test]
fn a_stale_read_is_found() {
    let writes = [told(1, 1, 2, put(0, 7), Done), told(1, 3, 4, put(0, 8), Done)];
    let [first, second] = writes;
    refuses([first, second, saw(2, 5, 6, 7)]);
}

#[test]
fn a_read_that_overlaps_a_write_may_see_either_value() {
    for seen in [7, 8] {
        let (first, second) = (told(1, 1, 2, put(0, 7), Done), told(1, 3, 9, put(0, 8), Done));
        accepts([first, second, saw(2, 5, 6, seen)]);
    }
}

#[test]
fn two_reads_that_contradict_each_other_about_overlapping_writes_are_found() {
    let (first, second) = (told(1, 1, 9, put(0, 7), Done), told(2, 1, 9, put(0, 8), Done));
    let (third, fourth) = (saw(3, 2, 3, 7), saw(3, 4, 5, 8));
    accepts([first.clone(), second.clone(), third.clone(), fourth.clone()]);
    refuses([first, second, third, fourth, saw(3, 6, 7, 7)]);
}

#[test]
fn a_lost_update_is_found() {
    let first = told(1, 1, 9, add(1), Sum(1));
    refuses([first.clone(), told(2, 1, 9, add(1), Sum(1))]);
    accepts([first, told(2, 1, 9, add(1), Sum(2))]);
}

#[test]
fn an_increment_that_counts_twice_is_found() {
    let first = told(1, 1, 2, add(1), Sum(1));
    refuses([first.clone(), saw(2, 3, 4, 2)]);
    // Unless somebody else added in the meantime and never learned of it.
    accepts([first, untold(3, 1, add(1)), saw(2, 3, 4, 2)]);
}

#[test]
fn an_increment_of_unknown_outcome_counts_at_most_once() {
    let history = [untold(1, 1, add(1)), saw(2, 3, 4, 1), told(2, 5, 6, add(5), Sum(7))];
    refuses(history);
}

#[test]
fn a_torn_batch_is_found() {
    let (first, second) =
        (told(1, 1, 2, put_both(1, 1), Done), told(1, 3, 9, put_both(2, 2), Done));
    accepts([first.clone(), second.clone(), saw_both(2, 4, 5, 2, 2)]);
    refuses([first.clone(), second, saw_both(2, 4, 5, 2, 1)]);
    refuses([first, untold(1, 3, put_both(2, 2)), saw_both(2, 4, 5, 1, 2)]);
}

#[test]
fn a_batch_of_unknown_outcome_may_be_half_overwritten() {
    let (batch, single) = (untold(1, 1, put_both(1, 2)), told(2, 3, 4, put(0, 9), Done));
    accepts([batch.clone(), single.clone(), saw_both(2, 5, 6, 9, 2)]);
    accepts([batch.clone(), single.clone(), saw_both(2, 5, 6, 1, 2)]);
    refuses([batch, single, saw_both(2, 5, 6, 9, 3)]);
}

#[test]
fn a_value_that_is_back_after_its_removal_is_found() {
    let (first, second) = (told(1, 1, 2, put(0, 7), Done), told(1, 3, 4, delete(), Count(1)));
    accepts([first.clone(), second.clone(), saw(2, 5, 6, None)]);
    refuses([first, second, saw(2, 5, 6, 7)]);
}

#[test]
fn a_removal_that_miscounts_is_found() {
    let both = Action::Delete { keys: vec![0, 1] };
    let write = told(1, 1, 2, put(0, 7), Done);
    accepts([write.clone(), told(1, 3, 4, both.clone(), Count(1))]);
    refuses([write.clone(), told(1, 3, 4, both.clone(), Count(2))]);
    refuses([write, told(1, 3, 4, both, Count(0))]);
}

#[test]
fn a_key_that_is_named_twice_is_removed_once() {
    let twice = Action::Delete { keys: vec![0, 0] };
    let write = told(1, 1, 2, put(0, 7), Done);
    accepts([write.clone(), told(1, 3, 4, twice.clone(), Count(1))]);
    refuses([write, told(1, 3, 4, twice, Count(2))]);
}

#[test]
fn two_comparisons_that_both_succeed_are_found() {
    let first = told(1, 1, 9, compare_and_set(None, Some(7)), Done);
    let second = compare_and_set(None, Some(8));
    refuses([first.clone(), told(2, 1, 9, second.clone(), Done)]);
    accepts([first, told(2, 1, 9, second, Found(Some(7)))]);
}

#[test]
fn a_comparison_that_found_the_expected_and_failed_is_found() {
    refuses([told(1, 1, 2, compare_and_set(None, Some(7)), Found(None))]);
}

#[test]
fn a_comparison_that_found_what_nobody_wrote_is_found() {
    let write = told(1, 1, 2, put(0, 7), Done);
    refuses([write.clone(), told(1, 3, 4, compare_and_set(None, Some(8)), Found(Some(6)))]);
    accepts([write, told(1, 3, 4, compare_and_set(Some(7), None), Done), saw(1, 5, 6, None)]);
}

#[test]
fn a_swap_that_answers_another_old_value_is_found() {
    let swap = |value| Action::Swap { key: 0, value };
    let first = told(1, 1, 2, swap(Some(7)), Values(vec![None]));
    accepts([first.clone(), told(1, 3, 4, swap(None), Values(vec![Some(7)])), saw(1, 5, 6, None)]);
    refuses([first, told(1, 3, 4, swap(None), Values(vec![Some(8)]))]);
}

#[test]
fn a_value_before_its_write_was_sent_is_found() {
    refuses([saw(1, 1, 2, 7), told(2, 3, 4, put(0, 7), Done)]);
    refuses([saw(1, 1, 2, 7), untold(2, 3, put(0, 7))]);
}

#[test]
fn to_end_at_the_moment_of_sending_is_to_overlap() {
    accepts([saw(1, 1, 3, 7), told(2, 3, 4, put(0, 7), Done)]);
}

#[test]
fn a_write_of_unknown_outcome_may_take_effect_much_later() {
    let late = untold(1, 1, put(0, 7));
    let (second, third) = (told(2, 100, 110, put(0, 8), Done), saw(2, 200, 210, 8));
    accepts([late, second, third, saw(2, 300, 310, 7)]);
}

#[test]
fn a_write_of_unknown_outcome_may_never_take_effect() {
    accepts([untold(1, 1, put(0, 7)), saw(2, 100, 110, None), untold(1, 120, delete())]);
}

#[test]
fn a_write_of_unknown_outcome_takes_effect_once() {
    let (late, second) = (untold(1, 1, put(0, 7)), told(2, 30, 40, put(0, 8), Done));
    let (first, third) = (saw(2, 10, 20, 7), saw(2, 50, 60, 7));
    refuses([late, first, second, third]);
}

#[test]
fn effects_of_unknown_outcome_may_build_on_each_other() {
    let swap = untold(3, 3, compare_and_set(Some(9), Some(20)));
    accepts([untold(1, 1, put(0, 7)), untold(2, 2, add(2)), swap.clone(), saw(4, 8, 9, 20)]);
    refuses([untold(1, 1, put(0, 7)), untold(2, 2, add(3)), swap, saw(4, 8, 9, 20)]);
}

#[test]
fn a_removal_of_unknown_outcome_explains_an_absence() {
    let (first, absent) = (told(1, 1, 2, put(0, 7), Done), saw(2, 5, 6, None));
    refuses([first.clone(), absent.clone()]);
    accepts([first, untold(1, 3, delete()), absent]);
}

#[test]
fn equal_keys_of_two_objects_are_two_keys() {
    let mut other = saw(2, 3, 4, None);
    other.object = 1;
    accepts([told(1, 1, 2, put(0, 7), Done), other]);
}

#[test]
fn an_increment_beyond_the_largest_number_cannot_have_been_answered() {
    let write = told(1, 1, 2, put(0, i64::MAX), Done);
    refuses([write.clone(), told(1, 3, 4, add(1), Sum(i64::MIN))]);
    accepts([write, untold(1, 3, add(1)), saw(1, 5, 6, i64::MAX)]);
}
