//! A file that exists in memory only, for what reads files by their paths.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

/// A file without a place in any directory; it goes with the process.
#[derive(Debug)]
pub struct MemoryFile {
    file: File,
    path: PathBuf,
}

impl MemoryFile {
    /// An empty file.
    ///
    /// # Panics
    /// If the kernel has no room for it.
    pub fn new() -> Self {
        let file = memfd_create(c"fuzz", MemfdFlags::CLOEXEC).expect("a file in memory");
        let file = File::from(file);
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        MemoryFile { file, path }
    }

    /// Where it can be opened, by this process.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes `bytes` its content.
    ///
    /// # Panics
    /// If the kernel has no room for it.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.file.set_len(0).expect("a file in memory can be cut");
        self.file.rewind().expect("a file in memory has positions");
        self.file.write_all(bytes).expect("room for a few kilobytes");
    }
}

impl Default for MemoryFile {
    fn default() -> Self {
        Self::new()
    }
}
