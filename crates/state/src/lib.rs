//! The deterministic heart of Flin: identities, the traits that state and log stand on, and the state
//! machines that every replica applies alike. Nothing here knows a clock, a disk, a network or chance.
//!
//! A client's [`operation::Write`] becomes part of a [`command::Command`], which is one entry of a
//! partition's replicated log; [`apply`] turns committed commands into one engine batch and one reply per
//! write, [`read`] answers [`operation::Read`] from the engine, and [`keys`] says where things lie in it.
//! [`cluster`] is the state machine of the meta group.

pub mod apply;
pub mod cluster;
mod codec;
pub mod command;
pub mod engine;
pub mod ids;
pub mod keys;
pub mod log;
pub mod membership;
pub mod operation;
pub mod read;
pub mod slot;

pub use codec::Malformed;
