//! What clients ask of a partition and what it answers, typed, with a versioned binary form.
//!
//! Operations carry no clock: a relative life stays relative until apply adds the command's stamp.
//! Everything here is persisted in logs and crosses the wire: numbers of variants are never reused.

mod read;
mod refusal;
mod reply;
mod write;

pub use read::{Read, TtlUnit};
pub use refusal::Refusal;
pub use reply::{KeyPage, PairPage, Reply, ValueType};
pub use write::{Condition, ExpireCondition, Expiry, Moment, Write};

/// The longest key, in bytes. An empty key is a key.
pub const KEY_BYTES_MAX: usize = 64 * 1024;

/// The longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The longest pattern of a scan, in bytes; it bounds the work of matching it with a key.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// The most pairs or keys that one page of a scan examines, whatever was asked for.
pub const SCAN_COUNT_MAX: u32 = 10_000;

/// A page of pairs ends once it holds this many bytes of keys and values; it holds at least one pair.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// The most bytes of values that the answer to one read of several keys holds.
pub const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most bytes of values that the writes of one command keep in memory beyond their own size, which
/// bounds what a batch of small appends to large values can cost.
pub const COMMAND_BYTES_MAX: usize = 128 * 1024 * 1024;
