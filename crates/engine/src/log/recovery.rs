//! Opening the log: the chain of segments is found, its records are read back, and the end that a crash
//! may have torn is cut or, if it had been durable, reported.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use flin_mutant::{Bug, is};
use flin_state::ids::{GroupId, LogIndex};
use flin_state::log::LogError;

use super::format::{BadHeader, FORMAT, HEADER_BYTES, Header, frame_at, payload};
use super::format::{FRAME_BYTES, proof_of_sync};
use super::index::{Index, SegmentUse};
use super::payload::{Operation, decode};
use super::places::Place;
use super::segment::{self, Segment, segment_path, sequence_of};
use super::shape::{Change, after};
use super::spare::Spares;
use super::write::Writer;
use super::{LogOptions, SharedLog};
use crate::disk::{Disk, DiskFile};

/// A segment file that was found, with its header.
struct Opened<F> {
    header: Header,
    path: PathBuf,
    file: F,
    length: u64,
}

/// What reading the newest segment told.
struct Tail {
    bytes: Vec<u8>,
    /// Where its first record after the checkpoint begins.
    start: usize,
    /// Where its last good record ends.
    end: usize,
    /// Up to where its records say that it was durable.
    synced: usize,
}

pub(super) fn open<D: Disk>(
    disk: D,
    dir: &Path,
    options: &LogOptions,
) -> Result<SharedLog<D>, LogError> {
    let failed = |source| LogError::Disk { act: format!("open the log {}", dir.display()), source };
    disk.create_dir(dir).map_err(failed)?;
    if let Some(parent) = dir.parent() {
        disk.sync_dir(parent).map_err(failed)?;
    }
    // The names seen now may be newer than the durable ones: a segment that was becoming a spare when
    // the process was killed would be overwritten under a name that comes back.
    disk.sync_dir(dir).map_err(failed)?;
    let names = disk.list(dir).map_err(failed)?;
    let (chain, leftovers) = find_chain(&disk, dir, &names)?;
    for path in leftovers {
        disk.remove(&path).map_err(failed)?;
    }
    // A log that begins counts its segments from one. If there was another one here, whose segments are
    // lost, what its spare files hold of its first ones would pass for records of these.
    let (bytes, reuse) = (options.segment_bytes, !chain.is_empty());
    let spares = Spares::open(&disk, dir, bytes, &names, reuse, options.prefill);
    let spares = spares.map_err(failed)?;

    let mut index = Index::new(options.cache_bytes);
    let header = match replay_chain(chain, &mut index)? {
        Some((newest, tail)) => follow_on(&mut index, newest, &tail)?,
        None => Header { sequence: 1, previous: 0, previous_end: 0 },
    };
    let (segment, position) = segment::begin(&disk, dir, &spares, &index, header, 0)?;
    if header.sequence > header.previous + 1 {
        // The newest segment held no record and was replaced.
        disk.remove(&segment_path(dir, header.sequence - 1)).map_err(failed)?;
    }
    let active = Arc::new(segment);
    index.segments.insert(header.sequence, SegmentUse::new(active.clone()));
    Ok(SharedLog {
        disk,
        dir: dir.to_path_buf(),
        budget_bytes: options.budget_bytes,
        index: RwLock::new(index),
        writer: Mutex::new(Writer::new(active, position)),
        syncing: Mutex::new(()),
        spares,
        stopped: OnceLock::new(),
    })
}

/// The segments from the oldest that is linked to the newest, and the files that are not.
#[expect(clippy::type_complexity, reason = "two lists, used once")]
fn find_chain<D: Disk>(
    disk: &D,
    dir: &Path,
    names: &[String],
) -> Result<(Vec<Opened<D::File>>, Vec<PathBuf>), LogError> {
    let mut found = BTreeMap::new();
    for sequence in names.iter().filter_map(|name| sequence_of(name)) {
        found.insert(sequence, open_segment(disk, segment_path(dir, sequence), sequence)?);
    }
    let mut chain = Vec::new();
    let mut next = found.last_key_value().map(|(sequence, _)| *sequence);
    while let Some(opened) = next.and_then(|sequence| found.remove(&sequence)) {
        next = Some(opened.header.previous);
        chain.push(opened);
    }
    chain.reverse();
    // A reclaim or an opening that was interrupted left these behind; nothing live is in them, or the
    // entries that are missing will tell.
    Ok((chain, found.into_values().map(|opened| opened.path).collect()))
}

