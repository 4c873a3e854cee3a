//! Integration tests of the replica.

#![allow(clippy::unwrap_used)]

mod cluster;
mod hostile;
mod memory_log;
mod random;
mod restore;
mod rounds;
mod scripts;
