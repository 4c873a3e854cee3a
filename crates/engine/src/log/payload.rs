//! What a record carries: the edits of one write, as bytes. Persisted: keep stable, or raise the
//! format of [`super::format`].
//!
//! Every operation begins with a tag (u8) and its group (u16), little-endian like the rest. An entry
//! has a checksum of its own, over its group and index too, so that reading one entry back verifies it
//! without reading the record around it.

use bytes::Bytes;
use flin_state::ids::{GroupId, LogIndex, ReplicaId, Term};
use flin_state::log::{Entry, EntryKind, GroupRecord, HardState, LogEdit};

/// The bytes in front of an entry's data: checksum, term, kind, length.
pub(super) const ENTRY_HEAD_BYTES: usize = 17;

/// One operation read back from a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// See [`LogEdit::Create`].
    Create { group: GroupId, replica: ReplicaId, index: LogIndex, term: Term },
    /// See [`LogEdit::Append`].
    Append { group: GroupId, first: LogIndex, entries: Vec<EntryHead> },
    /// Entries of the log, written again so that an old segment can go.
    Moved { group: GroupId, first: LogIndex, entries: Vec<EntryHead> },
    /// See [`LogEdit::HardState`].
    HardState { group: GroupId, state: HardState },
    /// See [`LogEdit::Compact`].
    /// The term of `index` comes along: its entry may be gone when this is read back.
    Compact { group: GroupId, index: LogIndex, term: Term },
    /// See [`LogEdit::Reset`].
    Reset { group: GroupId, index: LogIndex, term: Term },
    /// See [`LogEdit::Remove`].
    Remove { group: GroupId, replica: ReplicaId },
    /// Everything about a group except its entries, at the beginning of a segment.
    Checkpoint { group: GroupId, checkpoint: Checkpoint },
    /// Ends the checkpoints of a segment; there may be none before it.
    CheckpointEnd,
}

/// Where an entry is, relative to its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryHead {
    pub term: Term,
    /// The offset of the entry's head.
    pub offset: u32,
    /// The length of its data.
    pub length: u32,
}

/// What is known of a group besides its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub record: GroupRecord,
    /// The index before the first entry.
    pub base: LogIndex,
    pub base_term: Term,
    pub last: LogIndex,
    pub last_term: Term,
    pub hard_state: HardState,
}

const CREATE: u8 = 1;
const APPEND: u8 = 2;
const HARD_STATE: u8 = 3;
const COMPACT: u8 = 4;
const RESET: u8 = 5;
const REMOVE: u8 = 6;
const MOVED: u8 = 7;
const CHECKPOINT: u8 = 8;
const CHECKPOINT_END: u8 = 9;

/// Appends `edit` to `out`. The offset in `out` of each entry's head goes to `places`. `base_term` is the
/// term of the group's base once the edit has taken effect.
pub(super) fn encode_edit(
    edit: &LogEdit,
    base_term: Term,
    out: &mut Vec<u8>,
    places: &mut Vec<usize>,
) {
    match edit {
        LogEdit::Create { group, replica, index, term } => {
            put(out, CREATE, *group, &[replica.0, index.0, term.0]);
        }
        LogEdit::Append { group, entries } => put_entries(out, APPEND, *group, entries, places),
        LogEdit::HardState { group, state } => {
            put(out, HARD_STATE, *group, &[state.term.0, state.vote.0, state.commit.0]);
        }
        LogEdit::Compact { group, index } => put(out, COMPACT, *group, &[index.0, base_term.0]),
        LogEdit::Reset { group, index, term } => put(out, RESET, *group, &[index.0, term.0]),
        LogEdit::Remove { group, replica } => put(out, REMOVE, *group, &[replica.0]),
    }
}

/// Appends entries that are written again.
pub(super) fn encode_moved(
    group: GroupId,
    entries: &[Entry],
    out: &mut Vec<u8>,
    places: &mut Vec<usize>,
) {
    put_entries(out, MOVED, group, entries, places);
}

/// Appends the checkpoints of all groups and their end.
pub(super) fn encode_checkpoints(
    groups: impl Iterator<Item = (GroupId, Checkpoint)>,
    out: &mut Vec<u8>,
) {
    for (group, it) in groups {
        let (hosted, replica) = match it.record {
            GroupRecord::Hosted(replica) => (1, replica),
            GroupRecord::Removed(replica) => (0, replica),
        };
        let state = it.hard_state;
        let log = [it.base.0, it.base_term.0, it.last.0, it.last_term.0];
        put(out, CHECKPOINT, group, &[hosted, replica.0]);
        put_numbers(out, &log);
        put_numbers(out, &[state.term.0, state.vote.0, state.commit.0]);
    }
    put(out, CHECKPOINT_END, GroupId(0), &[]);
}

