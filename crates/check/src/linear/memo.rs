//! The situations from which no order goes on, so that none is searched twice.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::model::State;

/// What has come of the known events and what the keys hold then.
pub(super) type Situation = (Vec<u64>, State);

/// Situations that failed, each with the events of unknown outcome that had been used up by then.
///
/// To have used more helps nobody: what may come next is the same less what has been used. So a
/// situation also fails if it failed with a part of what has been used now, and only the smallest
/// are kept.
#[derive(Default)]
pub(super) struct DeadEnds(BTreeMap<Situation, Vec<Bits>>);

impl DeadEnds {
    pub fn contains(&self, situation: &Situation, used: &Bits) -> bool {
        let failed = self.0.get(situation);
        failed.is_some_and(|failed| failed.iter().any(|less| less.is_within(used)))
    }

    pub fn insert(&mut self, situation: Situation, used: &Bits) {
        let failed = self.0.entry(situation).or_default();
        failed.retain(|more| !used.is_within(more));
        failed.push(used.clone());
    }
}
