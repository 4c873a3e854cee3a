//! Whether there is an order that explains everything that clients saw: an exact test of
//! linearizability.
//!
//! [`register`](crate::register) judges millions of records by rules about single reads. Here all
//! operations of an object are judged together, with batches, counters, comparisons, removals and
//! lives, by a search for one order in which
//! - every answered operation has its place, and those of unknown outcome have one or none,
//! - what ended before something else was sent comes first (to end at the moment of sending is to
//!   overlap),
//! - what a client sent first comes first, even if it did not wait for answers in between,
//! - every answer is what the `model` answers at that place.
//!
//! Objects are judged one by one: a history is linearizable exactly when each object's part is
//! (Herlihy and Wing). A key belongs to its object; equal numbers in two objects are two keys.
//!
//! # One client
//!
//! Flin promises that within one connection a read sees every earlier write of that connection,
//! also if the client sends ahead. So an answered operation comes before all that its client sent
//! later to the same object; at one moment, the order in which they stand in the history is the
//! order of sending. For a client that waits for answers this follows from the times, which is why
//! there is no separate check of sessions. An operation of unknown outcome binds nothing that was
//! sent later: its client may have been told "unknown" before it sent the next one, and the effect
//! may still be on its way.
//!
//! # Never an accusation without a proof
//!
//! A history that a correct cluster can produce is never reported as
//! [`FailureKind::NotLinearizable`], whatever the limits. Where clocks decide, the `model` excuses
//! whatever some clocks within their error would explain. The search prunes only what is proven to
//! make no difference; the proofs stand beside the pruning, in `search`, `block` and `relevance`,
//! and tests compare the verdicts with those of a search over all orders and of another checker.
//! Where the search would take too long the answer is [`FailureKind::Undecided`], which accuses
//! nobody.

mod bits;
mod block;
mod display;
mod event;
mod failure;
mod keys;
mod memo;
mod model;
mod object;
mod operation;
mod relevance;
mod search;
mod want;

use std::collections::BTreeMap;

pub use failure::{Failure, FailureKind};
pub use operation::{Action, Answer, Key, Malformed, Operation, Value};

use model::Model;
use object::Object;
use search::{Outcome, search};

/// What the judge may assume and spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How far each clock of the cluster may be from the true time, in either direction. Add the
    /// tick of a clock that counts coarser than microseconds.
    pub clock_error_us: u64,
    /// How many steps the search may take for each object; a step tries one operation in one state.
    /// A step costs about a microsecond and remembers at most a few hundred bytes.
    pub steps_max: u64,
}

/// Finds the objects of `history` that no order explains, ascending; none means that it is
/// linearizable. The order of the operations in `history` says nothing, except for those that one
/// client sent to one object at the same moment.
///
/// # Errors
/// [`Malformed`] names the first operation that cannot be judged.
pub fn check(history: &[Operation], limits: &Limits) -> Result<Vec<Failure>, Malformed> {
    let mut objects = BTreeMap::<u32, Vec<(usize, &Operation)>>::new();
    for (at, operation) in history.iter().enumerate() {
        operation.validate(at)?;
        objects.entry(operation.object).or_default().push((at, operation));
    }
    let model = Model::new(limits.clock_error_us);
    let failures = objects.into_iter().filter_map(|(id, operations)| {
        let object = Object::new(id, &operations);
        match search(&object, &model, limits.steps_max) {
            Outcome::Ordered => None,
            Outcome::Stuck(depth) => {
                Some(Failure::new(FailureKind::NotLinearizable, &object, &depth))
            }
            Outcome::Undecided(depth) => {
                Some(Failure::new(FailureKind::Undecided, &object, &depth))
            }
        }
    });
    Ok(failures.collect())
}
