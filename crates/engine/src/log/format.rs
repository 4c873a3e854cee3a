//! The bytes of a segment: a header, then records, each framed by its length and checksum.
//! Persisted: keep stable, or raise [`FORMAT`].
//!
//! ```text
//! header  "FLINLOG\0" | format u32 | crc u32 | sequence u64 | previous sequence u64 | previous end u32
//! record  frame crc u32 | payload crc u32 | payload length u32 | synced u32 | payload | zeros up to 8 bytes
//! ```
//! Numbers are little-endian. The frame's checksum covers the rest of the frame and also the segment's
//! sequence and the record's own offset, so that neither the leftovers of a reused file nor bytes a
//! client wrote into a value can pass for a record. It is checked before the length is believed.

/// The format that this version writes, and the newest one that it reads.
use flin_mutant::{Bug, is};

pub(super) const FORMAT: u32 = 1;

/// The length of a segment's header; records begin here.
pub(super) const HEADER_BYTES: usize = 64;

/// The length of a record's frame, before its payload.
pub(super) const FRAME_BYTES: usize = 16;

/// Records begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;

/// The longest payload of a record. It bounds what one [`flin_state::log::Log::write`] can carry, and
/// the memory that reading a segment takes.
pub const RECORD_BYTES_MAX: usize = 256 << 20;

const HEADER_MAGIC: &[u8; 8] = b"FLINLOG\0";

/// What a segment says about itself and about the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// This segment's number; the file's name says the same.
    pub sequence: u64,
    /// The segment that came before; zero is none.
    pub previous: u64,
    /// Where the records of the previous segment end. All of them are durable.
    pub previous_end: u32,
}

/// Why bytes are not a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// Damage, or not a segment at all.
    Damaged(&'static str),
    /// A later version of Flin wrote it.
    Newer(u32),
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(HEADER_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.previous.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.previous_end.to_le_bytes());
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header, BadHeader> {
        if &bytes[..8] != HEADER_MAGIC {
            return Err(BadHeader::Damaged("this is no segment of a Flin log"));
        }
        // The format comes before the checksum: a later one may checksum differently.
        match read_u32(bytes, 8) {
            FORMAT => {}
            0 => return Err(BadHeader::Damaged("the header has no format")),
            newer => return Err(BadHeader::Newer(newer)),
        }
        if read_u32(bytes, 12) != crc32fast::hash(&bytes[16..]) {
            return Err(BadHeader::Damaged("the header's checksum does not match"));
        }
        Ok(Header {
            sequence: read_u64(bytes, 16),
            previous: read_u64(bytes, 24),
            previous_end: read_u32(bytes, 32),
        })
    }
}

/// A record found in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// The payload's length.
    pub length: usize,
    /// The offset in this segment below which everything was durable when the record was written.
    pub synced: u32,
}

impl Frame {
    /// The bytes that the record takes in its segment.
    pub fn record_bytes(&self) -> usize {
        record_bytes(self.length)
    }
}

/// The bytes that a record with a payload of `length` takes in its segment.
pub(super) fn record_bytes(length: usize) -> usize {
    (FRAME_BYTES + length).next_multiple_of(ALIGNMENT)
}

/// Completes a record that starts with [`FRAME_BYTES`] of room, followed by its payload: fills in the
/// frame and pads the end.
pub(super) fn seal(record: &mut Vec<u8>, sequence: u64, offset: u32, synced: u32) {
    let length = u32::try_from(record.len() - FRAME_BYTES)
        .expect("a payload is at most RECORD_BYTES_MAX long, checked before it is sealed");
    let payload_crc = crc32fast::hash(&record[FRAME_BYTES..]);
    record[4..8].copy_from_slice(&payload_crc.to_le_bytes());
    record[8..12].copy_from_slice(&length.to_le_bytes());
    record[12..16].copy_from_slice(&synced.to_le_bytes());
    let crc = frame_checksum(&record[4..FRAME_BYTES], sequence, offset);
    record[..4].copy_from_slice(&crc.to_le_bytes());
    record.resize(record.len().next_multiple_of(ALIGNMENT), 0);
}

