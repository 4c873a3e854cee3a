//! What the fuzz targets share: decisions read from the fuzzer's bytes, a meter of memory, and the two things
//! that are made of many decisions, a log and a raft message.
//!
//! A target asserts more than that nothing panics: what decodes is encoded and decoded again to the same, the
//! pieces in which bytes arrive do not matter, nothing is allocated on the mere word of a peer, and nothing
//! comes out that never went in.

pub mod file;
pub mod input;
pub mod log;
pub mod memory;
pub mod raft;
pub mod stream;
