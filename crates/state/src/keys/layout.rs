//! Engine keys: written, read back, and the ranges they form.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::ids::{GroupId, Timestamp};

/// The bits of a key's hash that are kept: the position of a SCAN inside a partition. The bits above them
/// in a cursor are the node's, for the partition.
pub const HASH_BITS: u32 = 48;

const HASH_BYTES: usize = 6;
const MOMENT_BYTES: usize = 8;
/// Group and space.
const PREFIX_BYTES: usize = 3;

/// The position of `key` in hash order, below 2^48: the upper bits of its XXH3-64 with seed 0.
///
/// The hash is public, so keys can be made to collide; a page of SCAN, which never parts equal hashes,
/// is then as long as there are such keys.
pub fn hash_of(key: &[u8]) -> u64 {
    xxh3_64(key) >> (64 - HASH_BITS)
}

/// The kinds of keys inside a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Space {
    /// The cluster's state, in the meta group.
    Cluster = b'C',
    /// User keys and their records.
    Data = b'D',
    /// User keys by hash.
    Hash = b'H',
    /// The group's own record.
    Meta = b'M',
    /// User keys by the moment they expire.
    Expiry = b'T',
}

/// An engine key, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineKey<'a> {
    /// The cluster's state.
    Cluster,
    /// The record of a user key.
    Data(&'a [u8]),
    /// A user key and its hash.
    Hash(u64, &'a [u8]),
    /// The group's own record.
    Meta,
    /// A user key and the moment it expires.
    Expiry(Timestamp, &'a [u8]),
}

impl<'a> EngineKey<'a> {
    /// Reads a whole engine key; `None` if it is not of this layout.
    pub fn parse(bytes: &'a [u8]) -> Option<(GroupId, EngineKey<'a>)> {
        let (prefix, rest) = bytes.split_first_chunk::<PREFIX_BYTES>()?;
        let key = match prefix[2] {
            b'C' if rest.is_empty() => EngineKey::Cluster,
            b'D' => EngineKey::Data(rest),
            b'H' => {
                let (hash, key) = split_hash(rest)?;
                EngineKey::Hash(hash, key)
            }
            b'M' if rest.is_empty() => EngineKey::Meta,
            b'T' => {
                let (moment, key) = split_moment(rest)?;
                EngineKey::Expiry(moment, key)
            }
            _ => return None,
        };
        Some((GroupId(u16::from_be_bytes([prefix[0], prefix[1]])), key))
    }

    /// Appends the whole engine key to `out`.
    pub fn write(&self, group: GroupId, out: &mut impl bytes::BufMut) {
        out.put_u16(group.0);
        match self {
            EngineKey::Cluster => out.put_u8(Space::Cluster as u8),
            EngineKey::Data(key) => {
                out.put_u8(Space::Data as u8);
                out.put_slice(key);
            }
            EngineKey::Hash(hash, key) => {
                out.put_u8(Space::Hash as u8);
                out.put_uint(*hash, HASH_BYTES);
                out.put_slice(key);
            }
            EngineKey::Meta => out.put_u8(Space::Meta as u8),
            EngineKey::Expiry(moment, key) => {
                out.put_u8(Space::Expiry as u8);
                out.put_u64(moment.0);
                out.put_slice(key);
            }
        }
    }

    /// The number of bytes that [`EngineKey::write`] appends.
    pub fn size_bytes(&self) -> usize {
        PREFIX_BYTES
            + match self {
                EngineKey::Cluster | EngineKey::Meta => 0,
                EngineKey::Data(key) => key.len(),
                EngineKey::Hash(_, key) => HASH_BYTES + key.len(),
                EngineKey::Expiry(_, key) => MOMENT_BYTES + key.len(),
            }
    }

    /// The whole engine key.
    pub fn to_bytes(&self, group: GroupId) -> Bytes {
        let mut out = Vec::with_capacity(self.size_bytes());
        self.write(group, &mut out);
        Bytes::from(out)
    }
}

/// Everything of `group`: what a snapshot of it holds, from the first key to the first beyond.
pub fn group_range(group: GroupId) -> (Vec<u8>, Vec<u8>) {
    let to = match group.0.checked_add(1) {
        Some(next) => next.to_be_bytes().to_vec(),
        None => vec![0xFF, 0xFF, 0xFF],
    };
    (group.0.to_be_bytes().to_vec(), to)
}

/// Everything of one space of `group`.
pub fn space_range(group: GroupId, space: Space) -> (Vec<u8>, Vec<u8>) {
    let [high, low] = group.0.to_be_bytes();
    (vec![high, low, space as u8], vec![high, low, space as u8 + 1])
}

/// The user key of an engine key in the data space.
pub(crate) fn user_key_of_data(engine_key: &[u8]) -> &[u8] {
    &engine_key[PREFIX_BYTES.min(engine_key.len())..]
}

fn split_hash(rest: &[u8]) -> Option<(u64, &[u8])> {
    let (hash, key) = rest.split_first_chunk::<HASH_BYTES>()?;
    let mut wide = [0; 8];
    wide[8 - HASH_BYTES..].copy_from_slice(hash);
    Some((u64::from_be_bytes(wide), key))
}

fn split_moment(rest: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (moment, key) = rest.split_first_chunk::<MOMENT_BYTES>()?;
    Some((Timestamp(u64::from_be_bytes(*moment)), key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0_u8), Just(0xFF), any::<u8>()], 0..6)
    }

    proptest! {
        #[test]
        fn engine_keys_round_trip(
            group in any::<u16>(), user in any_key(), hash in 0..1_u64 << HASH_BITS, moment: u64,
        ) {
            let group = GroupId(group);
            for key in [
                EngineKey::Cluster,
                EngineKey::Data(&user),
                EngineKey::Hash(hash, &user),
                EngineKey::Meta,
                EngineKey::Expiry(Timestamp(moment), &user),
            ] {
                let bytes = key.to_bytes(group);
                prop_assert_eq!(bytes.len(), key.size_bytes());
                prop_assert_eq!(EngineKey::parse(&bytes), Some((group, key)));
            }
        }

        #[test]
        fn any_bytes_parse_to_what_writes_them_or_not_at_all(
            bytes in prop::collection::vec(any::<u8>(), 0..16),
        ) {
            if let Some((group, key)) = EngineKey::parse(&bytes) {
                prop_assert_eq!(key.to_bytes(group), bytes);
            }
        }

        #[test]
        fn data_keeps_the_order_of_user_keys(a in any_key(), b in any_key()) {
            let key = |user: &[u8]| EngineKey::Data(user).to_bytes(GroupId(7));
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }

        #[test]
        fn indexes_order_by_number_before_key(
            a in (0..1_u64 << HASH_BITS, any_key()), b in (0..1_u64 << HASH_BITS, any_key()),
        ) {
            let hash = |(h, k): &(u64, Vec<u8>)| EngineKey::Hash(*h, k).to_bytes(GroupId(7));
            prop_assert_eq!(hash(&a).cmp(&hash(&b)), a.cmp(&b));
            let moment =
                |(m, k): &(u64, Vec<u8>)| EngineKey::Expiry(Timestamp(*m), k).to_bytes(GroupId(7));
            prop_assert_eq!(moment(&a).cmp(&moment(&b)), a.cmp(&b));
        }

        #[test]
        fn a_group_is_one_range_and_each_space_a_range_in_it(
            group in any::<u16>(), other in any::<u16>(), user in any_key(),
        ) {
            let (from, to) = group_range(GroupId(group));
            let (data_from, data_to) = space_range(GroupId(group), Space::Data);
            let key = EngineKey::Data(&user).to_bytes(GroupId(other));
            prop_assert_eq!(from[..] <= key[..] && key[..] < to[..], group == other);
            prop_assert_eq!(data_from[..] <= key[..] && key[..] < data_to[..], group == other);
        }
    }

    #[test]
    fn the_hash_is_the_published_one_and_fits_its_bits() {
        assert_eq!(hash_of(b""), 0x2D06_8005_38D3);
        assert!(hash_of(b"user:1000") < 1 << HASH_BITS);
    }
}
