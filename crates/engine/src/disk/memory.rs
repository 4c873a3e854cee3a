//! A disk in memory whose power can fail: what was not synced is lost, wholly or in part.
//!
//! It models what a careful reader of `fsync(2)` fears: a file's bytes and its name become durable
//! separately; unsynced writes reach the disk in any order, in pieces of a sector; and after a failed
//! sync the page cache still shows bytes that will never be on the disk. Directories themselves are
//! durable at once.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile};

/// The unit that a power failure keeps or loses whole.
const SECTOR_BYTES: usize = 512;

/// A [`Disk`] in memory. Clones name the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

/// A file of a [`MemoryDisk`]. It stops working when the power fails.
#[derive(Debug)]
pub struct MemoryFile {
    disk: MemoryDisk,
    inode: usize,
    epoch: u64,
}

/// How the machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed: the page cache survives, and what was not synced still is not.
    Kill,
    /// The power fails, and everything that was not synced is lost.
    LoseUnsynced,
    /// The power fails, and of what was not synced an arbitrary part is lost: the seed decides about
    /// each sector, and how many of the changes to the names survive.
    Torn {
        /// The source of chance; the same seed loses the same parts.
        seed: u64,
    },
}

#[derive(Debug, Default)]
struct State {
    epoch: u64,
    /// Changing operations until the power fails by itself; `None` is never.
    operations_left: Option<u64>,
    operations: u64,
    off: bool,
    full: bool,
    sync_fails: bool,
    write_fails: bool,
    inodes: Vec<Inode>,
    directories: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<NameChange>,
}

#[derive(Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Debug)]
enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    Grow { len: usize },
}

#[derive(Debug)]
struct NameChange {
    /// Names that go.
    removed: Option<PathBuf>,
    /// The name that comes, and for which file.
    added: Option<(PathBuf, usize)>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the machine as `how` says and starts it again: open files stop working, and the disk
    /// holds what survived.
    pub fn crash(&self, how: Crash) {
        self.state().crash(how);
    }

    /// Fails every operation once `operations` more have changed something, until [`Self::crash`].
    pub fn halt_after(&self, operations: u64) {
        self.state().operations_left = Some(operations);
    }

    /// Whether [`Self::halt_after`] has struck.
    pub fn is_halted(&self) -> bool {
        self.state().off
    }

    /// How many operations have changed something so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Fails the next sync of a file or directory; what it should have saved never reaches the disk.
    pub fn fail_next_sync(&self) {
        self.state().sync_fails = true;
    }

    /// Fails the next write with an input/output error.
    pub fn fail_next_write(&self) {
        self.state().write_fails = true;
    }

    /// While `full`, nothing can grow: creating and allocating answer `StorageFull`.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Takes back every failure that was asked for and has not happened yet, and gives it room.
    pub fn mend(&self) {
        let mut state = self.state();
        state.operations_left = None;
        (state.off, state.full, state.sync_fails, state.write_fails) = (false, false, false, false);
    }

    /// The bytes of a file as a reader sees them now; `None` if it does not exist.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(path).map(|inode| state.inodes[*inode].bytes.clone())
    }

    /// Changes bytes of a file behind everybody's back and durably, as a failing disk does.
    ///
    /// # Panics
    /// If the file does not exist.
    pub fn damage(&self, path: &Path, change: impl Fn(&mut Vec<u8>)) {
        let mut state = self.state();
        let inode = state.names[path];
        change(&mut state.inodes[inode].bytes);
        change(&mut state.inodes[inode].durable);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no operation of the memory disk panics half way")
    }
}

impl State {
    /// Counts an operation that changes something; refuses it once the power is off.
    fn change(&mut self) -> io::Result<()> {
        self.check()?;
        match &mut self.operations_left {
            Some(0) => self.off = true,
            Some(left) => *left -= 1,
            None => {}
        }
        self.check()?;
        self.operations += 1;
        Ok(())
    }

