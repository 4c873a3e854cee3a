//! What the applier tells the worker without waiting for it.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Mutex;

use flin_state::ids::{GroupId, LogIndex};
use flin_state::membership::Configuration;

/// How far each group has got, of those that moved; the worker takes the marks when it wakes.
#[derive(Default)]
pub(crate) struct Marks(Mutex<BTreeMap<GroupId, Mark>>);

/// How far a group has got since the worker last looked.
#[derive(Default)]
pub(crate) struct Mark {
    /// The last index applied.
    pub(crate) applied: LogIndex,
    /// Entries among those applied that were steps of the configuration, in order, with what came of each.
    pub(crate) configurations: Vec<(LogIndex, Configuration)>,
}

impl Marks {
    pub(crate) fn take(&self) -> BTreeMap<GroupId, Mark> {
        mem::take(&mut *self.0.lock().expect(POISON))
    }

    pub(crate) fn put(&self, marks: impl IntoIterator<Item = (GroupId, Mark)>) {
        let mut waiting = self.0.lock().expect(POISON);
        for (group, mark) in marks {
            let known = waiting.entry(group).or_default();
            known.applied = mark.applied;
            known.configurations.extend(mark.configurations);
        }
    }

    /// Forgets what a group did before its state was replaced.
    pub(crate) fn clear(&self, group: GroupId) {
        self.0.lock().expect(POISON).remove(&group);
    }
}

const POISON: &str = "no thread panics while it holds the marks";
