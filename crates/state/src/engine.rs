//! What a state machine asks of the engine that keeps its state: ordered bytes, atomic writes.
//!
//! `flin-engine` implements these traits twice: over RocksDB, and in memory with a `crash` that loses
//! what was not flushed.

use std::ops::ControlFlow;

use bytes::Bytes;

/// The engine could not do what was asked. A node stops on it: a state machine has no answer to give.
#[derive(Debug, thiserror::Error)]
#[error("{act}")]
pub struct EngineError {
    /// What was attempted, for example `write a batch of 12 edits`.
    pub act: String,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl EngineError {
    /// An error named by the act that failed.
    pub fn new(
        act: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        EngineError { act: act.into(), source: source.into() }
    }
}

/// The result of everything that touches an engine.
pub type Result<T> = std::result::Result<T, EngineError>;

/// Called with each pair of a scan, in ascending order of keys, until it breaks.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// A consistent view of ordered keys and values.
pub trait Reader {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Visits the pairs with `from <= key < to` in ascending order.
    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<()>;
}

/// One change of the engine's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Sets `key` to `value`.
    Put {
        /// The whole engine key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Removes `key`; removing an absent key is no error.
    Delete {
        /// The whole engine key.
        key: Bytes,
    },
    /// Removes every key with `from <= key < to`.
    DeleteRange {
        /// The first key removed.
        from: Bytes,
        /// The first key kept.
        to: Bytes,
    },
}

/// Edits that take effect together, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    /// The edits, applied first to last.
    pub edits: Vec<Edit>,
}

/// Where groups keep their state. Shared by threads; every method may block on a disk.
pub trait Engine: Reader + Send + Sync + 'static {
    /// Makes a batch visible at once. It is not durable before the next [`Engine::flush`]; what survives
    /// a crash is always a prefix of the batches written, never a part of one.
    fn write(&self, batch: WriteBatch) -> Result<()>;

    /// Returns once everything written before the call is on stable storage.
    fn flush(&self) -> Result<()>;

    /// The value that `key` would have if the power failed now.
    fn get_persisted(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Calls `read` with a view that later writes do not change.
    fn with_snapshot(&self, read: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()>;

    /// Begins to stage the content of a range beside the engine, invisible until installed. An earlier
    /// stage of the same name is discarded. The name is a file name: `[a-z0-9-]+`.
    fn stage(&self, name: &str) -> Result<Box<dyn Stage + Send>>;

    /// Replaces everything in `from <= key < to` by the finished stage, durably and at once: after a
    /// crash anywhere inside, opening the engine completes it. The caller has finished the stage.
    fn install(&self, name: &str, from: &[u8], to: &[u8]) -> Result<()>;

    /// Forgets a stage, finished or not; an absent one is no error.
    fn discard_stage(&self, name: &str) -> Result<()>;
}

/// A range being staged by [`Engine::stage`].
pub trait Stage {
    /// Adds a pair; keys come in strictly ascending order.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Makes the stage durable. Without it the stage is lost, which is safe.
    fn finish(self: Box<Self>) -> Result<()>;
}
