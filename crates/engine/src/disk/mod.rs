//! The few things that the log asks of a file system, so that a simulation can stand in for one.

mod memory;
mod real;

use std::fmt;
use std::io;
use std::path::Path;

pub use memory::{Crash, MemoryDisk, MemoryFile};
pub use real::{RealDisk, RealFile};

/// A file system. Clones name the same one.
///
/// Nothing here is durable by itself: a file's bytes are after [`DiskFile::sync_data`], and its name
/// is after [`Disk::sync_dir`] on its directory.
pub trait Disk: Clone + fmt::Debug + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// Creates `dir` and whichever of its parents are missing; an existing one is no error.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names in `dir`, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a file that must not exist yet, open for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens a file that exists, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Renames a file within its directory, replacing what had the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Handles that are open keep reading it.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable: files created, renamed and removed there.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file of a [`Disk`]. Positions are given with every call; there is no cursor.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, in one system call where the kernel takes them at once.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns once every byte written is on stable storage (fdatasync). After an error nobody knows
    /// which of them are, and a second call that succeeds proves nothing.
    fn sync_data(&self) -> io::Result<()>;

    /// Reserves room for `len` bytes and makes the file that long; the new bytes read as zeros.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// The file's length.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
}