/// The record at `offset` of the segment `bytes`; `None` if there is no whole one.
pub(super) fn frame_at(bytes: &[u8], sequence: u64, offset: usize) -> Option<Frame> {
    let head = bytes.get(offset..)?.get(..FRAME_BYTES)?;
    let found = frame_checksum(&head[4..], sequence, u32::try_from(offset).ok()?);
    let frame = Frame { length: read_u32(head, 8) as usize, synced: read_u32(head, 12) };
    let sound = found == read_u32(head, 0) || is(Bug::TrustRecords);
    if !sound || frame.length == 0 || frame.length > RECORD_BYTES_MAX {
        return None;
    }
    let payload = bytes.get(offset + FRAME_BYTES..)?.get(..frame.length)?;
    (crc32fast::hash(payload) == read_u32(head, 4) || is(Bug::TrustRecords)).then_some(frame)
}

/// Whether some record at or after `offset` proves that what is at `offset` had been durable. It is the
/// difference between a tail that a crash tore and damage to what was promised.
pub(super) fn proof_of_sync(bytes: &[u8], sequence: u64, offset: usize) -> Option<usize> {
    let mut place = offset;
    while place + FRAME_BYTES <= bytes.len() {
        match frame_at(bytes, sequence, place) {
            Some(frame) if frame.synced as usize > offset => return Some(place),
            Some(frame) => place += frame.record_bytes(),
            None => place += ALIGNMENT,
        }
    }
    None
}

/// The payload of the record that [`frame_at`] found at `offset`.
pub(super) fn payload(bytes: &[u8], offset: usize, frame: Frame) -> &[u8] {
    &bytes[offset + FRAME_BYTES..][..frame.length]
}

fn frame_checksum(frame: &[u8], sequence: u64, offset: u32) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&sequence.to_le_bytes());
    crc.update(&offset.to_le_bytes());
    crc.update(frame);
    crc.finalize()
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: &[u8], sequence: u64, offset: u32, synced: u32) -> Vec<u8> {
        let mut record = vec![0; FRAME_BYTES];
        record.extend_from_slice(payload);
        seal(&mut record, sequence, offset, synced);
        record
    }

    #[test]
    fn header_reads_back() {
        let header = Header { sequence: 7, previous: 5, previous_end: 4096 };
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let good = Header { sequence: 7, previous: 5, previous_end: 4096 }.encode();
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn newer_format_is_told_from_damage() {
        let mut bytes = Header { sequence: 7, previous: 5, previous_end: 4096 }.encode();
        bytes[8] = 2;
        assert_eq!(Header::decode(&bytes), Err(BadHeader::Newer(2)));
    }

    #[test]
    fn every_flipped_bit_of_a_record_is_noticed() {
        let good = record(b"payload", 3, 0, 0);
        assert_eq!(frame_at(&good, 3, 0), Some(Frame { length: 7, synced: 0 }));
        for bit in 0..(FRAME_BYTES + 7) * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(frame_at(&bad, 3, 0), None, "bit {bit}");
        }
    }

    #[test]
    fn record_of_another_segment_or_place_is_no_record() {
        let bytes = record(b"payload", 3, 0, 0);
        assert_eq!(frame_at(&bytes, 4, 0), None);
        let moved = [vec![0; 8], bytes].concat();
        assert_eq!(frame_at(&moved, 3, 8), None);
    }

    #[test]
    fn later_record_proves_that_an_earlier_one_was_synced() {
        let first = record(b"first", 1, 0, 0);
        let end = first.len() as u32;
        let unsure = [first.clone(), record(b"second", 1, end, 0)].concat();
        assert_eq!(proof_of_sync(&unsure, 1, 0), None);
        let sure = [first, record(b"second", 1, end, end)].concat();
        assert_eq!(proof_of_sync(&sure, 1, 0), Some(end as usize));
        assert_eq!(proof_of_sync(&sure, 1, end as usize), None);
    }
}
