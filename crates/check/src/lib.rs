//! Says whether a cluster kept its word, from nothing but what its clients recorded.
//!
//! Clients write down every write with its outcome and every read with its answer ([`history`], one JSON
//! object per line). [`register::check`] then finds each read that no correct cluster could have
//! answered: a value lost, altered, resurrected or never written, and each acknowledged key that nobody
//! looked at afterwards. The rules are those of a linearizable register, so a write whose outcome is unknown
//! may show or not, until the first read that sees it; from then on it counts like any other.
//!
//! [`linear::check`] asks more of a smaller history: whether one order of all operations of an object
//! (reads, batches, counters, comparisons, removals, values that expire) explains all answers.
//!
//! Pure: no clock, no randomness, no I/O. Times are whatever one clock the recorder used.

pub mod history;
pub mod linear;
pub mod register;
pub mod verdict;

pub use history::{History, HistoryError, Outcome, Read, Record, Write};
pub use register::check;
pub use verdict::{Finding, Tally, Verdict, Violation};
