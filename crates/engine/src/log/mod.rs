//! The log that all groups of a node share: one write and one fdatasync per round, however many groups
//! have something to remember.
//!
//! # Segments
//! The log is a chain of files, the segments, each begun when the one before is full. Beginning one
//! first makes the one before durable; its header then names it and says where it ends. So only the
//! newest segment can have an end that a crash tore. Every segment starts with a checkpoint: all that
//! is known of every group except its entries. So only entries keep an old segment alive, and it can
//! go once nothing in it is live; segments go oldest first, and [`Log::reclaim`] moves the few entries
//! that keep the oldest ones.
//!
//! # What is lost, and what is corrupt
//! A record says up to which offset its segment was durable when it was written. At [`SharedLog::open`]
//! the newest segment is cut at its first bad record, unless a later record proves that it had been
//! durable: then acknowledged data is damaged and opening fails. Before anything read from the end is
//! believed it is written and synced once more, because after a failed sync the page cache may show
//! what the disk does not have. Nothing is written into a segment again after a crash: what stands
//! behind the cut could be taken for records one day.
//!
//! # Failures
//! After a failed write or sync nobody knows what the disk holds. The log then answers nothing but
//! errors until it is opened again. Only a segment that cannot be begun, as on a full disk, leaves it
//! usable: nothing was written, and the same write may be tried again.

mod cache;
mod format;
mod index;
mod payload;
mod places;
mod read;
mod reclaim;
mod recovery;
mod segment;
mod shape;
mod spare;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};

use flin_mutant::{Bug, is};
use flin_state::ids::{GroupId, LogIndex, Term};
use flin_state::log::{Entry, GroupRecord, HardState, Log, LogEdit, LogError};

use self::index::Index;
use self::segment::Segment;
use self::spare::Spares;
use self::write::Writer;
use crate::disk::{Disk, DiskFile};

pub use self::format::RECORD_BYTES_MAX;

/// The smallest and the largest segment that can be asked for.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 4_096..=1 << 30;

/// How a [`SharedLog`] uses disk and memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The length of a segment file, from 4 KiB to 1 GiB. A record that does not fit gets a longer one.
    pub segment_bytes: u64,
    /// The size of all files that [`Log::reclaim`] works towards, at least four segments.
    pub budget_bytes: u64,
    /// The data of recent entries kept in memory, with 64 bytes for each entry. Where an entry is
    /// stored takes another 24 bytes for every entry of the log.
    pub cache_bytes: u64,
    /// Whether a thread fills the next segment with zeros ahead of need. A simulation says no.
    pub prefill: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions {
            segment_bytes: 16 << 20,
            budget_bytes: 512 << 20,
            cache_bytes: 32 << 20,
            prefill: true,
        }
    }
}

impl LogOptions {
    fn validate(&self) -> Result<(), LogError> {
        let LogOptions { segment_bytes, budget_bytes, .. } = self;
        if !SEGMENT_BYTES.contains(segment_bytes) {
            let (min, max) = SEGMENT_BYTES.into_inner();
            let what = format!("log segments of {segment_bytes} bytes, not {min} to {max}");
            return Err(LogError::Refused(what));
        }
        if *budget_bytes < 4 * segment_bytes {
            let what = format!(
                "a log budget of {budget_bytes} bytes, below four segments of {segment_bytes}"
            );
            return Err(LogError::Refused(what));
        }
        Ok(())
    }
}

/// The shared log of a node on a [`Disk`]. See the module's documentation.
///
/// One thread at a time writes; [`Log::sync`] runs beside it, and readers wait for neither.
#[derive(Debug)]
pub struct SharedLog<D: Disk> {
    disk: D,
    dir: PathBuf,
    budget_bytes: u64,
    index: RwLock<Index<D::File>>,
    writer: Mutex<Writer<D::File>>,
    /// Held during a sync: the kernel reports an error to one of two concurrent callers only.
    syncing: Mutex<()>,
    spares: Spares<D>,
    /// What failed, once something has.
    stopped: OnceLock<String>,
}

