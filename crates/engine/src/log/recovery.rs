//! Opening the log: the chain of segments is found, its records are read back, and the end that a crash
//! may have torn is cut or, if it had been durable, reported.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use flin_state::ids::{GroupId, LogIndex};
use flin_state::log::LogError;

use super::format::{BadHeader, FORMAT, Frame, HEADER_BYTES, Header, frame_at, payload};
use super::format::{FRAME_BYTES, proof_of_sync};
use super::index::{Index, Place, SegmentUse};
use super::payload::{Operation, decode};
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
    let spares = Spares::open(&disk, dir, options.segment_bytes, &names, options.prefill);
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
    if let Some((group, entry)) = index.missing() {
        let place = match index.segments.first_key_value() {
            Some((_, used)) => used.segment.place(0),
            None => "the log".to_owned(),
        };
        let what = format!(
            "entry {entry} of group {group} is in no segment; one before this is gone or damaged"
        );
        return Err(LogError::Corrupt { place, what });
    }
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
            let Some(proof) = promised else { break };
            let what = format!("a bad record, which a later {proof} says was durable");
            return Err(corrupt(offset, what));
        };
        let mut replay =
            Replay { index, segment: segment.sequence, offset, oldest, checkpoints: 0 };
        replay.record(&tail.bytes, frame).map_err(|what| corrupt(offset, what))?;
        tail.end += frame.record_bytes();
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
    /// Whether the segment is the oldest one, whose checkpoints are news.
    oldest: bool,
    checkpoints: usize,
}

impl<F> Replay<'_, F> {
    fn record(&mut self, bytes: &[u8], frame: Frame) -> Result<(), String> {
        decode(payload(bytes, self.offset, frame))?
            .into_iter()
            .try_for_each(|operation| self.operation(operation))
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
                for (entry, index) in entries.iter().zip((first.0..).map(LogIndex)) {
                    if !self.index.relocate(group, index, self.place(entry)) {
                        return Err(format!(
                            "entry {index} of group {group} moved, but is not there"
                        ));
                    }
                }
                Ok(())
            }
            Operation::Checkpoint { group, checkpoint } => {
                self.checkpoints += 1;
                if self.oldest {
                    return self.index.restore(group, checkpoint);
                }
                let known = self.index.groups.get(&group).map(super::index::Group::checkpoint);
                if known == Some(checkpoint) {
                    return Ok(());
                }
                Err(format!(
                    "group {group} should be at {checkpoint:?}; the segments before say {known:?}"
                ))
            }
            Operation::CheckpointEnd if self.checkpoints == self.index.groups.len() => Ok(()),
            Operation::CheckpointEnd => Err(format!(
                "a checkpoint of {} groups; the segments before know {}",
                self.checkpoints,
                self.index.groups.len()
            )),
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
