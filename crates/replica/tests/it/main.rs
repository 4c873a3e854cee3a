//! Integration tests of the replica.

#![allow(clippy::unwrap_used)]

mod chance;
mod cluster;
mod hostile;
mod membership;
mod memory_log;
mod moves;
mod random;
mod restore;
mod rounds;
mod scripts;
mod witness;
