//! Reading entries and terms: from memory where they are, else with as few reads as their places allow.

use std::sync::Arc;

use bytes::Bytes;
use flin_state::ids::{GroupId, LogIndex, Term};
use flin_state::log::{Entry, LogError};

use super::SharedLog;
use super::index::Found;
use super::payload::decode_entry;
use super::places::Place;
use super::segment::Segment;
use crate::disk::{Disk, DiskFile};

/// Bytes between two entries that are read along rather than skipped by a second read.
const GAP_BYTES_MAX: u64 = 4_096;

/// The most that one read fetches, unless a single entry is longer.
const READ_BYTES_MAX: u64 = 1 << 20;

impl<D: Disk> SharedLog<D> {
    pub(super) fn read_term(&self, id: GroupId, index: LogIndex) -> Result<Term, LogError> {
        let log = self.index();
        log.check_range(id, log.base(id), index)?;
        // A group never seen has the empty log's base, zero.
        Ok(log.groups.get(&id).and_then(|group| group.term(index)).unwrap_or_default())
    }

    pub(super) fn read_entries(
        &self,
        id: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<Entry>, LogError> {
        let found = self.index().find(id, from, to, bytes_max)?;
        self.fetch(id, &found)
    }

    /// The entries of `found`, in order. Segments that retire meanwhile stay readable, because
    /// `found` holds them.
    pub(super) fn fetch(
        &self,
        id: GroupId,
        found: &[Found<D::File>],
    ) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::with_capacity(found.len());
        let mut rest = found;
        while let Some(first) = rest.first() {
            match first {
                Found::Cached(entry) => {
                    entries.push(entry.clone());
                    rest = &rest[1..];
                }
                Found::Stored(_, place, segment) => {
                    let count = run_length(rest);
                    let (run, after) = rest.split_at(count);
                    self.fetch_run(id, *place, segment, run, &mut entries)?;
                    rest = after;
                }
            }
        }
        Ok(entries)
    }

    /// Reads a run of entries, which begins at `start`, at once.
    fn fetch_run(
        &self,
        id: GroupId,
        start: Place,
        segment: &Arc<Segment<D::File>>,
        run: &[Found<D::File>],
        entries: &mut Vec<Entry>,
    ) -> Result<(), LogError> {
        let end = match run.last() {
            Some(Found::Stored(_, last, _)) => u64::from(last.offset) + last.stored_bytes(),
            _ => return Ok(()),
        };
        let mut bytes = vec![0; (end - u64::from(start.offset)) as usize];
        segment.file.read_at(&mut bytes, u64::from(start.offset)).map_err(|source| {
            let act = format!("read {} bytes of the log at {}", bytes.len(), segment.place(0));
            LogError::Disk { act, source }
        })?;
        let bytes = Bytes::from(bytes);
        for found in run {
            let Found::Stored(index, place, _) = found else { continue };
            let at = (place.offset - start.offset) as usize;
            let entry = decode_entry(id, *index, &bytes.slice(at..)).map_err(|what| {
                let place = segment.place(u64::from(place.offset));
                LogError::Corrupt { place, what: format!("entry {index} of group {id}: {what}") }
            })?;
            entries.push(entry);
        }
        Ok(())
    }
}

/// How many of `found`, at least one, a single read can fetch.
fn run_length<F>(found: &[Found<F>]) -> usize {
    let Some(Found::Stored(_, start, _)) = found.first() else { return 1 };
    let mut end = u64::from(start.offset) + start.stored_bytes();
    let mut count = 1;
    for next in &found[1..] {
        let Found::Stored(_, place, _) = next else { break };
        let (from, to) = (u64::from(place.offset), u64::from(place.offset) + place.stored_bytes());
        let near = from >= end && from - end <= GAP_BYTES_MAX;
        if place.segment != start.segment || !near || to - u64::from(start.offset) > READ_BYTES_MAX
        {
            break;
        }
        end = to;
        count += 1;
    }
    count
}