fn open_segment<D: Disk>(
    disk: &D,
    path: PathBuf,
    sequence: u64,
) -> Result<Opened<D::File>, LogError> {
    let failed = |source| LogError::Disk { act: format!("read {}", path.display()), source };
    let corrupt = |what: &str| LogError::Corrupt {
        place: format!("{}:0", path.display()),
        what: what.to_owned(),
    };
    let file = disk.open(&path).map_err(failed)?;
    let length = file.len().map_err(failed)?;
    if length < HEADER_BYTES as u64 {
        return Err(corrupt("the file is shorter than a header"));
    }
    let mut bytes = [0; HEADER_BYTES];
    file.read_at(&mut bytes, 0).map_err(failed)?;
    let header = Header::decode(&bytes).map_err(|bad| match bad {
        BadHeader::Damaged(what) => corrupt(what),
        BadHeader::Newer(format) => failed(io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "a newer version of Flin wrote it: it has format {format}, this version reads \
                 format {FORMAT}; start the newer version again"
            ),
        )),
    })?;
    if header.sequence != sequence || header.previous >= sequence {
        return Err(corrupt("the header is that of another segment"));
    }
    Ok(Opened { header, path, file, length })
}

/// Reads all segments back into `index`. Returns the newest header and how its segment ends.
fn replay_chain<F: DiskFile>(
    chain: Vec<Opened<F>>,
    index: &mut Index<F>,
) -> Result<Option<(Header, Tail)>, LogError> {
    let ends: Vec<Option<u32>> =
        chain.iter().skip(1).map(|next| Some(next.header.previous_end)).chain([None]).collect();
    let mut newest = None;
    for (opened, end) in chain.into_iter().zip(ends) {
        let Opened { header, path, file, length } = opened;
        let segment = Segment::new(header.sequence, path, file, length, 0);
        let tail = replay_segment(segment, end, index)?;
        newest = Some((header, tail));
    }
    index.settle().map_err(|what| {
        let place = match index.segments.first_key_value() {
            Some((_, used)) => used.segment.place(0),
            None => "the log".to_owned(),
        };
        LogError::Corrupt { place, what }
    })?;
    Ok(newest)
}

/// Reads one segment back: up to `end` if the next one says where that is, else to where it was cut.
fn replay_segment<F: DiskFile>(
    segment: Segment<F>,
    end: Option<u32>,
    index: &mut Index<F>,
) -> Result<Tail, LogError> {
    let segment = Arc::new(segment);
    let corrupt = |offset: usize, what: String| LogError::Corrupt {
        place: segment.place(offset as u64),
        what,
    };
    let length = end.map_or(segment.length, u64::from);
    if length > segment.length || length < HEADER_BYTES as u64 {
        let what = format!("the next segment says that this one ends at {length}");
        return Err(corrupt(segment.length as usize, what));
    }
    let mut bytes = vec![0; length as usize];
    segment.file.read_at(&mut bytes, 0).map_err(|source| LogError::Disk {
        act: format!("read {}", segment.path.display()),
        source,
    })?;
    let oldest = index.segments.is_empty();
    index.segments.insert(segment.sequence, SegmentUse::new(segment.clone()));

    let mut tail = Tail { bytes, start: 0, end: HEADER_BYTES, synced: 0 };
    while tail.end < tail.bytes.len() {
        let offset = tail.end;
        let Some(frame) = frame_at(&tail.bytes, segment.sequence, offset) else {
            let promised = if end.is_some() || tail.start == 0 {
                Some("segment")
            } else {
                proof_of_sync(&tail.bytes, segment.sequence, offset).map(|_| "record")
            };
            let Some(proof) = promised.filter(|_| !is(Bug::CutDamage)) else { break };
            let what = format!("a bad record, which a later {proof} says was durable");
            return Err(corrupt(offset, what));
        };
        let mut replay = Replay { index, segment: segment.sequence, offset };
        let replayed = decode(payload(&tail.bytes, offset, frame)).and_then(|operations| {
            if tail.start == 0 {
                replay.checkpoints(operations, oldest)
            } else {
                operations.into_iter().try_for_each(|operation| replay.operation(operation))
            }
        });
        replayed.map_err(|what| corrupt(offset, what))?;
        // A file that was cut inside of the zeros behind its last record lost nothing.
        tail.end = tail.bytes.len().min(offset + frame.record_bytes());
        tail.synced = tail.synced.max(frame.synced as usize);
        if tail.start == 0 {
            tail.start = tail.end;
            tail.synced = tail.end;
        }
    }
    if tail.start == 0 {
        return Err(corrupt(tail.end, "the segment has no checkpoint".to_owned()));
    }
    segment.note_synced(tail.end as u32);
    Ok(tail)
}

