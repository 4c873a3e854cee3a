//! A node's data directory: it belongs to one cluster and one node, and one process at a time uses it.
//!
//! ```text
//! <data dir>/identity   who this data belongs to, in plain words
//! <data dir>/founding   there while the node's first groups are being made; the node writes and removes it
//! <data dir>/joining    the nonce under which a node without an identity asks to join its cluster
//! <data dir>/retired    the node was removed from its cluster: the next process empties the directory
//! <data dir>/cluster.json  the last known state of the cluster; the node writes it
//! <data dir>/recovery.json  what the node is to do first at its next start; the node writes and removes it
//! <data dir>/lock       locked while a process uses the directory
//! <data dir>/log/       the shared log
//! <data dir>/state/     the engine
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use flin_state::ids::{ClusterId, NodeId};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// The format of a data directory that this version writes, and the newest one that it reads.
pub const FORMAT: u32 = 1;

const IDENTITY: &str = "identity";
const IDENTITY_UNFINISHED: &str = "identity.new";
/// The name of the mark of an unfinished foundation; it may precede the identity.
pub const FOUNDING: &str = "founding";
/// The name of the file that keeps the last known state of the cluster.
pub const CLUSTER: &str = "cluster.json";
/// The name of the file with what a node is to do first at its next start, after others were lost for good.
pub const RECOVERY: &str = "recovery.json";
const JOINING: &str = "joining";
const JOINING_UNFINISHED: &str = "joining.new";
const RETIRED: &str = "retired";
const LOCK: &str = "lock";
const LOG: &str = "log";
const STATE: &str = "state";
const TITLE: &str = "flin data directory";

/// What an empty volume may hold before Flin does: file systems put it there.
const NOT_FOREIGN: &str = "lost+found";

/// Whose data a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster that the node is of.
    pub cluster_id: ClusterId,
    /// The node.
    pub node_id: NodeId,
    /// The format of everything in the directory; [`FORMAT`] in a new one.
    pub format: u32,
}

/// Why a directory cannot be used. Each says what to do; none is worth a retry, except waiting for
/// [`DataDirError::InUse`] to end.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process holds the lock.
    #[error(
        "the data directory {} is in use by another process; stop that one, or choose another directory",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// There are files, and nothing says that they are Flin's.
    #[error(
        "{} is not a data directory of Flin: it holds `{found}` and no identity; choose an empty directory",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// A file found in it.
        found: String,
    },
    /// A later version of Flin wrote it.
    #[error(
        "the data directory {} has format {found}, this version reads up to {FORMAT}; start the newer \
         version of Flin again",
        path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The identity file is damaged.
    #[error("the file {} does not say whose data this is: {what}", path.display())]
    BadIdentity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The directory was given an identity before, and it is not the same.
    #[error(
        "the data directory {} belongs to node {} of cluster {}, not to node {} of cluster {}",
        path.display(), present.node_id, present.cluster_id, wanted.node_id, wanted.cluster_id
    )]
    OtherIdentity {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        present: Identity,
        /// Whose it should become.
        wanted: Identity,
    },
    /// The file system refused something.
    #[error("{act} {}", path.display())]
    Disk {
        /// What was attempted.
        act: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A data directory that this process holds. Dropping it lets another process in.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Option<Identity>,
    emptied: bool,
    /// The lock is the operating system's, on the open file: it goes when the process does.
    lock: File,
}

impl Drop for DataDir {
    /// A child process that is just being started holds the open file too, until it runs its program: only
    /// unlocking lets others in at once. The lock also goes with the process.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.lock, FlockOperation::Unlock);
    }
}