fn put(out: &mut Vec<u8>, tag: u8, group: GroupId, numbers: &[u64]) {
    out.push(tag);
    out.extend_from_slice(&group.0.to_le_bytes());
    put_numbers(out, numbers);
}

fn put_numbers(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn put_entries(
    out: &mut Vec<u8>,
    tag: u8,
    group: GroupId,
    entries: &[Entry],
    places: &mut Vec<usize>,
) {
    let first = entries.first().map_or(0, |entry| entry.index.0);
    put(out, tag, group, &[first, entries.len() as u64]);
    for entry in entries {
        let head = out.len();
        places.push(head);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&entry.term.0.to_le_bytes());
        out.push(match entry.kind {
            EntryKind::Command => 0,
            EntryKind::Configuration => 1,
        });
        // The caller refuses a record longer than RECORD_BYTES_MAX, and thereby a length cut off here.
        out.extend_from_slice(&(entry.data.len() as u32).to_le_bytes());
        out.extend_from_slice(&entry.data);
        let crc = entry_checksum(group, entry.index, &out[head + 4..]);
        out[head..head + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Reads one entry back: `bytes` begin with its head and may go on after its data.
///
/// # Errors
/// What is wrong with the bytes, if they are not this entry.
pub(super) fn decode_entry(
    group: GroupId,
    index: LogIndex,
    bytes: &Bytes,
) -> Result<Entry, &'static str> {
    let mut reader = Reader { bytes, at: 0 };
    let crc = reader.u32().ok_or(TRUNCATED)?;
    let term = Term(reader.u64().ok_or(TRUNCATED)?);
    let kind = reader.u8().ok_or(TRUNCATED)?;
    let length = reader.u32().ok_or(TRUNCATED)? as usize;
    let whole = bytes.get(4..ENTRY_HEAD_BYTES + length).ok_or(TRUNCATED)?;
    if crc != entry_checksum(group, index, whole) {
        return Err("the entry's checksum does not match");
    }
    let kind = match kind {
        0 => EntryKind::Command,
        1 => EntryKind::Configuration,
        _ => return Err("the entry is of an unknown kind"),
    };
    let data = bytes.slice(ENTRY_HEAD_BYTES..ENTRY_HEAD_BYTES + length);
    Ok(Entry { index, term, kind, data })
}

const TRUNCATED: &str = "the entry is cut short";

fn entry_checksum(group: GroupId, index: LogIndex, after_crc: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&group.0.to_le_bytes());
    crc.update(&index.0.to_le_bytes());
    crc.update(after_crc);
    crc.finalize()
}

/// Reads the operations of a record whose checksum was right.
///
/// # Errors
/// What is wrong with them. Since the checksum was right, this is a version we do not know or a bug.
pub(super) fn decode(payload: &[u8]) -> Result<Vec<Operation>, String> {
    let mut reader = Reader { bytes: payload, at: 0 };
    let mut operations = Vec::new();
    while reader.at < payload.len() {
        let at = reader.at;
        let operation = decode_operation(&mut reader);
        operations.push(operation.ok_or_else(|| {
            format!("byte {at} of the record begins no operation that this version knows")
        })?);
    }
    Ok(operations)
}

fn decode_operation(reader: &mut Reader<'_>) -> Option<Operation> {
    let tag = reader.u8()?;
    let group = GroupId(reader.u16()?);
    Some(match tag {
        CREATE => Operation::Create {
            group,
            replica: ReplicaId(reader.u64()?),
            index: LogIndex(reader.u64()?),
            term: Term(reader.u64()?),
        },
        APPEND => {
            let (first, entries) = reader.entries()?;
            Operation::Append { group, first, entries }
        }
        MOVED => {
            let (first, entries) = reader.entries()?;
            Operation::Moved { group, first, entries }
        }
        HARD_STATE => Operation::HardState { group, state: reader.hard_state()? },
        COMPACT => {
            Operation::Compact { group, index: LogIndex(reader.u64()?), term: Term(reader.u64()?) }
        }
        RESET => {
            Operation::Reset { group, index: LogIndex(reader.u64()?), term: Term(reader.u64()?) }
        }
        REMOVE => Operation::Remove { group, replica: ReplicaId(reader.u64()?) },
        CHECKPOINT => Operation::Checkpoint { group, checkpoint: reader.checkpoint()? },
        CHECKPOINT_END => Operation::CheckpointEnd,
        _ => return None,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.bytes.get(self.at..self.at + N)?;
        self.at += N;
        bytes.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn hard_state(&mut self) -> Option<HardState> {
        Some(HardState {
            term: Term(self.u64()?),
            vote: ReplicaId(self.u64()?),
            commit: LogIndex(self.u64()?),
        })
    }

    fn checkpoint(&mut self) -> Option<Checkpoint> {
        let record = match self.u64()? {
            1 => GroupRecord::Hosted,
            0 => GroupRecord::Removed,
            _ => return None,
        };
        Some(Checkpoint {
            record: record(ReplicaId(self.u64()?)),
            base: LogIndex(self.u64()?),
            base_term: Term(self.u64()?),
            last: LogIndex(self.u64()?),
            last_term: Term(self.u64()?),
            hard_state: self.hard_state()?,
        })
    }

    fn entries(&mut self) -> Option<(LogIndex, Vec<EntryHead>)> {
        let first = LogIndex(self.u64()?);
        let count = self.u64()?;
        // A count is believed only as far as there are bytes for it.
        let room = (self.bytes.len() - self.at) / ENTRY_HEAD_BYTES;
        let count = usize::try_from(count).ok().filter(|count| *count <= room)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let offset = u32::try_from(self.at).ok()?;
            self.u32()?;
            let term = Term(self.u64()?);
            self.u8()?;
            let length = self.u32()?;
            self.at += length as usize;
            if self.at > self.bytes.len() {
                return None;
            }
            entries.push(EntryHead { term, offset, length });
        }
        Some((first, entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, data: &'static [u8]) -> Entry {
        let data = Bytes::from_static(data);
        Entry { index: LogIndex(index), term: Term(6), kind: EntryKind::Configuration, data }
    }

    #[test]
    fn every_edit_reads_back() {
        let group = GroupId(7);
        let replica = ReplicaId(9);
        let (index, term) = (LogIndex(5), Term(6));
        let state = HardState { term, vote: replica, commit: index };
        let edits = [
            LogEdit::Create { group, replica, index, term },
            LogEdit::Append { group, entries: vec![entry(6, b"six"), entry(7, b"")] },
            LogEdit::HardState { group, state },
            LogEdit::Compact { group, index },
            LogEdit::Reset { group, index, term },
            LogEdit::Remove { group, replica },
        ];
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        edits.iter().for_each(|edit| encode_edit(edit, term, &mut bytes, &mut places));
        let heads = |lengths: [u32; 2]| {
            let pairs = places.iter().zip(lengths);
            pairs.map(|(at, length)| EntryHead { term, offset: *at as u32, length }).collect()
        };
        let expected = vec![
            Operation::Create { group, replica, index, term },
            Operation::Append { group, first: LogIndex(6), entries: heads([3, 0]) },
            Operation::HardState { group, state },
            Operation::Compact { group, index, term },
            Operation::Reset { group, index, term },
            Operation::Remove { group, replica },
        ];
        assert_eq!(decode(&bytes), Ok(expected));
        let stored = Bytes::copy_from_slice(&bytes[places[0]..]);
        assert_eq!(decode_entry(group, LogIndex(6), &stored), Ok(entry(6, b"six")));
        assert!(decode_entry(group, LogIndex(7), &stored).is_err(), "another index");
        assert!(decode_entry(GroupId(8), LogIndex(6), &stored).is_err(), "another group");
    }

    #[test]
    fn no_cut_of_a_payload_is_read_past_its_end() {
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        let append = LogEdit::Append { group: GroupId(1), entries: vec![entry(6, b"six")] };
        encode_edit(&append, Term(5), &mut bytes, &mut places);
        for cut in 1..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn checkpoints_read_back() {
        let checkpoint = Checkpoint {
            record: GroupRecord::Removed(ReplicaId(3)),
            base: LogIndex(1),
            base_term: Term(2),
            last: LogIndex(3),
            last_term: Term(3),
            hard_state: HardState { term: Term(4), vote: ReplicaId(5), commit: LogIndex(6) },
        };
        let mut bytes = Vec::new();
        encode_checkpoints([(GroupId(4), checkpoint)].into_iter(), &mut bytes);
        let expected =
            vec![Operation::Checkpoint { group: GroupId(4), checkpoint }, Operation::CheckpointEnd];
        assert_eq!(decode(&bytes), Ok(expected));
    }
}
