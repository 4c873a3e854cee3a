//! The raft groups that a node hosts, how they are driven, and the way to them.
//!
//! The **worker** owns every replica and the log. It takes whatever waits in its mailbox, lets raft step,
//! and then does one *round* for all groups that have something to do: messages that may leave before the
//! disk, one record in the shared log, one fdatasync, messages that had to wait for it, and the committed
//! entries on their way to the **applier**, which owns the state machines. The applier answers whoever
//! waits for a write it applied, and reads at the index that raft confirmed for them.
//!
//! What must never happen, and where it is prevented:
//! - an acknowledgement or a vote before the sync that makes it durable: [`round`];
//! - an effect without its applied index, or the other way round: [`applier`] writes both in one batch;
//! - a reply "not done" for a write that may be done: [`pending`] decides by index and term alone;
//! - a second life for a removed replica: [`leaving`] writes its tombstone before its state goes;
//! - a step of a group's configuration before the last one is settled: [`moves`] asks raft's wrapper;
//! - truncating the log above what the engine would keep in a power loss: [`upkeep`].

mod admission;
mod applier;
mod balance;
mod bench;
pub mod board;
pub mod clock;
mod decoding;
mod estimate;
pub mod form;
pub mod forward;
mod group;
mod host;
pub mod hosting;
mod leaving;
mod mailbox;
mod marks;
pub mod metrics;
mod moves;
mod pending;
pub mod rebalance;
pub mod replay;
mod reporting;
pub mod requests;
mod round;
pub mod router;
pub mod snapshot;
pub mod upkeep;
pub mod wire;
mod worker;

pub use host::{Host, Stepper};
pub use mailbox::{Answer, Groups, INPUTS_MAX, Input, Mailbox};
pub use worker::{Fatal, Ground, Outbox, Timing};
