use flin_check::{History, HistoryError, Outcome, Record, Violation, check};

use crate::{get, put, remove, with};

fn findings<const N: usize>(records: [Record; N]) -> Vec<Violation> {
    let history = History { records: records.into() };
    check(&history).expect("a fit history").findings.iter().map(|f| f.violation).collect()
}

#[test]
fn an_acknowledged_value_that_is_read_back_is_fine() {
    assert_eq!(findings([put("a", 1, 2).into(), get(Some("a"), 3, 4).into()]), []);
}

#[test]
fn an_acknowledged_value_that_is_absent_is_lost() {
    assert_eq!(findings([put("a", 1, 2).into(), get(None, 3, 4).into()]), [Violation::Lost]);
}

#[test]
fn an_acknowledged_key_that_nobody_reads_is_unread() {
    assert_eq!(findings([put("a", 1, 2).into()]), [Violation::Unread]);
    let early = [put("a", 1, 5).into(), get(Some("a"), 3, 4).into()];
    assert_eq!(findings(early), [Violation::Unread]);
}

#[test]
fn an_overwritten_value_that_is_back_is_resurrected() {
    let records = [put("a", 1, 2).into(), put("b", 3, 4).into(), get(Some("a"), 5, 6).into()];
    assert_eq!(findings(records), [Violation::Resurrected]);
}

#[test]
fn a_removed_value_that_is_back_is_resurrected() {
    let records = [put("a", 1, 2).into(), remove(3, 4).into(), get(Some("a"), 5, 6).into()];
    assert_eq!(findings(records), [Violation::Resurrected]);
}

#[test]
fn a_removed_key_may_be_absent() {
    let records = [put("a", 1, 2).into(), remove(3, 4).into(), get(None, 5, 6).into()];
    assert_eq!(findings(records), []);
}

#[test]
fn a_value_nobody_wrote_to_the_key_is_altered() {
    assert_eq!(
        findings([put("a", 1, 2).into(), get(Some("A"), 3, 4).into()]),
        [Violation::Altered]
    );
}

#[test]
fn a_value_in_a_key_nobody_wrote_is_a_phantom() {
    assert_eq!(findings([get(Some("a"), 3, 4).into()]), [Violation::Phantom]);
}

#[test]
fn a_value_whose_write_surely_failed_is_a_phantom() {
    let records = [with(Outcome::Failed, put("a", 1, 2)).into(), get(Some("a"), 3, 4).into()];
    assert_eq!(findings(records), [Violation::Phantom]);
}

#[test]
fn a_value_from_the_future_is_a_phantom() {
    let records = [get(Some("a"), 1, 2).into(), put("a", 3, 4).into(), get(Some("a"), 5, 6).into()];
    assert_eq!(findings(records), [Violation::Phantom]);
}

#[test]
fn a_write_of_unknown_outcome_may_show_or_not() {
    let maybe = with(Outcome::Maybe, put("b", 3, 4));
    for seen in ["a", "b"] {
        let read = get(Some(seen), 5, 6);
        assert_eq!(findings([put("a", 1, 2).into(), maybe.clone().into(), read.into()]), []);
    }
}

#[test]
fn a_write_of_unknown_outcome_may_take_effect_after_a_later_one() {
    let maybe = with(Outcome::Maybe, put("late", 1, 2));
    let records = [maybe.into(), put("b", 3, 4).into(), get(Some("late"), 5, 6).into()];
    assert_eq!(findings(records), []);
}

#[test]
fn a_write_of_unknown_outcome_counts_once_it_was_seen() {
    let (a, maybe) = (put("a", 1, 2), with(Outcome::Maybe, put("b", 3, 4)));
    let seen = get(Some("b"), 5, 6);
    let back = [a.into(), maybe.clone().into(), seen.clone().into(), get(Some("a"), 7, 8).into()];
    assert_eq!(findings(back), [Violation::Resurrected]);
    let gone = [maybe.into(), seen.into(), get(None, 7, 8).into()];
    assert_eq!(findings(gone), [Violation::Lost]);
}

#[test]
fn either_of_two_overlapping_writes_may_be_last() {
    for seen in ["a", "b"] {
        let read = get(Some(seen), 7, 8);
        assert_eq!(findings([put("a", 1, 5).into(), put("b", 2, 6).into(), read.into()]), []);
    }
}

#[test]
fn a_read_beside_a_write_may_see_it_or_what_was_before() {
    for seen in [Some("a"), Some("b")] {
        let after = get(Some("b"), 20, 21);
        let read = get(seen, 4, 5);
        let records = [put("a", 1, 2).into(), put("b", 3, 9).into(), read.into(), after.into()];
        assert_eq!(findings(records), []);
    }
}

#[test]
fn histories_that_cannot_be_judged_are_refused() {
    let twice = History { records: vec![put("a", 1, 2).into(), put("a", 3, 4).into()] };
    assert!(matches!(check(&twice), Err(HistoryError::Ambiguous { .. })));
    let backwards = History { records: vec![put("a", 2, 1).into()] };
    assert!(matches!(check(&backwards), Err(HistoryError::Backwards { .. })));
}

#[test]
fn a_finding_names_what_could_have_been_seen() {
    let records = vec![
        put("a", 1, 2).into(),
        put("b", 3, 4).into(),
        with(Outcome::Maybe, remove(3, 4)).into(),
        get(Some("a"), 5, 6).into(),
    ];
    let verdict = check(&History { records }).expect("a fit history");
    assert_eq!(verdict.findings[0].allowed, [None, Some("b".to_owned())]);
}
