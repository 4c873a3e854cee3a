//! Which partition owns a key: the hash slots of Redis Cluster, so that its clients route to Flin.

use std::ops::Range;

use crate::ids::PartitionId;

/// The number of hash slots, fixed by the protocol of Redis Cluster.
pub const SLOTS: u16 = 16_384;

/// The most partitions a cluster can have; each owns at least 16 slots.
pub const PARTITIONS_MAX: u16 = 1_024;

/// The hash slot of `key`: CRC16/XMODEM of the part inside the first `{braces}` when that is not empty,
/// else of the whole key, modulo [`SLOTS`] (Redis Cluster specification, "hash tags").
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(hashed_part(key)) % SLOTS
}

/// The partition that owns `slot` when the cluster has `partitions` of them.
pub fn partition_of(slot: u16, partitions: u16) -> PartitionId {
    let owner = u32::from(slot) * u32::from(partitions) / u32::from(SLOTS);
    PartitionId(u16::try_from(owner).expect("a slot below SLOTS maps below `partitions`, a u16"))
}

/// The partition that owns `key`.
pub fn partition_of_key(key: &[u8], partitions: u16) -> PartitionId {
    partition_of(slot_of(key), partitions)
}

/// The slots that `partition` owns, the inverse of [`partition_of`].
pub fn slots_of(partition: PartitionId, partitions: u16) -> Range<u16> {
    let start = |p: u32| {
        let first = (p * u32::from(SLOTS)).div_ceil(u32::from(partitions));
        u16::try_from(first).expect("at most SLOTS, which is a u16")
    };
    start(u32::from(partition.0))..start(u32::from(partition.0) + 1)
}

fn hashed_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|b| *b == b'{') else { return key };
    let tail = &key[open + 1..];
    match tail.iter().position(|b| *b == b'}') {
        Some(close) if close > 0 => &tail[..close],
        _ => key,
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(0, |crc, byte| (crc << 8) ^ CRC16_TABLE[usize::from((crc >> 8) ^ u16::from(*byte))])
}

/// CRC16/XMODEM (polynomial 0x1021, initial value 0), one entry per byte.
const CRC16_TABLE: [u16; 256] = {
    let mut table = [0_u16; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_matches_the_published_check_value() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"foo"), 12_182);
    }

    #[test]
    fn only_a_filled_hash_tag_counts() {
        assert_eq!(slot_of(b"{user1}.a"), slot_of(b"user1"));
        assert_eq!(slot_of(b"x{}y"), crc16(b"x{}y") % SLOTS);
        assert_eq!(slot_of(b"a{b}{c}"), slot_of(b"b"));
        assert_eq!(slot_of(b"a{b"), crc16(b"a{b") % SLOTS);
    }

    #[test]
    fn every_slot_has_the_owner_whose_range_names_it() {
        for partitions in [1, 2, 3, 7, 64, 100, 1_000, PARTITIONS_MAX] {
            let mut next = 0;
            for partition in (0..partitions).map(PartitionId) {
                let slots = slots_of(partition, partitions);
                assert_eq!(slots.start, next);
                assert!(slots.clone().all(|slot| partition_of(slot, partitions) == partition));
                next = slots.end;
            }
            assert_eq!(next, SLOTS);
        }
    }
}
