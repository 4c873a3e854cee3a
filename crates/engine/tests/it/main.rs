//! What the engine crate promises, tested from outside, in one binary.

mod data_dir;
mod engine_contract;
mod log_crash;
mod log_damage;
mod log_reclaim;
mod log_use;
mod model;
