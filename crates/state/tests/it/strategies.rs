//! Random operations over few keys and moments, so that they meet.

use bytes::Bytes;
use flin_state::command::Command;
use flin_state::ids::Timestamp;
use flin_state::operation::{Condition, ExpireCondition, Expiry, Moment, Read, TtlUnit, Write};
use proptest::prelude::*;

pub fn key() -> impl Strategy<Value = Bytes> {
    let keys = [&b""[..], b"a", b"b", b"b\x00", b"c", b"\xff\xff"];
    prop::sample::select(keys.map(Bytes::from_static).to_vec())
}

pub fn value() -> impl Strategy<Value = Bytes> {
    let values = [&b""[..], b"1", b"41", b"-7", b"007", b"9223372036854775807", b"hello"];
    prop::sample::select(values.map(Bytes::from_static).to_vec())
}

fn ms() -> impl Strategy<Value = i64> {
    prop_oneof![20 => -5..60_i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN)]
}

fn at_ms() -> impl Strategy<Value = i64> {
    prop_oneof![20 => 0..300_i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN)]
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::None),
        Just(Expiry::Keep),
        ms().prop_map(Expiry::In),
        at_ms().prop_map(Expiry::At),
    ]
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![ms().prop_map(Moment::In), at_ms().prop_map(Moment::At)]
}

fn condition() -> impl Strategy<Value = Condition> {
    prop::sample::select(vec![Condition::Always, Condition::IfAbsent, Condition::IfPresent])
}

fn expire_condition() -> impl Strategy<Value = ExpireCondition> {
    use ExpireCondition::*;
    prop::sample::select(vec![Always, Nx, Xx, Gt, Lt, XxLt])
}

fn keys() -> impl Strategy<Value = Vec<Bytes>> {
    prop::collection::vec(key(), 0..4)
}

pub fn single_write() -> impl Strategy<Value = Write> {
    prop_oneof![
        6 => (key(), value(), expiry(), condition(), any::<bool>()).prop_map(
            |(key, value, expiry, condition, return_old)| Write::Set {
                key, value, expiry, condition, return_old,
            }
        ),
        1 => prop::collection::vec((key(), value()), 0..4)
            .prop_map(|pairs| Write::SetMany { pairs }),
        1 => key().prop_map(|key| Write::GetDel { key }),
        2 => (key(), expiry()).prop_map(|(key, expiry)| Write::GetEx { key, expiry }),
        2 => keys().prop_map(|keys| Write::Delete { keys }),
        2 => (key(), prop_oneof![-3..4_i64, any::<i64>()])
            .prop_map(|(key, by)| Write::Increment { key, by }),
        1 => (key(), value()).prop_map(|(key, value)| Write::Append { key, value }),
        1 => (key(), -1..9_i64, value())
            .prop_map(|(key, offset, value)| Write::SetRange { key, offset, value }),
        3 => (key(), moment(), expire_condition())
            .prop_map(|(key, at, condition)| Write::Expire { key, at, condition }),
        1 => key().prop_map(|key| Write::Persist { key }),
        2 => (key(), prop::option::of(value()), prop::option::of(value()))
            .prop_map(|(key, expected, value)| Write::CompareAndSet { key, expected, value }),
        1 => Just(Write::Flush),
        1 => (0..4_u32).prop_map(|limit| Write::ExpireDue { limit }),
    ]
}

pub fn write() -> impl Strategy<Value = Write> {
    let batch = prop::collection::vec(single_write(), 0..5).prop_map(Write::Atomic);
    prop_oneof![8 => single_write(), 1 => batch]
}

/// Commands whose stamps mostly grow and sometimes go back.
pub fn commands() -> impl Strategy<Value = Vec<Command>> {
    let command = (-10..40_i64, prop::collection::vec(write(), 0..5));
    prop::collection::vec(command, 1..20).prop_map(|steps| {
        let mut now = 100_i64;
        let commands = steps.into_iter().map(|(step, writes)| {
            now += step;
            Command { stamp: Timestamp(now.unsigned_abs()), writes }
        });
        commands.collect()
    })
}

/// Reads without pages.
pub fn read() -> impl Strategy<Value = Read> {
    let unit = prop::sample::select(vec![TtlUnit::Seconds, TtlUnit::Milliseconds]);
    prop_oneof![
        key().prop_map(|key| Read::Get { key }),
        key().prop_map(|key| Read::GetWithTtl { key }),
        keys().prop_map(|keys| Read::GetMany { keys }),
        keys().prop_map(|keys| Read::Exists { keys }),
        key().prop_map(|key| Read::Length { key }),
        (key(), unit, any::<bool>()).prop_map(|(key, unit, absolute)| Read::Ttl {
            key,
            unit,
            absolute
        }),
        key().prop_map(|key| Read::Type { key }),
        Just(Read::Count),
    ]
}

/// Every read, for the codec.
pub fn any_read() -> impl Strategy<Value = Read> {
    prop_oneof![
        3 => read(),
        1 => (key(), any::<i64>(), any::<i64>())
            .prop_map(|(key, start, end)| Read::GetRange { key, start, end }),
        1 => (any::<u64>(), any::<u32>(), prop::option::of(value())).prop_map(
            |(position, count, pattern)| Read::ScanByHash { position, count, pattern }
        ),
        1 => (key(), prop::option::of(key()), any::<u32>())
            .prop_map(|(from, to, limit)| Read::ScanRange { from, to, limit }),
    ]
}