impl<D: Disk> SharedLog<D> {
    /// Opens the log in `dir`, or begins one there. The caller makes sure that no other process does
    /// ([`crate::lock::DataDir`]).
    ///
    /// # Errors
    /// [`LogError::Corrupt`] if what had been durable cannot be read back, [`LogError::Disk`] if the
    /// disk fails or a newer version of Flin wrote the log, [`LogError::Refused`] for impossible options.
    pub fn open(disk: D, dir: &Path, options: LogOptions) -> Result<Self, LogError> {
        options.validate()?;
        recovery::open(disk, dir, &options)
    }

    fn writer(&self) -> MutexGuard<'_, Writer<D::File>> {
        self.writer.lock().expect("no thread panicked while it wrote the log")
    }

    fn index(&self) -> RwLockReadGuard<'_, Index<D::File>> {
        self.index.read().expect("no thread panicked while it changed the log's index")
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index<D::File>> {
        self.index.write().expect("no thread panicked while it changed the log's index")
    }

    /// Refuses everything once something failed.
    fn check(&self) -> Result<(), LogError> {
        let Some(failed) = self.stopped.get() else { return Ok(()) };
        let act = "use the log, which has stopped; restart the node".to_owned();
        let source = io::Error::other(format!("an earlier attempt to {failed} failed"));
        Err(LogError::Disk { act, source })
    }

    /// Stops the log because of `error`, and returns it.
    fn stop(&self, error: LogError) -> LogError {
        // The first failure is the one to remember.
        let _ = self.stopped.set(error.to_string());
        error
    }

    /// Makes `segment` durable up to `position`, unless it is.
    fn sync_segment(&self, segment: &Segment<D::File>, position: u32) -> Result<(), LogError> {
        let _one_at_a_time = self.syncing.lock().expect("no thread panicked in a sync");
        self.check()?;
        if segment.synced() >= position {
            return Ok(());
        }
        if is(Bug::SkipSync) {
            return Ok(());
        }
        let synced = segment.file.sync_data();
        let synced = if is(Bug::IgnoreSyncError) { Ok(()) } else { synced };
        synced.map_err(|source| {
            let act = format!("sync the log segment {}", segment.path.display());
            self.stop(LogError::Disk { act, source })
        })?;
        segment.note_synced(position);
        Ok(())
    }
}

impl<D: Disk> Log for SharedLog<D> {
    fn write(&self, edits: &[LogEdit]) -> Result<(), LogError> {
        self.write_edits(edits)
    }

    fn sync(&self) -> Result<(), LogError> {
        let (segment, position) = {
            let writer = self.writer();
            (Arc::clone(&writer.active), writer.position)
        };
        self.sync_segment(&segment, position)
    }

    fn groups(&self) -> Vec<(GroupId, GroupRecord)> {
        let index = self.index();
        index.groups.iter().map(|(id, group)| (*id, group.shape.record)).collect()
    }

    fn hard_state(&self, group: GroupId) -> HardState {
        self.index().shape(group).map(|shape| shape.hard_state).unwrap_or_default()
    }

    fn first_index(&self, group: GroupId) -> LogIndex {
        self.index().base(group).next()
    }

    fn last_index(&self, group: GroupId) -> LogIndex {
        self.index().shape(group).map_or(LogIndex(0), |shape| shape.last)
    }

    fn term(&self, group: GroupId, index: LogIndex) -> Result<Term, LogError> {
        self.check()?;
        self.read_term(group, index)
    }

    fn entries(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<Entry>, LogError> {
        self.check()?;
        self.read_entries(group, from, to, bytes_max)
    }

    fn size_bytes(&self) -> u64 {
        self.index().segments_bytes() + self.spares.bytes()
    }

    fn reclaim(&self) -> Result<(), LogError> {
        self.reclaim_segments()
    }
}