impl DataDir {
    /// Takes the directory at `path`, which is created if it is missing, and emptied if it is retired.
    ///
    /// # Errors
    /// See [`DataDirError`]. A directory that is refused is left as it was.
    pub fn open(path: impl AsRef<Path>) -> Result<DataDir, DataDirError> {
        let path = path.as_ref().to_path_buf();
        fs::create_dir_all(&path).map_err(failed("create the data directory", &path))?;
        refuse_foreign(&path)?;
        let lock = take_lock(&path)?;
        // Another process may have come and gone before the lock was ours.
        refuse_foreign(&path)?;
        let emptied = empty_if_retired(&path)?;
        let identity = read_identity(&path)?;
        for name in [LOG, STATE] {
            let dir = path.join(name);
            fs::create_dir_all(&dir).map_err(failed("create", &dir))?;
        }
        sync_dir(&path)?;
        Ok(DataDir { path, identity, emptied, lock })
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the shared log.
    pub fn log_dir(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// The directory of the engine.
    pub fn state_dir(&self) -> PathBuf {
        self.path.join(STATE)
    }

    /// Whose data this is; `None` in a new directory.
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Says whose data this is, durably and at once, before any of it is written. Saying the same
    /// again is no error.
    ///
    /// # Errors
    /// [`DataDirError::OtherIdentity`] if it was said otherwise before.
    pub fn write_identity(
        &mut self,
        cluster_id: ClusterId,
        node_id: NodeId,
    ) -> Result<(), DataDirError> {
        let wanted = Identity { cluster_id, node_id, format: FORMAT };
        match self.identity {
            Some(present) if present == wanted => return Ok(()),
            Some(present) => {
                let path = self.path.clone();
                return Err(DataDirError::OtherIdentity { path, present, wanted });
            }
            None => {}
        }
        let text = identity_text(wanted);
        self.write_whole(IDENTITY_UNFINISHED, IDENTITY, &text, "write the identity in")?;
        self.identity = Some(wanted);
        Ok(())
    }

    /// Whether opening found the directory retired and emptied it.
    pub fn was_emptied(&self) -> bool {
        self.emptied
    }

    /// The nonce under which this directory's node asks to join its cluster; `None` if it never asked, or is
    /// a member already.
    pub fn nonce(&self) -> Result<Option<String>, DataDirError> {
        let file = self.path.join(JOINING);
        match fs::read_to_string(&file) {
            Ok(nonce) => Ok(Some(nonce)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &file)(error)),
        }
    }

    /// Keeps the nonce under which the node asks to join, durably; to be called before it asks.
    pub fn keep_nonce(&self, nonce: &str) -> Result<(), DataDirError> {
        self.write_whole(JOINING_UNFINISHED, JOINING, nonce, "keep the nonce in")
    }

    /// Forgets the nonce once the identity that it brought is written. Having none is no error.
    pub fn forget_nonce(&self) -> Result<(), DataDirError> {
        remove(&self.path.join(JOINING))?;
        sync_dir(&self.path)
    }

    /// Declares the data superfluous, durably: the next process that opens the directory empties it.
    pub fn retire(&self) -> Result<(), DataDirError> {
        let mark = self.path.join(RETIRED);
        let marked = File::create(&mark).and_then(|file| file.sync_all());
        marked.map_err(failed("write", &mark))?;
        sync_dir(&self.path)
    }

    /// Writes a file such that a crash leaves all of it or nothing.
    fn write_whole(
        &self,
        unfinished: &str,
        name: &str,
        text: &str,
        act: &'static str,
    ) -> Result<(), DataDirError> {
        let unfinished = self.path.join(unfinished);
        let write = || {
            let mut file = File::create(&unfinished)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, self.path.join(name))
        };
        write().map_err(failed(act, &self.path))?;
        sync_dir(&self.path)
    }
}