    fn check(&self) -> io::Result<()> {
        if self.off { Err(io::Error::other("the power failed")) } else { Ok(()) }
    }

    fn check_space(&self) -> io::Result<()> {
        if self.full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync_result(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.sync_fails) {
            return Err(io::Error::other("failpoint: sync"));
        }
        Ok(())
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    fn crash(&mut self, how: Crash) {
        self.epoch += 1;
        self.operations_left = None;
        self.off = false;
        self.sync_fails = false;
        self.write_fails = false;
        let mut chance = match how {
            // The cache outlives the process; only the handles are gone.
            Crash::Kill => return,
            Crash::LoseUnsynced => None,
            Crash::Torn { seed } => Some(Chance(seed)),
        };
        // Journals keep changes of names in order, so that a prefix of them survives.
        let kept = chance.as_mut().map_or(0, |chance| chance.below(self.pending_names.len() + 1));
        for change in self.pending_names.drain(..).take(kept) {
            change.apply(&mut self.durable_names);
        }
        self.names = self.durable_names.clone();
        for inode in &mut self.inodes {
            inode.crash(chance.as_mut());
        }
        // Nothing names or holds the others any more.
        let named: BTreeSet<usize> = self.names.values().copied().collect();
        for (number, inode) in self.inodes.iter_mut().enumerate() {
            if !named.contains(&number) {
                *inode = Inode::default();
            }
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        if let Some(path) = &self.removed {
            names.remove(path);
        }
        if let Some((path, inode)) = &self.added {
            names.insert(path.clone(), *inode);
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        let path = self.removed.as_ref().or(self.added.as_ref().map(|(path, _)| path));
        path.and_then(|path| path.parent()) == Some(dir)
    }
}

impl Inode {
    fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            pending.apply(&mut self.durable, |_| true);
        }
    }

    fn crash(&mut self, chance: Option<&mut Chance>) {
        if let Some(chance) = chance {
            for pending in self.pending.drain(..) {
                pending.apply(&mut self.durable, |_| chance.below(2) == 0);
            }
        }
        self.pending.clear();
        self.bytes = self.durable.clone();
    }
}

impl Pending {
    /// Applies the sectors that `keep` chooses.
    fn apply(&self, target: &mut Vec<u8>, mut keep: impl FnMut(usize) -> bool) {
        match self {
            Pending::Grow { len } => {
                if keep(0) && target.len() < *len {
                    target.resize(*len, 0);
                }
            }
            Pending::Write { offset, bytes } => {
                let mut start = 0;
                while start < bytes.len() {
                    let sector = (offset + start) / SECTOR_BYTES;
                    let end = ((sector + 1) * SECTOR_BYTES - offset).min(bytes.len());
                    if keep(sector) {
                        write_into(target, offset + start, &bytes[start..end]);
                    }
                    start = end;
                }
            }
        }
    }
}

fn write_into(target: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if target.len() < end {
        target.resize(end, 0);
    }
    target[offset..end].copy_from_slice(bytes);
}

/// SplitMix64, enough to choose sectors.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.directories.extend(dir.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.check()?;
        if !state.directories.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<MemoryFile> {
        let mut state = self.state();
        state.change()?;
        state.check_space()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !path.parent().is_some_and(|dir| state.directories.contains(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.rename(NameChange { removed: None, added: Some((path.to_path_buf(), inode)) });
        Ok(MemoryFile { disk: self.clone(), inode, epoch: state.epoch })
    }

    fn open(&self, path: &Path) -> io::Result<MemoryFile> {
        let state = self.state();
        state.check()?;
        let inode = state.find(path)?;
        Ok(MemoryFile { disk: self.clone(), inode, epoch: state.epoch })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        let inode = state.find(from)?;
        let added = Some((to.to_path_buf(), inode));
        state.rename(NameChange { removed: Some(from.to_path_buf()), added });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.find(path)?;
        state.rename(NameChange { removed: Some(path.to_path_buf()), added: None });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.sync_result()?;
        let pending = std::mem::take(&mut state.pending_names);
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|change| change.is_in(dir));
        for change in here {
            change.apply(&mut state.durable_names);
        }
        state.pending_names = elsewhere;
        Ok(())
    }
}

impl MemoryFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.epoch != self.epoch {
            return Err(io::Error::other("the power failed after this file was opened"));
        }
        state.check()?;
        Ok(state)
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.state()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let source = state.inodes[self.inode].bytes.get(offset..offset + bytes.len());
        bytes.copy_from_slice(source.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.change()?;
        if std::mem::take(&mut state.write_fails) {
            return Err(io::Error::other("failpoint: write"));
        }
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let full = state.full;
        let inode = &mut state.inodes[self.inode];
        if full && offset + bytes.len() > inode.bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        write_into(&mut inode.bytes, offset, bytes);
        inode.pending.push(Pending::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state()?;
        state.change()?;
        let result = state.sync_result();
        let inode = &mut state.inodes[self.inode];
        match result {
            Ok(()) => inode.sync(),
            // The kernel marks the pages clean: they will never be written again.
            Err(_) => inode.pending.clear(),
        }
        result
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.change()?;
        state.check_space()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let inode = &mut state.inodes[self.inode];
        if inode.bytes.len() < len {
            inode.bytes.resize(len, 0);
            inode.pending.push(Pending::Grow { len });
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.inodes[self.inode].bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> MemoryDisk {
        let disk = MemoryDisk::new();
        disk.create_dir(Path::new("/d")).expect("create the directory");
        disk
    }

    #[test]
    fn file_is_lost_when_its_directory_was_not_synced() {
        let disk = disk();
        let file = disk.create(Path::new("/d/a")).expect("create");
        file.write_at(b"hello", 0).expect("write");
        file.sync_data().expect("sync");
        disk.crash(Crash::LoseUnsynced);
        assert_eq!(disk.contents(Path::new("/d/a")), None);
    }

    #[test]
    fn only_synced_bytes_survive() {
        let disk = disk();
        let file = disk.create(Path::new("/d/a")).expect("create");
        disk.sync_dir(Path::new("/d")).expect("sync the directory");
        file.write_at(b"hello", 0).expect("write");
        file.sync_data().expect("sync");
        file.write_at(b"J", 0).expect("write");
        assert_eq!(disk.contents(Path::new("/d/a")).as_deref(), Some(&b"Jello"[..]));
        disk.crash(Crash::LoseUnsynced);
        assert_eq!(disk.contents(Path::new("/d/a")).as_deref(), Some(&b"hello"[..]));
        assert!(file.len().is_err(), "a file of before the crash must not work after it");
    }

    #[test]
    fn failed_sync_loses_its_bytes_even_when_the_next_one_succeeds() {
        let disk = disk();
        let file = disk.create(Path::new("/d/a")).expect("create");
        disk.sync_dir(Path::new("/d")).expect("sync the directory");
        file.write_at(b"hello", 0).expect("write");
        disk.fail_next_sync();
        assert!(file.sync_data().is_err());
        file.sync_data().expect("sync");
        disk.crash(Crash::LoseUnsynced);
        assert_eq!(disk.contents(Path::new("/d/a")).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn torn_crash_keeps_some_sectors_and_loses_others() {
        let disk = disk();
        let file = disk.create(Path::new("/d/a")).expect("create");
        disk.sync_dir(Path::new("/d")).expect("sync the directory");
        file.allocate(64 * 512).expect("allocate");
        file.sync_data().expect("sync");
        file.write_at(&[1; 64 * 512], 0).expect("write");
        disk.crash(Crash::Torn { seed: 7 });
        let bytes = disk.contents(Path::new("/d/a")).expect("the file is there");
        let kept = bytes.chunks(512).filter(|sector| sector[0] == 1).count();
        assert!((10..54).contains(&kept), "{kept} of 64 sectors were kept");
        assert!(bytes.chunks(512).all(|sector| sector.iter().all(|b| *b == sector[0])));
    }
}
