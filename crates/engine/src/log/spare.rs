//! Files that wait to become segments, so that beginning a segment does not wait for the disk.
//!
//! A file whose blocks were written before syncs several times faster than a freshly reserved one,
//! whose every sync also commits the file system's journal. So retired segments are kept for reuse,
//! and a thread fills a new file with zeros ahead of need.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use crate::disk::{Disk, DiskFile};

/// How many files wait at most.
pub(super) const SPARES_MAX: usize = 2;

/// Zeros written between two syncs of a file being filled; small, so that the log's own syncs do not
/// queue behind it for long.
const FILL_BYTES: usize = 1 << 20;

/// A file without content that matters, to be renamed when it is used.
#[derive(Debug)]
pub(super) struct Spare<F> {
    pub path: PathBuf,
    pub file: F,
}

/// The files that wait, all of the usual length.
#[derive(Debug)]
pub(super) struct Spares<D: Disk> {
    shared: Arc<Shared<D>>,
    filler: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared<D: Disk> {
    disk: D,
    dir: PathBuf,
    segment_bytes: u64,
    state: Mutex<State<D::File>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<F> {
    ready: Vec<Spare<F>>,
    /// The number in the name of the next file.
    next: u64,
    /// Whether the filler should look whether a file is missing.
    wanted: bool,
    closed: bool,
}

impl<D: Disk> Spares<D> {
    /// Takes over the spare files among `names` if they may be reused, removes those that do not fit, and
    /// starts the filler if asked to.
    pub fn open(
        disk: &D,
        dir: &Path,
        segment_bytes: u64,
        names: &[String],
        reuse: bool,
        fill: bool,
    ) -> io::Result<Self> {
        let mut state = State { ready: Vec::new(), next: 1, wanted: true, closed: false };
        for name in names {
            let Some(number) = number_of(name) else { continue };
            state.next = state.next.max(number + 1);
            let path = dir.join(name);
            let file = disk.open(&path)?;
            if reuse && state.ready.len() < SPARES_MAX && file.len()? == segment_bytes {
                state.ready.push(Spare { path, file });
            } else {
                disk.remove(&path)?;
            }
        }
        let shared = Arc::new(Shared {
            disk: disk.clone(),
            dir: dir.to_path_buf(),
            segment_bytes,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let filler = if fill { Some(spawn_filler(shared.clone())?) } else { None };
        Ok(Spares { shared, filler })
    }

    /// The length of a usual segment.
    pub fn segment_bytes(&self) -> u64 {
        self.shared.segment_bytes
    }

    /// The bytes of all files that wait.
    pub fn bytes(&self) -> u64 {
        self.shared.state().ready.len() as u64 * self.shared.segment_bytes
    }

    /// A file of `length` bytes: one that waits if it fits, else a new one.
    pub fn take(&self, length: u64) -> io::Result<Spare<D::File>> {
        if length != self.shared.segment_bytes {
            return self.shared.create(length);
        }
        let ready = {
            let mut state = self.shared.state();
            state.wanted = true;
            self.shared.changed.notify_all();
            state.ready.pop()
        };
        ready.map_or_else(|| self.shared.create(length), Ok)
    }

    /// Renames the file of a retired segment for reuse if there is need for it, else removes it; without
    /// `file`, somebody still reads it. The caller syncs the directory before it [keeps](Self::keep)
    /// the spare: rewritten under a name that is still durable, it would pass for a damaged segment.
    pub fn retire(
        &self,
        path: &Path,
        file: Option<D::File>,
        length: u64,
    ) -> io::Result<Option<Spare<D::File>>> {
        let mut state = self.shared.state();
        match file {
            Some(file) if length == self.shared.segment_bytes && state.ready.len() < SPARES_MAX => {
                let spare = self.shared.next_path(&mut state);
                self.shared.disk.rename(path, &spare)?;
                Ok(Some(Spare { path: spare, file }))
            }
            _ => self.shared.disk.remove(path).map(|()| None),
        }
    }

    /// Lets `spare` be taken.
    pub fn keep(&self, spare: Spare<D::File>) {
        self.shared.state().ready.push(spare);
    }
}

impl<D: Disk> Drop for Spares<D> {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_all();
        if let Some(filler) = self.filler.take() {
            // It panics only if a lock is poisoned, and then somebody else reports that.
            let _ = filler.join();
        }
    }
}

impl<D: Disk> Shared<D> {
    fn state(&self) -> MutexGuard<'_, State<D::File>> {
        self.state.lock().expect("nothing panics while it holds the spare files")
    }

    fn next_path(&self, state: &mut State<D::File>) -> PathBuf {
        state.next += 1;
        self.dir.join(format!("spare-{}", state.next - 1))
    }

    fn create(&self, length: u64) -> io::Result<Spare<D::File>> {
        let path = self.next_path(&mut self.state());
        let file = self.disk.create(&path)?;
        match file.allocate(length) {
            Ok(()) => Ok(Spare { path, file }),
            Err(error) => {
                // Whatever is left is removed when the log is opened.
                let _ = self.disk.remove(&path);
                Err(error)
            }
        }
    }

    /// Fills files until closed. A failure is not retried before a segment is needed again: then the
    /// disk is full or broken, and the writer is the one to say so.
    fn fill(&self) {
        loop {
            {
                let mut state = self.state();
                while !(state.closed || state.wanted && state.ready.is_empty()) {
                    state = self.changed.wait(state).expect("as in `state`");
                }
                if state.closed {
                    return;
                }
                state.wanted = false;
            }
            let Ok(spare) = self.create(self.segment_bytes) else { continue };
            match self.fill_one(&spare.file) {
                Ok(true) => self.state().ready.push(spare),
                Ok(false) | Err(_) => {
                    let _ = self.disk.remove(&spare.path);
                }
            }
        }
    }

    /// Writes zeros over the whole file; false if the log was closed meanwhile.
    fn fill_one(&self, file: &D::File) -> io::Result<bool> {
        let zeros = vec![0; FILL_BYTES];
        let mut at = 0;
        while at < self.segment_bytes {
            if self.state().closed {
                return Ok(false);
            }
            let length = (self.segment_bytes - at).min(FILL_BYTES as u64);
            file.write_at(&zeros[..length as usize], at)?;
            file.sync_data()?;
            at += length;
        }
        Ok(true)
    }
}

fn spawn_filler<D: Disk>(shared: Arc<Shared<D>>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("log-filler".to_owned()).spawn(move || shared.fill())
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix("spare-")?.parse().ok()
}
