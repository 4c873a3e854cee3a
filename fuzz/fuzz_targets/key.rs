//! Keys and records on disk: they read back as they were written, and lie in the order that scans count on.
//!
//! The first byte chooses what the rest is.

#![no_main]

use bytes::Bytes;
use flin_fuzz::input::Input;
use flin_fuzz::memory;
use flin_state::ids::{GroupId, PartitionId, Timestamp};
use flin_state::keys::{
    EngineKey, GroupState, HASH_BITS, Record, Space, group_range, hash_of, space_range,
};
use flin_state::slot::{PARTITIONS_MAX, SLOTS, partition_of_key, slot_of, slots_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [kind, bytes @ ..] = data else { return };
    match kind % 5 {
        0 => parsed_key(bytes),
        1 => pair_of_keys(&mut Input::new(bytes)),
        2 => record(bytes),
        3 => group_state(bytes),
        _ => partition(bytes),
    }
});

/// Bytes parse to what writes them, or not at all.
fn parsed_key(bytes: &[u8]) {
    let Some((group, key)) = EngineKey::parse(bytes) else { return };
    assert_eq!(key.to_bytes(group), bytes);
    assert_eq!(key.size_bytes(), bytes.len());
    assert!(within(bytes, &group_range(group)));
    let (space, place) = place_of(&key);
    assert!(within(bytes, &space_range(group, space)));
    assert!(place.0 <= u64::MAX >> 16 || space == Space::Expiry);
}

/// Any two keys lie as their group, space, number and user key do.
fn pair_of_keys(input: &mut Input<'_>) {
    let (one, other) = (parts(input), parts(input));
    let (a, b) = (one.key().to_bytes(one.group), other.key().to_bytes(other.group));
    let place = |parts: &Parts| {
        let (space, place) = place_of(&parts.key());
        (parts.group, space, place.0, place.1.to_vec())
    };
    assert_eq!(a.cmp(&b), place(&one).cmp(&place(&other)), "{one:?} {other:?}");
    assert_eq!(EngineKey::parse(&a), Some((one.group, one.key())));
    assert_eq!(within(&a, &group_range(other.group)), one.group == other.group);
    let (space, _) = place_of(&other.key());
    let same = one.group == other.group && place_of(&one.key()).0 == space;
    assert_eq!(within(&a, &space_range(other.group, space)), same);
}

#[derive(Debug)]
struct Parts<'a> {
    group: GroupId,
    space: u8,
    number: u64,
    user: &'a [u8],
}

fn parts<'a>(input: &mut Input<'a>) -> Parts<'a> {
    let group = *input.choose(&[0, 1, 2, 255, 256, u16::MAX - 1, u16::MAX]);
    let (space, number) = (input.byte(), input.number());
    Parts { group: GroupId(group), space, number, user: input.bytes(32) }
}

impl<'a> Parts<'a> {
    fn key(&self) -> EngineKey<'a> {
        match self.space % 6 {
            0 => EngineKey::Cluster,
            1 => EngineKey::Data(self.user),
            2 => EngineKey::Hash(self.number % (1 << HASH_BITS), self.user),
            3 => EngineKey::Hash(hash_of(self.user), self.user),
            4 => EngineKey::Meta,
            _ => EngineKey::Expiry(Timestamp(self.number), self.user),
        }
    }
}

/// What decides about the place of a key inside its group.
fn place_of<'a>(key: &EngineKey<'a>) -> (Space, (u64, &'a [u8])) {
    match key {
        EngineKey::Cluster => (Space::Cluster, (0, &[])),
        EngineKey::Data(user) => (Space::Data, (0, user)),
        EngineKey::Hash(hash, user) => (Space::Hash, (*hash, user)),
        EngineKey::Meta => (Space::Meta, (0, &[])),
        EngineKey::Expiry(moment, user) => (Space::Expiry, (moment.0, user)),
    }
}

fn within(key: &[u8], (from, to): &(Vec<u8>, Vec<u8>)) -> bool {
    from[..] <= *key && *key < to[..]
}

fn record(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let Some(record) = Record::parse(&bytes) else { return };
    let mut out = Vec::new();
    record.write(&mut out);
    assert_eq!((out.len(), &out[..]), (record.size_bytes(), &bytes[..]));
    if let Some(moment) = record.expires {
        assert!(record.is_due(moment));
        assert!(moment.0 == 0 || !record.is_due(Timestamp(moment.0 - 1)));
    }
}

fn group_state(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let decoded = memory::within(bytes.len() * 256 + (64 << 10), || GroupState::decode(bytes));
    let Ok(state) = decoded else { return };
    let encoded = state.encode();
    assert_eq!(GroupState::decode(encoded.clone()).as_ref(), Ok(&state));
    assert!(GroupState::decode(encoded.slice(..encoded.len() - 1)).is_err());
}

/// Every key is in the one slot and the one partition whose range says so, whatever its hash tag.
fn partition(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let partitions = 1 + (input.word() % u64::from(PARTITIONS_MAX)) as u16;
    let key = input.rest();
    let (slot, partition) = (slot_of(key), partition_of_key(key, partitions));
    assert!(slot < SLOTS && partition.0 < partitions);
    assert!(slots_of(partition, partitions).contains(&slot));
    assert_eq!(partition.group().partition(), Some(PartitionId(partition.0)));
    if !key.contains(&b'}') && !key.is_empty() {
        let tagged = [b"{", key, b"}", key].concat();
        assert_eq!(slot_of(&tagged), slot);
    }
}
