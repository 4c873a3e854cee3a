//! Limits: what is too large is refused by name, and nothing takes memory without bound.

use bytes::Bytes;
use flin_state::apply::{Apply, RUN_BYTES_MAX};
use flin_state::command::{Command, Committed, Content};
use flin_state::ids::{NodeId, ReplicaId, Term, Timestamp};
use flin_state::membership::Configuration;
use flin_state::operation::{
    KEY_BYTES_MAX, PATTERN_BYTES_MAX, Read, Refusal, Reply, VALUE_BYTES_MAX, Write,
};
use flin_state::read::{ReadOutcome, read_all};

use crate::partition::{GROUP, Partition};

fn largest_value() -> Bytes {
    Bytes::from(vec![b'x'; VALUE_BYTES_MAX])
}

#[test]
fn keys_and_values_of_just_the_limit_are_taken_and_larger_ones_refused() {
    let mut partition = Partition::default();
    let longest = Bytes::from(vec![b'k'; KEY_BYTES_MAX]);
    assert_eq!(partition.write(1, Write::set(longest, largest_value())), Reply::Ok);
    let longer = Bytes::from(vec![b'k'; KEY_BYTES_MAX + 1]);
    let refused = Reply::Refused(Refusal::KeyTooLong);
    assert_eq!(partition.write(1, Write::set(longer.clone(), "")), refused);
    assert_eq!(partition.read(1, &Read::Get { key: longer }), refused);
    let larger = Bytes::from(vec![b'x'; VALUE_BYTES_MAX + 1]);
    assert_eq!(partition.write(1, Write::set("a", larger)), Reply::Refused(Refusal::ValueTooLong));
    assert_eq!(partition.records().len(), 1);
}

#[test]
fn values_do_not_grow_beyond_the_limit() {
    let mut partition = Partition::default();
    partition.write(1, Write::set("a", largest_value()));
    let refused = Reply::Refused(Refusal::ValueTooLong);
    let append = Write::Append { key: "a".into(), value: "y".into() };
    assert_eq!(partition.write(1, append), refused);
    for offset in [VALUE_BYTES_MAX as i64, i64::MAX] {
        let patch = Write::SetRange { key: "b".into(), offset, value: "y".into() };
        assert_eq!(partition.write(1, patch), refused);
    }
    assert_eq!(partition.records().len(), 1);
}

#[test]
fn a_batch_that_touches_too_much_is_refused_from_there_on_and_alike_in_every_run() {
    let append = |key: usize| Write::Append { key: format!("k{key}").into(), value: "y".into() };
    let mut partition = Partition::default();
    let half = Bytes::from(vec![b'x'; VALUE_BYTES_MAX / 2]);
    for key in 0..20 {
        partition.write(1, Write::set(format!("k{key}"), half.clone()));
    }
    let batch = Command { stamp: Timestamp(1), writes: (0..20).map(append).collect() };
    let replies = partition.run([batch.clone(), batch]);
    let refused = |replies: &[Reply]| {
        replies.iter().filter(|reply| **reply == Reply::Refused(Refusal::BatchTooLarge)).count()
    };
    assert_eq!((refused(&replies[0]), refused(&replies[1])), (4, 4));
}

#[test]
fn deleting_and_overwriting_large_values_is_never_too_much() {
    let mut partition = Partition::default();
    let keys: Vec<Bytes> = (0..20).map(|key| Bytes::from(format!("k{key}"))).collect();
    for key in &keys {
        partition.write(1, Write::set(key.clone(), largest_value()));
    }
    let pairs = keys.iter().map(|key| (key.clone(), Bytes::from("small"))).collect();
    let writes = vec![Write::SetMany { pairs }, Write::Delete { keys }, Write::set("a", "b")];
    let replies = partition.run([Command { stamp: Timestamp(1), writes }]).remove(0);
    assert_eq!(replies, [Reply::Ok, Reply::Int(20), Reply::Ok]);
}

#[test]
fn a_run_says_when_it_is_full() {
    let partition = Partition::default();
    let mut state = partition.state.clone();
    let mut index = state.applied;
    let mut apply = Apply::begin(&partition.store, GROUP, &mut state);
    let mut kept = 0;
    while !apply.is_full() {
        index = index.next();
        let write = Write::set(format!("k{}", index.0), largest_value());
        let command = Command { stamp: Timestamp(1), writes: vec![write] };
        let entry = Committed { index, term: Term(6), content: Content::Command(command) };
        apply.entry(entry).expect("the store does not fail");
        kept += VALUE_BYTES_MAX;
    }
    assert!(kept <= RUN_BYTES_MAX + VALUE_BYTES_MAX);
}

#[test]
fn a_pattern_of_too_many_bytes_is_refused() {
    let mut partition = Partition::default();
    let pattern = Some(Bytes::from(vec![b'*'; PATTERN_BYTES_MAX + 1]));
    let read = Read::ScanByHash { position: 0, count: 10, pattern };
    assert_eq!(partition.read(1, &read), Reply::Refused(Refusal::PatternTooLong));
}

#[test]
fn an_answer_of_too_many_bytes_is_refused() {
    let mut partition = Partition::default();
    partition.write(1, Write::set("a", largest_value()));
    let read = Read::GetMany { keys: vec!["a".into(); 5] };
    assert_eq!(partition.read(1, &read), Reply::Refused(Refusal::ReplyTooLarge));
    let reads = vec![Read::Get { key: "a".into() }; 6];
    let outcome = read_all(&partition.store, GROUP, &partition.state, Timestamp(1), &reads);
    let ReadOutcome::Reply(replies) = outcome.expect("reads") else { panic!("nothing expires") };
    assert_eq!(replies[5], Reply::Refused(Refusal::ReplyTooLarge));
    assert!(matches!(replies[4], Reply::Bytes(_)));
}

#[test]
fn a_page_of_large_values_ends_early_and_holds_at_least_one() {
    let mut partition = Partition::default();
    for key in ["a", "b", "c"] {
        partition.write(1, Write::set(key, largest_value()));
    }
    let read = Read::ScanRange { from: Bytes::new(), to: None, limit: 1000 };
    let Reply::Pairs(page) = partition.read(1, &read) else { panic!("no page") };
    assert_eq!((page.pairs.len(), page.next), (1, Some(Bytes::from("b"))));
}

#[test]
fn a_batch_inside_a_batch_is_refused() {
    let mut partition = Partition::default();
    let inner = Write::Atomic(vec![Write::set("a", "1")]);
    let outer = Write::Atomic(vec![inner, Write::set("b", "2")]);
    assert_eq!(outer.check(), Err(Refusal::NestedBatch));
    let expected = Reply::Array(vec![Reply::Refused(Refusal::NestedBatch), Reply::Ok]);
    assert_eq!(partition.write(1, outer), expected);
}

#[test]
fn entries_without_a_command_still_count_as_applied() {
    let mut partition = Partition::default();
    let before = partition.state.applied;
    let members = Configuration::of_voters([(ReplicaId(4), NodeId(2))]);
    let replies =
        partition.run_contents(vec![Content::Nothing, Content::Configuration(members.clone())]);
    assert_eq!(replies, [vec![], vec![]]);
    assert_eq!(partition.state.applied.0, before.0 + 2);
    assert_eq!(partition.state.configuration, members);
}
