//! A small Redis client made for measuring and for recording: one request in flight per connection, no
//! retries of its own, and an answer that says whether a write was done, surely not done, or unknown.
//!
//! It shares no code with Flin, so that a mistake in Flin's own codec cannot excuse itself.

mod answer;
mod connection;
mod resp;
mod router;
mod topology;

pub(crate) use answer::Answer;
pub(crate) use connection::{Connection, Fault};
pub(crate) use resp::Value;
pub(crate) use router::{Client, Mode, Target};
pub(crate) use topology::{SLOTS, Topology, keys_of_partitions, parse_slots, slot_of};
