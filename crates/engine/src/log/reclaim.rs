//! Giving segments back: the oldest ones that hold nothing live go, and while the log is over its
//! budget the live entries of mostly dead ones are written again.

use std::sync::Arc;

use flin_state::ids::{GroupId, LogIndex};
use flin_state::log::LogError;

use super::SharedLog;
use super::index::{Found, Index};
use super::payload::encode_moved;
use super::places::Place;
use super::segment::Segment;
use super::spare::SPARES_MAX;
use crate::disk::Disk;

/// Entry data moved while the writer waits.
const MOVE_BYTES_MAX: u64 = 1 << 20;

/// How full a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Usage {
    sequence: u64,
    bytes: u64,
    live_bytes: u64,
}

/// A run of entries of one group that are moved together.
struct Run<F> {
    group: GroupId,
    first: LogIndex,
    found: Vec<Found<F>>,
}

impl<D: Disk> SharedLog<D> {
    pub(super) fn reclaim_segments(&self) -> Result<(), LogError> {
        self.check()?;
        // What this call writes itself is not written yet another time.
        let newest = self.writer().active.sequence;
        loop {
            self.drop_dead_segments()?;
            let spare_bytes = self.spares.bytes();
            let Some(limit) = self.index().worth_moving(newest, self.budget_bytes, spare_bytes)
            else {
                return Ok(());
            };
            self.move_entries(limit)?;
        }
    }

    /// Removes the oldest segments as long as nothing in them is live.
    fn drop_dead_segments(&self) -> Result<(), LogError> {
        let dead = {
            let writer = self.writer();
            // What made the entries dead must be durable before they go.
            self.sync_segment(&writer.active, writer.position)?;
            self.index_mut().take_dead_prefix()
        };
        if dead.is_empty() {
            return Ok(());
        }
        let failed = |source| {
            let act = format!("retire log segments in {}", self.dir.display());
            self.stop(LogError::Disk { act, source })
        };
        let mut spares = Vec::new();
        for segment in dead {
            let (path, length) = (segment.path.clone(), segment.length);
            let kept_bytes = spares.len() as u64 * self.spares.segment_bytes();
            let bytes = self.index().segments_bytes() + self.spares.bytes() + kept_bytes + length;
            let reuse = bytes <= self.budget_bytes && spares.len() < SPARES_MAX;
            // A reader that still holds the segment must not see its file reused.
            let idle = Arc::into_inner(segment).filter(|_| reuse);
            let file = idle.map(|segment| segment.file);
            spares.extend(self.spares.retire(&path, file, length).map_err(failed)?);
        }
        self.disk.sync_dir(&self.dir).map_err(failed)?;
        spares.into_iter().for_each(|spare| self.spares.keep(spare));
        Ok(())
    }

    /// Writes the live entries of all segments up to `limit` again, a bounded part at a time.
    fn move_entries(&self, limit: u64) -> Result<(), LogError> {
        let mut cursor = Some((GroupId(0), LogIndex(0)));
        while let Some(from) = cursor {
            let mut writer = self.writer();
            self.check()?;
            let writer = &mut *writer;
            let (runs, next) = self.index().entries_to_move(from, limit);
            cursor = next;
            if runs.is_empty() {
                continue;
            }
            writer.begin_record();
            let mut moved = Vec::new();
            for run in runs {
                let entries = self.fetch(run.group, &run.found)?;
                encode_moved(run.group, &entries, &mut writer.record, &mut writer.places);
                let shapes = entries.iter().map(|entry| (entry.term, entry.data.len() as u32));
                let indexes = (run.first.0..).map(LogIndex);
                moved.extend(indexes.zip(shapes).map(|(index, shape)| (run.group, index, shape)));
            }
            let offset = self.put_record(writer)?;
            let mut index = self.index_mut();
            for ((group, at, (term, length)), in_record) in moved.into_iter().zip(&writer.places) {
                let offset = offset + *in_record as u32;
                let place = Place { term, segment: writer.active.sequence, offset, length };
                let known = index.relocate(group, at, place);
                debug_assert!(known, "only the writer, whose lock is held, changes the index");
            }
        }
        Ok(())
    }
}

impl<F> Index<F> {
    /// The bytes of all segment files.
    pub(super) fn segments_bytes(&self) -> u64 {
        self.segments.values().map(|used| used.segment.length).sum()
    }

    /// Takes out the oldest segments that hold nothing live; never the newest one.
    fn take_dead_prefix(&mut self) -> Vec<Arc<Segment<F>>> {
        let mut dead = Vec::new();
        while self.segments.len() > 1 {
            let oldest = self.segments.first_entry().expect("there are several");
            if oldest.get().live_entries > 0 {
                break;
            }
            dead.push(oldest.remove().segment);
        }
        dead
    }

    /// Up to which segment, if any, moving the live entries is worth it.
    fn worth_moving(&self, newest: u64, budget_bytes: u64, spare_bytes: u64) -> Option<u64> {
        if self.segments_bytes() + spare_bytes <= budget_bytes {
            return None;
        }
        let sealed = self.segments.range(..newest).map(|(sequence, used)| Usage {
            sequence: *sequence,
            bytes: used.segment.length,
            live_bytes: used.live_bytes,
        });
        mostly_dead_prefix(sealed)
    }

    /// Live entries in segments up to `limit`, from a group and index on, and where to go on; at
    /// least one if there are any.
    fn entries_to_move(
        &self,
        from: (GroupId, LogIndex),
        limit: u64,
    ) -> (Vec<Run<F>>, Option<(GroupId, LogIndex)>) {
        let mut runs: Vec<Run<F>> = Vec::new();
        let mut bytes = 0;
        for (id, group) in self.groups.range(from.0..) {
            let first = group.shape.base.next();
            let start = if *id == from.0 { first.max(from.1) } else { first };
            let mut previous = None;
            for index in (start.0..=group.shape.last.0).map(LogIndex) {
                let place = group.place(index).expect("within the log");
                if place.segment > limit {
                    continue;
                }
                if bytes >= MOVE_BYTES_MAX {
                    return (runs, Some((*id, index)));
                }
                bytes += place.stored_bytes();
                if previous != Some(index) {
                    runs.push(Run { group: *id, first: index, found: Vec::new() });
                }
                let run = runs.last_mut().expect("one was begun");
                run.found.push(self.found(*id, index).expect("within the log"));
                previous = Some(index.next());
            }
        }
        (runs, None)
    }
}

/// The shortest prefix of which at most half is live, by its last segment.
fn mostly_dead_prefix(segments: impl Iterator<Item = Usage>) -> Option<u64> {
    let (mut bytes, mut live_bytes) = (0, 0);
    for usage in segments {
        bytes += usage.bytes;
        live_bytes += usage.live_bytes;
        if live_bytes <= bytes / 2 {
            return Some(usage.sequence);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(live_bytes: &[u64]) -> Option<u64> {
        let usages = live_bytes.iter().zip(1..);
        mostly_dead_prefix(usages.map(|(live_bytes, sequence)| Usage {
            sequence,
            bytes: 100,
            live_bytes: *live_bytes,
        }))
    }

    #[test]
    fn only_prefixes_that_are_half_dead_are_moved() {
        assert_eq!(prefix(&[10, 100]), Some(1));
        assert_eq!(prefix(&[90, 10, 100]), Some(2));
        assert_eq!(prefix(&[100, 90, 80]), None);
        assert_eq!(prefix(&[]), None);
    }
}