/// Makes what was read from the newest segment durable, and says which segment comes next.
fn follow_on<F: DiskFile>(
    index: &mut Index<F>,
    newest: Header,
    tail: &Tail,
) -> Result<Header, LogError> {
    let sequence = newest.sequence + 1;
    if tail.end == tail.start {
        // It has no record: the next one takes its place, so that restarts leave no trail of files.
        index.segments.remove(&newest.sequence);
        return Ok(Header { sequence, ..newest });
    }
    let segment = &index.segments[&newest.sequence].segment;
    if tail.end > tail.synced {
        // After a failed sync the page cache shows bytes that the kernel will not write again, unless
        // somebody writes them again.
        let unsure = &tail.bytes[tail.synced..tail.end];
        let written = segment.file.write_at(unsure, tail.synced as u64);
        written.and_then(|()| segment.file.sync_data()).map_err(|source| LogError::Disk {
            act: format!("make the end of {} durable", segment.path.display()),
            source,
        })?;
    }
    Ok(Header { sequence, previous: newest.sequence, previous_end: tail.end as u32 })
}

/// A record being read back.
struct Replay<'a, F> {
    index: &'a mut Index<F>,
    segment: u64,
    /// The record's offset.
    offset: usize,
}

impl<F> Replay<'_, F> {
    /// Takes the record that a segment begins with. It has nothing but checkpoints, which are news in the
    /// oldest segment and known in all others.
    fn checkpoints(&mut self, mut operations: Vec<Operation>, oldest: bool) -> Result<(), String> {
        if operations.pop() != Some(Operation::CheckpointEnd) {
            return Err("the segment's first record is no checkpoint".to_owned());
        }
        let count = operations.len();
        for operation in operations {
            let Operation::Checkpoint { group, checkpoint } = operation else {
                return Err("the segment's first record is more than a checkpoint".to_owned());
            };
            if oldest {
                self.index.restore(group, checkpoint)?;
                continue;
            }
            let known = self.index.groups.get(&group).map(super::index::Group::checkpoint);
            if known != Some(checkpoint) {
                return Err(format!(
                    "group {group} should be at {checkpoint:?}; the segments before say {known:?}"
                ));
            }
        }
        let known = self.index.groups.len();
        if count != known {
            return Err(format!(
                "a checkpoint of {count} groups; the segments before know {known}"
            ));
        }
        Ok(())
    }

    fn operation(&mut self, operation: Operation) -> Result<(), String> {
        match operation {
            Operation::Create { group, replica, index, term } => {
                self.change(group, Change::Create { replica, index, term })
            }
            Operation::HardState { group, state } => self.change(group, Change::HardState(state)),
            Operation::Compact { group, index, term } => {
                self.change(group, Change::Compact { index, term: Some(term) })
            }
            Operation::Reset { group, index, term } => {
                self.change(group, Change::Reset { index, term })
            }
            Operation::Remove { group, replica } => self.change(group, Change::Remove(replica)),
            Operation::Append { group, first, entries } => {
                let (Some(head), Some(end)) = (entries.first(), entries.last()) else {
                    return Err(format!("an append of no entries to group {group}"));
                };
                let last = LogIndex(first.0.saturating_add(entries.len() as u64 - 1));
                let (first_term, last_term) = (head.term, end.term);
                self.change(group, Change::Append { first, first_term, last, last_term })?;
                for entry in &entries {
                    self.index.push(group, self.place(entry), None);
                }
                Ok(())
            }
            Operation::Moved { group, first, entries } => {
                for (entry, index) in entries.iter().zip((first.0..=u64::MAX).map(LogIndex)) {
                    if !self.index.relocate(group, index, self.place(entry)) {
                        return Err(format!(
                            "entry {index} of group {group} moved, but is not there"
                        ));
                    }
                }
                Ok(())
            }
            Operation::Checkpoint { .. } | Operation::CheckpointEnd => {
                Err("a checkpoint that its segment does not begin with".to_owned())
            }
        }
    }

    fn change(&mut self, group: GroupId, change: Change) -> Result<(), String> {
        let term_of = |index| self.index.groups.get(&group)?.term(index);
        let shape = after(group, self.index.shape(group), change, term_of)?;
        self.index.reshape(group, change, shape);
        Ok(())
    }

    fn place(&self, entry: &super::payload::EntryHead) -> Place {
        Place {
            term: entry.term,
            segment: self.segment,
            offset: (self.offset + FRAME_BYTES) as u32 + entry.offset,
            length: entry.length,
        }
    }
}

#[cfg(test)]
mod tests {
    use flin_state::ids::{ReplicaId, Term};
    use flin_state::log::{Entry, EntryKind, GroupRecord, HardState, Log, LogEdit};

    use super::*;
    use crate::disk::MemoryDisk;
    use crate::log::format::seal;
    use crate::log::payload::{Checkpoint, encode_checkpoints, encode_edit, encode_moved};

    const GROUP: GroupId = GroupId(1);
    const DIR: &str = "/log";

