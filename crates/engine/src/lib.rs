//! Where a node keeps what it must not forget: the log that all its groups share, the engine that holds
//! the state of all groups, and the directory that both live in.
//!
//! - [`log::SharedLog`] implements [`flin_state::log::Log`] over segment files on a [`disk::Disk`].
//! - [`memory::MemoryEngine`] and, with the feature `rocksdb`, `rocks::RocksEngine` implement
//!   [`flin_state::engine::Engine`].
//! - [`lock::DataDir`] makes sure that one process at a time uses a directory, and that it is ours.
//!
//! The disk is a parameter: [`disk::RealDisk`] in production, [`disk::MemoryDisk`] wherever a test or a
//! simulation wants the power to fail.

pub mod disk;
pub mod lock;
pub mod log;
pub mod memory;
#[cfg(feature = "rocksdb")]
pub mod rocks;
