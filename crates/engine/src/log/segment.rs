//! Segment files: their names, and making the next one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use flin_state::log::LogError;

use super::format::{FRAME_BYTES, HEADER_BYTES, Header, seal};
use super::index::Index;
use super::payload::encode_checkpoints;
use super::spare::Spares;
use crate::disk::{Disk, DiskFile};

/// An open segment file.
#[derive(Debug)]
pub(super) struct Segment<F> {
    pub sequence: u64,
    pub path: PathBuf,
    pub file: F,
    /// The file's length; it does not grow.
    pub length: u64,
    /// The offset below which everything is durable.
    synced: AtomicU32,
}

impl<F> Segment<F> {
    pub fn new(sequence: u64, path: PathBuf, file: F, length: u64, synced: u32) -> Self {
        Segment { sequence, path, file, length, synced: AtomicU32::new(synced) }
    }

    pub fn synced(&self) -> u32 {
        self.synced.load(Ordering::Acquire)
    }

    pub fn note_synced(&self, offset: u32) {
        self.synced.fetch_max(offset, Ordering::AcqRel);
    }

    /// A place in this segment, for people.
    pub fn place(&self, offset: u64) -> String {
        format!("{}:{offset}", self.path.display())
    }
}

/// The file of the segment with this sequence.
pub(super) fn segment_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:016}.log"))
}

/// The sequence of the segment in the file of this name; `None` if it is no segment's name.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
    digits.parse().ok().filter(|sequence| *sequence > 0)
}

/// Why there is no next segment.
pub(super) enum NotBegun {
    /// Nothing happened that matters; it can be tried again.
    Harmless(LogError),
    /// Nobody knows whether the segment is there.
    Doubtful(LogError),
}

impl From<NotBegun> for LogError {
    fn from(error: NotBegun) -> LogError {
        match error {
            NotBegun::Harmless(error) | NotBegun::Doubtful(error) => error,
        }
    }
}

/// Makes the segment that `header` describes, with room for a record of `room` bytes, and the offset
/// of its first free byte. It is durable on return, and so is its name.
///
/// The file gets its header and checkpoints before it gets its name, so that a file with a segment's
/// name and a bad header is damage and not an interrupted beginning.
pub(super) fn begin<D: Disk>(
    disk: &D,
    dir: &Path,
    spares: &Spares<D>,
    index: &Index<D::File>,
    header: Header,
    room: usize,
) -> Result<(Segment<D::File>, u32), NotBegun> {
    let path = segment_path(dir, header.sequence);
    let failed = |act: &str, source: io::Error| LogError::Disk {
        act: format!("{act} the log segment {}", path.display()),
        source,
    };
    let mut record = vec![0; FRAME_BYTES];
    let checkpoints = index.groups.iter().map(|(id, group)| (*id, group.checkpoint()));
    encode_checkpoints(checkpoints, &mut record);
    seal(&mut record, header.sequence, HEADER_BYTES as u32, 0);
    let mut bytes = header.encode().to_vec();
    bytes.append(&mut record);

    let length = spares.segment_bytes().max((bytes.len() + room) as u64);
    let spare = spares.take(length).map_err(|e| NotBegun::Harmless(failed("reserve", e)))?;
    let written = spare.file.write_at(&bytes, 0).and_then(|()| spare.file.sync_data());
    if let Err(error) = written {
        // Opening the log removes what this leaves behind if it fails too.
        let _ = disk.remove(&spare.path);
        return Err(NotBegun::Harmless(failed("begin", error)));
    }
    disk.rename(&spare.path, &path)
        .and_then(|()| disk.sync_dir(dir))
        .map_err(|e| NotBegun::Doubtful(failed("name", e)))?;
    let position = u32::try_from(bytes.len()).expect("checkpoints take a few megabytes at most");
    Ok((Segment::new(header.sequence, path, spare.file, length, position), position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_segment_reads_back_and_others_do_not() {
        let path = segment_path(Path::new("/log"), 42);
        let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
        assert_eq!(sequence_of(name), Some(42));
        for other in ["0000000000000000.log", "42.log", "spare-1", "000000000000002a.log", "x"] {
            assert_eq!(sequence_of(other), None, "{other}");
        }
    }
}
