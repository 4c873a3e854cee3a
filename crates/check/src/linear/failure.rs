//! What is reported of an object that no order explains.

use super::object::Object;
use super::operation::{Key, Operation, Value};
use super::search::{Chosen, Depth};

/// Why an object did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// No order explains what clients saw.
    NotLinearizable,
    /// The steps ran out before an order was found or ruled out.
    Undecided,
}

/// An object that did not pass, with the best attempt at an order: the longest beginning that was
/// found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The object.
    pub object: u32,
    /// Why it did not pass.
    pub kind: FailureKind,
    /// The operations that could be ordered, in order. Those of unknown outcome are those that were
    /// needed.
    pub prefix: Vec<Operation>,
    /// What each key holds after them, if it has not expired.
    pub held: Vec<(Key, Option<Value>)>,
    /// The operations of which one had to come next. If the object is not linearizable, each of
    /// them either contradicts what the keys hold or leads to such a contradiction soon after.
    pub stuck: Vec<Operation>,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, object: &Object, depth: &Depth) -> Self {
        let operation = |chosen: &Chosen| match chosen {
            Chosen::Known(number) => object.known[*number].source.clone(),
            Chosen::Unknown(number) => object.unknown[*number].source.clone(),
        };
        let values = depth.entries.iter().map(|entry| entry.value());
        Self {
            object: object.id,
            kind,
            prefix: depth.moves.iter().map(operation).collect(),
            held: object.keys.iter().copied().zip(values).collect(),
            stuck: depth
                .candidates
                .iter()
                .copied()
                .map(Chosen::Known)
                .map(|c| operation(&c))
                .collect(),
        }
    }
}
