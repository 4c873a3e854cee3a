//! The engine over RocksDB: one column family, without a write-ahead log of its own.
//!
//! The shared log is the write-ahead log: what the engine loses in a crash is applied again from there.
//! With one column family RocksDB flushes memtables in the order in which they were filled, so what
//! survives is a prefix of the batches, effects and applied index together.
//!
//! ```text
//! <path>/db/             RocksDB
//! <path>/stages/<name>/  ranges being staged or installed
//! ```

mod stage;

use std::fmt;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use flin_state::engine::{
    Edit, Engine, EngineError, Reader, Result, Stage, Visit, WriteBatch as Batch,
};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRawIterator, LogLevel, Options, ReadOptions,
    ReadTier, Snapshot, WriteBatch, WriteOptions,
};

/// Bits of bloom filter for each key: one read in a hundred of an absent key touches a block.
const BLOOM_BITS_PER_KEY: f64 = 10.0;

/// Memtables that wait to be flushed, beyond which writes wait.
const WRITE_BUFFERS_MAX: i32 = 3;

/// Old diagnostic logs of RocksDB that are kept, each of at most [`INFO_LOG_BYTES_MAX`].
const INFO_LOGS_MAX: usize = 3;
const INFO_LOG_BYTES_MAX: usize = 4 << 20;

/// What RocksDB may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksOptions {
    /// Memory for blocks read from disk, with their indexes and filters.
    pub block_cache_bytes: usize,
    /// The size of a memtable; there are at most three.
    pub write_buffer_bytes: usize,
    /// Threads that flush and compact.
    pub background_jobs: i32,
    /// Files kept open.
    pub open_files_max: i32,
}

impl Default for RocksOptions {
    fn default() -> Self {
        RocksOptions {
            block_cache_bytes: 128 << 20,
            write_buffer_bytes: 32 << 20,
            background_jobs: 2,
            open_files_max: 1_024,
        }
    }
}

/// An [`Engine`] over RocksDB.
pub struct RocksEngine {
    db: DB,
    options: Arc<Options>,
    stages: PathBuf,
}

impl fmt::Debug for RocksEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksEngine").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

impl RocksEngine {
    /// Opens the engine in the directory `path`, or begins one there, and completes an install that was
    /// interrupted. The caller makes sure that no other process does ([`crate::lock::DataDir`]).
    ///
    /// # Errors
    /// If RocksDB finds damage or the disk fails.
    pub fn open(path: impl AsRef<Path>, options: RocksOptions) -> Result<Self> {
        let path = path.as_ref();
        let act = || format!("open the engine {}", path.display());
        let stages = path.join("stages");
        fs::create_dir_all(&stages).map_err(|e| EngineError::new(act(), e))?;
        let options = db_options(&options);
        let db = DB::open(&options, path.join("db")).map_err(|e| EngineError::new(act(), e))?;
        let engine = RocksEngine { db, options: Arc::new(options), stages };
        engine.recover_stages()?;
        Ok(engine)
    }

    /// Bytes of all files of the engine that are live.
    pub fn size_bytes(&self) -> u64 {
        let property = "rocksdb.total-sst-files-size";
        self.db.property_int_value(property).ok().flatten().unwrap_or(0)
    }
}

fn db_options(options: &RocksOptions) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(options.block_cache_bytes));
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    // Indexes and filters count against the cache, so that the limit on memory holds.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);

    let mut db = Options::default();
    db.create_if_missing(true);
    db.set_paranoid_checks(true);
    db.set_block_based_table_factory(&blocks);
    db.set_compression_type(DBCompressionType::Lz4);
    db.set_bottommost_compression_type(DBCompressionType::Zstd);
    db.set_level_compaction_dynamic_level_bytes(true);
    db.set_write_buffer_size(options.write_buffer_bytes);
    db.set_max_write_buffer_number(WRITE_BUFFERS_MAX);
    db.set_max_background_jobs(options.background_jobs);
    db.set_max_open_files(options.open_files_max);
    db.set_bytes_per_sync(1 << 20);
    db.set_stats_dump_period_sec(0);
    db.set_log_level(LogLevel::Warn);
    db.set_keep_log_file_num(INFO_LOGS_MAX);
    db.set_max_log_file_size(INFO_LOG_BYTES_MAX);
    db
}

/// Writes leave RocksDB's own log alone.
fn without_log() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

fn get(value: std::result::Result<Option<Vec<u8>>, rocksdb::Error>) -> Result<Option<Bytes>> {
    let value = value.map_err(|e| EngineError::new("read a value", e))?;
    Ok(value.map(Bytes::from))
}

/// Visits what `cursor`, which is bounded above, finds from `from` on.
fn visit_all(mut cursor: DBRawIterator<'_>, from: &[u8], visit: Visit<'_>) -> Result<()> {
    cursor.seek(from);
    while let Some((key, value)) = cursor.item() {
        if let ControlFlow::Break(()) = visit(key, value) {
            return Ok(());
        }
        cursor.next();
    }
    cursor.status().map_err(|e| EngineError::new("scan a range", e))
}

fn up_to(to: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(to);
    options
}

impl Reader for RocksEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        get(self.db.get(key))
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        visit_all(self.db.raw_iterator_opt(up_to(to)), from, visit)
    }
}

/// A view that later writes do not change.
struct View<'a>(&'a Snapshot<'a>);

impl Reader for View<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        get(self.0.get(key))
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        visit_all(self.0.raw_iterator_opt(up_to(to)), from, visit)
    }
}

impl Engine for RocksEngine {
    fn write(&self, batch: Batch) -> Result<()> {
        let mut out = WriteBatch::default();
        for edit in &batch.edits {
            match edit {
                Edit::Put { key, value } => out.put(key, value),
                Edit::Delete { key } => out.delete(key),
                // RocksDB refuses a range that is upside down.
                Edit::DeleteRange { from, to } if from >= to => {}
                Edit::DeleteRange { from, to } => out.delete_range(from, to),
            }
        }
        self.db.write_opt(out, &without_log()).map_err(|e| {
            EngineError::new(format!("write a batch of {} edits", batch.edits.len()), e)
        })
    }

    fn flush(&self) -> Result<()> {
        self.db.flush().map_err(|e| EngineError::new("flush the engine", e))
    }

    fn get_persisted(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::Persisted);
        get(self.db.get_opt(key, &options))
    }

    fn with_snapshot(&self, read: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        read(&View(&self.db.snapshot()))
    }

    fn stage(&self, name: &str) -> Result<Box<dyn Stage + Send>> {
        self.begin_stage(name)
    }

    fn install(&self, name: &str, from: &[u8], to: &[u8]) -> Result<()> {
        self.install_stage(name, from, to)
    }

    fn discard_stage(&self, name: &str) -> Result<()> {
        self.remove_stage(name)
    }
}
