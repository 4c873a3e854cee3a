//! The binary forms: what is written is read back, and nothing else is accepted or breaks.

use bytes::Bytes;
use flin_state::cluster::Change;
use flin_state::command::Command;
use flin_state::ids::Timestamp;
use flin_state::operation::{KeyPage, PairPage, Read, Refusal, Reply, ValueType, Write};
use proptest::prelude::*;

use crate::strategies::{any_read, value, write};

fn reply() -> impl Strategy<Value = Reply> {
    let refusal = prop::sample::select(vec![
        Refusal::NotAnInteger,
        Refusal::Overflow,
        Refusal::KeyTooLong,
        Refusal::ValueTooLong,
        Refusal::PatternTooLong,
        Refusal::OffsetOutOfRange,
        Refusal::InvalidExpire,
        Refusal::NestedBatch,
        Refusal::BatchTooLarge,
        Refusal::ReplyTooLarge,
    ]);
    let leaf = prop_oneof![
        Just(Reply::Ok),
        Just(Reply::Nil),
        any::<i64>().prop_map(Reply::Int),
        value().prop_map(Reply::Bytes),
        Just(Reply::Type(ValueType::None)),
        Just(Reply::Type(ValueType::String)),
        (prop::collection::vec(value(), 0..4), any::<Option<u64>>())
            .prop_map(|(keys, next)| Reply::Keys(KeyPage { keys, next })),
        (prop::collection::vec((value(), value()), 0..4), prop::option::of(value()))
            .prop_map(|(pairs, next)| Reply::Pairs(PairPage { pairs, next })),
        refusal.prop_map(Reply::Refused),
    ];
    leaf.prop_recursive(2, 16, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Reply::Array))
}

proptest! {
    #[test]
    fn writes_round_trip(writes in prop::collection::vec(write(), 0..6)) {
        prop_assert_eq!(Write::decode_all(Write::encode_all(&writes)), Ok(writes));
    }

    #[test]
    fn reads_round_trip(reads in prop::collection::vec(any_read(), 0..6)) {
        prop_assert_eq!(Read::decode_all(Read::encode_all(&reads)), Ok(reads));
    }

    #[test]
    fn replies_round_trip(replies in prop::collection::vec(reply(), 0..6)) {
        prop_assert_eq!(Reply::decode_all(Reply::encode_all(&replies)), Ok(replies));
    }

    #[test]
    fn commands_round_trip(stamp: u64, writes in prop::collection::vec(write(), 0..6)) {
        let command = Command { stamp: Timestamp(stamp), writes };
        prop_assert_eq!(Command::decode(command.encode()), Ok(command));
    }

    #[test]
    fn a_cut_or_longer_command_is_malformed(
        writes in prop::collection::vec(write(), 1..4), cut in any::<prop::sample::Index>(),
    ) {
        let bytes = Command { stamp: Timestamp(1), writes }.encode();
        prop_assert!(Command::decode(bytes.slice(..cut.index(bytes.len()))).is_err());
        let longer = [&bytes[..], b"\0"].concat();
        prop_assert!(Command::decode(longer.into()).is_err());
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(mut bytes: Vec<u8>, versioned: bool) {
        if let Some(first) = bytes.first_mut().filter(|_| versioned) {
            *first = 1;
        }
        let bytes = Bytes::from(bytes);
        let _ = (Write::decode_all(bytes.clone()), Read::decode_all(bytes.clone()));
        let _ = (Reply::decode_all(bytes.clone()), Change::decode(&bytes), Command::decode(bytes));
    }

    #[test]
    fn a_flipped_bit_is_decoded_or_refused(
        writes in prop::collection::vec(write(), 1..4), at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut bytes = Write::encode_all(&writes).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = Write::decode_all(bytes.into());
    }
}

#[test]
fn a_later_version_is_refused_as_such() {
    let malformed = Command::decode(Bytes::from_static(&[2, 0, 0])).expect_err("unknown version");
    assert_eq!(malformed.to_string(), "malformed version at byte 0");
}

#[test]
fn an_unknown_operation_is_refused_as_such() {
    let malformed = Command::decode(Bytes::from_static(&[1, 0, 1, 99])).expect_err("unknown");
    assert_eq!(malformed.to_string(), "malformed write at byte 3");
}

#[test]
fn deep_nesting_is_refused_without_a_deep_stack() {
    let batches = [12, 1].repeat(1_000_000);
    let bytes = [&[1, 1][..], &batches].concat();
    assert!(Write::decode_all(bytes.into()).is_err());
    let arrays = [5, 1].repeat(1_000_000);
    let bytes = [&[1, 1][..], &arrays].concat();
    assert!(Reply::decode_all(bytes.into()).is_err());
}

/// Persisted since version 1: a change here is a change of format.
#[test]
fn the_form_of_a_command_stays_what_it_is() {
    let command = Command {
        stamp: Timestamp(300),
        writes: vec![
            Write::set("key", "value"),
            Write::Increment { key: "n".into(), by: -1 },
            Write::Flush,
        ],
    };
    let expected = b"\x01\xac\x02\x03\x01\x03key\x05value\x00\x00\x06\x01n\x01\x0d";
    assert_eq!(&command.encode()[..], expected);
}
