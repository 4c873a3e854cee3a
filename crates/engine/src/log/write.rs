//! Writing: edits are checked, encoded into one record, written with one call, and then visible.

use std::collections::HashMap;
use std::sync::Arc;

use flin_state::ids::{GroupId, LogIndex, Term};
use flin_state::log::{LogEdit, LogError};

use super::SharedLog;
use super::format::{FRAME_BYTES, Header, RECORD_BYTES_MAX, record_bytes, seal};
use super::index::{Index, SegmentUse};
use super::payload::{ENTRY_HEAD_BYTES, encode_edit};
use super::places::Place;
use super::segment::{self, NotBegun, Segment};
use super::shape::{Change, Shape, after};
use crate::disk::{Disk, DiskFile};

/// The room that one edit takes at most, besides its entries.
const EDIT_BYTES: usize = 64;

/// Buffers that grew beyond this are given back after use.
const BUFFER_BYTES_MAX: usize = 4 << 20;

/// What belongs to whoever writes.
#[derive(Debug)]
pub(super) struct Writer<F> {
    /// The newest segment.
    pub active: Arc<Segment<F>>,
    /// Where its next record goes.
    pub position: u32,
    /// The record being made: room for its frame, then its payload.
    pub record: Vec<u8>,
    /// The offset in `record` of each entry.
    pub places: Vec<usize>,
    steps: Vec<(GroupId, Change, Shape)>,
    shapes: HashMap<GroupId, Shape>,
}

impl<F> Writer<F> {
    pub fn new(active: Arc<Segment<F>>, position: u32) -> Self {
        Writer {
            active,
            position,
            record: Vec::new(),
            places: Vec::new(),
            steps: Vec::new(),
            shapes: HashMap::new(),
        }
    }

    /// Empties the record being made.
    pub fn begin_record(&mut self) {
        if self.record.capacity() > BUFFER_BYTES_MAX {
            self.record = Vec::new();
        }
        self.record.clear();
        self.record.resize(FRAME_BYTES, 0);
        self.places.clear();
    }

    /// Decides what each of `edits` makes of its group, before anything is written.
    fn plan(&mut self, index: &Index<F>, edits: &[LogEdit]) -> Result<(), LogError> {
        self.steps.clear();
        self.shapes.clear();
        let mut bytes = 0;
        for (at, edit) in edits.iter().enumerate() {
            bytes += EDIT_BYTES + entries_bytes(edit);
            let (id, change) = Change::of(edit).map_err(LogError::Refused)?;
            let shape = self.shapes.get(&id).copied().or_else(|| index.shape(id));
            let term_of = |entry| {
                term_in(&edits[..at], id, entry).or_else(|| index.groups.get(&id)?.term(entry))
            };
            let shape = after(id, shape, change, term_of).map_err(LogError::Refused)?;
            self.shapes.insert(id, shape);
            self.steps.push((id, change, shape));
        }
        if bytes > RECORD_BYTES_MAX {
            let what = format!("{bytes} bytes at once, the limit is {RECORD_BYTES_MAX}");
            return Err(LogError::Refused(what));
        }
        Ok(())
    }

    /// Makes the planned edits, whose record is at `offset`, visible.
    fn publish(&self, index: &mut Index<F>, edits: &[LogEdit], offset: u32) {
        let mut places = self.places.iter();
        for (edit, (id, change, shape)) in edits.iter().zip(&self.steps) {
            index.reshape(*id, *change, *shape);
            let LogEdit::Append { entries, .. } = edit else { continue };
            for (entry, in_record) in entries.iter().zip(places.by_ref()) {
                let place = Place {
                    term: entry.term,
                    segment: self.active.sequence,
                    offset: offset + *in_record as u32,
                    length: entry.data.len() as u32,
                };
                index.push(*id, place, Some((entry.kind, entry.data.clone())));
            }
            index.trim_cache(*id, shape.last);
        }
    }
}

fn entries_bytes(edit: &LogEdit) -> usize {
    let LogEdit::Append { entries, .. } = edit else { return 0 };
    entries.iter().map(|entry| ENTRY_HEAD_BYTES + entry.data.len()).sum()
}

/// The term of an entry that earlier edits of the same write bring.
fn term_in(edits: &[LogEdit], id: GroupId, index: LogIndex) -> Option<Term> {
    edits.iter().rev().find_map(|edit| match edit {
        LogEdit::Append { group, entries } if *group == id => {
            let at = index.0.checked_sub(entries.first()?.index.0)?;
            entries.get(usize::try_from(at).ok()?).map(|entry| entry.term)
        }
        _ => None,
    })
}

impl<D: Disk> SharedLog<D> {
    pub(super) fn write_edits(&self, edits: &[LogEdit]) -> Result<(), LogError> {
        let mut writer = self.writer();
        self.check()?;
        if edits.is_empty() {
            return Ok(());
        }
        let writer = &mut *writer;
        writer.plan(&self.index(), edits)?;
        writer.begin_record();
        for (edit, (_, _, shape)) in edits.iter().zip(&writer.steps) {
            encode_edit(edit, shape.base_term, &mut writer.record, &mut writer.places);
        }
        let offset = self.put_record(writer)?;
        writer.publish(&mut self.index_mut(), edits, offset);
        Ok(())
    }

    /// Writes the record that `writer` holds, and returns its offset in the active segment.
    pub(super) fn put_record(&self, writer: &mut Writer<D::File>) -> Result<u32, LogError> {
        let length = record_bytes(writer.record.len() - FRAME_BYTES);
        if u64::from(writer.position) + length as u64 > writer.active.length {
            self.rotate(writer, length)?;
        }
        let active = &writer.active;
        let offset = writer.position;
        seal(&mut writer.record, active.sequence, offset, active.synced());
        active.file.write_at(&writer.record, u64::from(offset)).map_err(|source| {
            let act = format!("write {length} bytes to the log segment {}", active.path.display());
            self.stop(LogError::Disk { act, source })
        })?;
        writer.position += u32::try_from(length).expect("a record is at most RECORD_BYTES_MAX");
        Ok(offset)
    }

    /// Makes the active segment durable and begins the next one, with room for `length` bytes.
    fn rotate(&self, writer: &mut Writer<D::File>, length: usize) -> Result<(), LogError> {
        self.sync_segment(&writer.active, writer.position)?;
        let header = Header {
            sequence: writer.active.sequence + 1,
            previous: writer.active.sequence,
            previous_end: writer.position,
        };
        let begun =
            segment::begin(&self.disk, &self.dir, &self.spares, &self.index(), header, length);
        let (segment, position) = begun.map_err(|error| match error {
            NotBegun::Harmless(error) => error,
            NotBegun::Doubtful(error) => self.stop(error),
        })?;
        writer.active = Arc::new(segment);
        writer.position = position;
        self.index_mut().segments.insert(header.sequence, SegmentUse::new(writer.active.clone()));
        Ok(())
    }
}
