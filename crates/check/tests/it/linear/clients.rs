//! What one connection may rely on when it sends ahead.

use flin_check::linear::Answer::{Done, Sum};

use super::{accepts, add, put, refuses, saw, told, untold};

#[test]
fn a_client_reads_what_it_wrote_before() {
    let write = told(1, 1, 9, put(0, 7), Done);
    accepts([write.clone(), saw(1, 2, 8, 7)]);
    refuses([write.clone(), saw(1, 2, 8, None)]);
    // Another client may come first.
    accepts([write, saw(2, 2, 8, None)]);
}

#[test]
fn a_client_does_not_read_what_it_writes_afterwards() {
    let read = saw(1, 1, 9, 7);
    refuses([read.clone(), told(1, 2, 8, put(0, 7), Done)]);
    refuses([read.clone(), untold(1, 2, put(0, 7))]);
    accepts([read, told(2, 2, 8, put(0, 7), Done)]);
}

#[test]
fn reads_of_one_client_do_not_go_back() {
    let (first, second) = (told(1, 1, 2, put(0, 7), Done), told(1, 3, 20, put(0, 8), Done));
    let (new, old) = (saw(2, 5, 15, 8), saw(2, 6, 14, 7));
    refuses([first.clone(), second.clone(), new.clone(), old.clone()]);
    accepts([first, second, new, saw(3, 6, 14, 7)]);
}

#[test]
fn what_a_client_sent_at_one_moment_is_in_the_order_of_the_history() {
    let (first, second) = (told(1, 1, 9, add(1), Sum(1)), told(1, 1, 9, add(1), Sum(2)));
    accepts([first.clone(), second.clone()]);
    refuses([second, first]);
}

#[test]
fn a_write_of_unknown_outcome_binds_nothing_that_its_client_sent_later() {
    let write = untold(1, 1, put(0, 7));
    for seen in [None, Some(7)] {
        accepts([write.clone(), saw(1, 2, 8, seen)]);
    }
    accepts([write, saw(1, 2, 8, None), saw(1, 10, 11, 7)]);
}
