//! Integration tests of the replica.

mod cluster;
mod hostile;
mod memory_log;
mod random;
mod scripts;
