//! The deterministic heart of Flin: identities, the traits that state and log stand on, and the state
//! machines that every replica applies alike. Nothing here knows a clock, a disk, a network or chance.

pub mod engine;
pub mod ids;
pub mod log;
pub mod membership;
pub mod slot;
