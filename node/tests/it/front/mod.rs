//! The RESP ports over a cluster in memory.

mod clients;
mod cluster;
mod errors;
mod fake;
mod keys;
mod pipeline;
mod session;
mod wire;