    /// A checkpoint of a group with that many entries.
    fn checkpoint(entries: u64) -> Vec<u8> {
        let checkpoint = Checkpoint {
            record: GroupRecord::Hosted(ReplicaId(1)),
            base: LogIndex(5),
            base_term: Term(5),
            last: LogIndex(5 + entries),
            last_term: Term(5),
            hard_state: HardState::default(),
        };
        let mut payload = Vec::new();
        encode_checkpoints([(GROUP, checkpoint)].into_iter(), &mut payload);
        payload
    }

    fn edit(edit: &LogEdit) -> Vec<u8> {
        let mut payload = Vec::new();
        encode_edit(edit, Term(5), &mut payload, &mut Vec::new());
        payload
    }

    fn appended(index: u64) -> Vec<u8> {
        let data = bytes::Bytes::from_static(b"data");
        let (index, kind) = (LogIndex(index), EntryKind::Command);
        let entries = vec![Entry { index, term: Term(5), kind, data }];
        edit(&LogEdit::Append { group: GROUP, entries })
    }

    /// Opens a log whose only segment holds records with these payloads and right checksums.
    fn opened(payloads: &[Vec<u8>]) -> Result<SharedLog<MemoryDisk>, LogError> {
        let disk = MemoryDisk::new();
        let mut bytes = Header { sequence: 1, previous: 0, previous_end: 0 }.encode().to_vec();
        for payload in payloads {
            let mut record = vec![0; FRAME_BYTES];
            record.extend_from_slice(payload);
            seal(&mut record, 1, bytes.len() as u32, 0);
            bytes.append(&mut record);
        }
        let dir = Path::new(DIR);
        disk.create_dir(dir).expect("an empty disk");
        let file = disk.create(&segment_path(dir, 1)).expect("an empty disk");
        file.write_at(&bytes, 0).expect("the disk works");
        open(disk, dir, &LogOptions { prefill: false, ..LogOptions::default() })
    }

    fn corruption(payloads: &[Vec<u8>]) -> String {
        match opened(payloads) {
            Err(LogError::Corrupt { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn count_in_a_checkpoint_takes_no_memory() {
        let what = corruption(&[checkpoint(1 << 50)]);
        assert!(what.contains("entry 6 of group 1 is in no segment"), "{what}");
        let what = corruption(&[checkpoint(u64::MAX - 5)]);
        assert!(what.contains("spans 5..=18446744073709551615"), "{what}");
    }

    #[test]
    fn entries_that_were_forgotten_after_the_checkpoint_are_not_missed() {
        let last = 5 + (1 << 50);
        let compacted = edit(&LogEdit::Compact { group: GROUP, index: LogIndex(last - 1) });
        let what = corruption(&[checkpoint(1 << 50), compacted.clone()]);
        assert!(what.contains(&format!("entry {last} of group 1")), "{what}");
        let log = opened(&[checkpoint(1 << 50), compacted, appended(last)]);
        let log = log.expect("its one entry is there");
        let entries = log.entries(GROUP, LogIndex(last), LogIndex(last + 1), u64::MAX);
        assert_eq!(entries.expect("it is stored").len(), 1);
    }

    #[test]
    fn entries_whose_terms_fall_or_whose_indexes_end_are_refused() {
        let entry = |index, term| {
            let (index, term, kind) = (LogIndex(index), Term(term), EntryKind::Command);
            Entry { index, term, kind, data: bytes::Bytes::new() }
        };
        let falling = LogEdit::Append { group: GROUP, entries: vec![entry(6, 9), entry(7, 8)] };
        let what = corruption(&[checkpoint(0), edit(&falling)]);
        assert!(what.contains("falls from term 9 to 8 at entry 7"), "{what}");
        let moved = |entry: Entry| {
            let mut payload = Vec::new();
            encode_moved(GROUP, &[entry], &mut payload, &mut Vec::new());
            payload
        };
        let what = corruption(&[checkpoint(1), moved(entry(6, 9))]);
        assert!(what.contains("ends in term 9, and should in 5"), "{what}");
        let what = corruption(&[checkpoint(1), moved(entry(u64::MAX, 5))]);
        assert!(what.contains("moved, but is not there"), "{what}");
        assert!(opened(&[checkpoint(1), moved(entry(6, 5))]).is_ok());
    }

    #[test]
    fn segment_begins_with_checkpoints_and_nothing_else() {
        // The first record goes with its segment when that is replaced: an entry in it would be lost.
        let mut more = appended(6);
        more.extend(checkpoint(0));
        let what = corruption(&[more]);
        assert!(what.contains("more than a checkpoint"), "{what}");
        let mut unfinished = checkpoint(0);
        unfinished.truncate(unfinished.len() - 3);
        let what = corruption(&[unfinished]);
        assert!(what.contains("is no checkpoint"), "{what}");
        let what = corruption(&[checkpoint(0), checkpoint(0)]);
        assert!(what.contains("does not begin with"), "{what}");
        assert!(opened(&[checkpoint(0), appended(6)]).is_ok());
    }
}