/// Removes everything of Flin's from a retired directory, the mark last: a crash in between leaves a directory
/// that is emptied again. What is not Flin's stays, and is named when the directory is opened again.
fn empty_if_retired(path: &Path) -> Result<bool, DataDirError> {
    let mark = path.join(RETIRED);
    if !mark.try_exists().map_err(failed("read the data directory", path))? {
        return Ok(false);
    }
    for name in [LOG, STATE] {
        let dir = path.join(name);
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("empty", &dir)(error));
            }
            _ => {}
        }
    }
    let unfinished_cluster = Path::new(CLUSTER).with_extension("new");
    let files = [FOUNDING, JOINING, JOINING_UNFINISHED, CLUSTER, IDENTITY_UNFINISHED, IDENTITY];
    for name in files.into_iter().map(Path::new).chain([unfinished_cluster.as_path()]) {
        remove(&path.join(name))?;
    }
    sync_dir(path)?;
    remove(&mark)?;
    sync_dir(path)?;
    Ok(true)
}

/// Removes a file that may be there.
fn remove(file: &Path) -> Result<(), DataDirError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", file)(error)),
        _ => Ok(()),
    }
}

/// Refuses a directory with content that nothing says is ours.
fn refuse_foreign(path: &Path) -> Result<(), DataDirError> {
    let unreadable = || failed("read the data directory", path);
    for ours in [IDENTITY, RETIRED] {
        if path.join(ours).try_exists().map_err(unreadable())? {
            return Ok(());
        }
    }
    for entry in fs::read_dir(path).map_err(unreadable())? {
        let name = entry.map_err(unreadable())?.file_name().to_string_lossy().into_owned();
        let harmless = match name.as_str() {
            FOUNDING | LOCK | IDENTITY_UNFINISHED | JOINING | JOINING_UNFINISHED | NOT_FOREIGN => {
                true
            }
            LOG | STATE => is_empty_dir(&path.join(&name))?,
            _ => false,
        };
        if !harmless {
            return Err(DataDirError::Foreign { path: path.to_path_buf(), found: name });
        }
    }
    Ok(())
}

fn is_empty_dir(path: &Path) -> Result<bool, DataDirError> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(failed("read", path)(error)),
    }
}

fn take_lock(path: &Path) -> Result<File, DataDirError> {
    let lock_path = path.join(LOCK);
    let mut options = OpenOptions::new();
    let lock = options.read(true).write(true).create(true).truncate(false).open(&lock_path);
    let lock = lock.map_err(failed("open the lock file", &lock_path))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => Err(DataDirError::InUse { path: path.to_path_buf() }),
        Err(error) => Err(failed("lock", &lock_path)(error.into())),
    }
}

fn read_identity(path: &Path) -> Result<Option<Identity>, DataDirError> {
    let file = path.join(IDENTITY);
    let text = match fs::read(&file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", &file)(error)),
    };
    let bad = |what: &str| DataDirError::BadIdentity { path: file.clone(), what: what.to_owned() };
    let mut lines = text.lines();
    if lines.next() != Some(TITLE) {
        return Err(bad("it does not begin with `flin data directory`"));
    }
    let mut value = |name: &str| {
        let line = lines.next().and_then(|line| line.split_once(" = "));
        line.filter(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
    };
    // The format comes first: a later one may go on differently.
    let format = value("format").and_then(|format| format.parse().ok());
    let format: u32 = format.filter(|format| *format > 0).ok_or_else(|| bad("it has no format"))?;
    if format > FORMAT {
        return Err(DataDirError::Newer { path: path.to_path_buf(), found: format });
    }
    let cluster_id = value("cluster").and_then(|id| id.parse().ok());
    let node_id = value("node").and_then(|id| id.parse().ok().filter(|id| *id > 0));
    Ok(Some(Identity {
        cluster_id: cluster_id.ok_or_else(|| bad("it has no cluster"))?,
        node_id: NodeId(node_id.ok_or_else(|| bad("it has no node"))?),
        format,
    }))
}

fn identity_text(identity: Identity) -> String {
    let Identity { cluster_id, node_id, format } = identity;
    format!("{TITLE}\nformat = {format}\ncluster = {cluster_id}\nnode = {node_id}\n")
}

fn sync_dir(path: &Path) -> Result<(), DataDirError> {
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    synced.map_err(failed("sync the data directory", path))
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_path_buf();
    move |source| DataDirError::Disk { act, path, source }
}
