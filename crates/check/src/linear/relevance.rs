//! Which writes of unknown outcome can matter to anybody.
//!
//! Such a write can be left out of every order if no operation ever looks at any value that it
//! leaves: from it to the next write of a key that does not look (or the end) nobody touches the
//! key, since whoever did would see the value. Without the write something else is there for that
//! time, and nobody sees that either. The argument holds again after others have been left out. It
//! does not hold for a part of a batch: who sees the rest of it must not see what the missing part
//! would have replaced.
//!
//! To look means to depend on the value: a read, what a swap or comparison found, the sum of an
//! addition less what was added. An addition of unknown sum and a removal that counts depend on any
//! value. A value that expires shows in two ways, as itself and as an absence.

use std::collections::BTreeSet;

use super::event::{Deed, Event};
use super::keys::KeySet;
use super::operation::Value;

/// Leaves out of `unknown` what nobody can have seen.
pub(super) fn keep_relevant<'a>(known: &[Event<'a>], unknown: &mut Vec<Event<'a>>) {
    loop {
        let before = unknown.len();
        let looks = Looks::new(known.iter().chain(unknown.iter()).map(|event| &event.deed));
        unknown.retain(|event| looks.show(&event.deed));
        if unknown.len() == before {
            return;
        }
    }
}

/// What operations look at.
#[derive(Default)]
struct Looks {
    values: BTreeSet<(usize, Option<Value>)>,
    anything: KeySet,
}

impl Looks {
    fn new<'a>(deeds: impl Iterator<Item = &'a Deed>) -> Self {
        let mut looks = Self::default();
        for deed in deeds {
            match deed {
                Deed::Sees(views) => looks.values.extend(views),
                Deed::Replaces { key, old, .. } => drop(looks.values.insert((*key, *old))),
                Deed::Adds { key, sum: None, .. } => looks.anything.insert(*key),
                Deed::Adds { key, by, sum: Some(sum) } => {
                    looks.values.extend(sum.checked_sub(*by).map(|old| (*key, Some(old))));
                    looks.values.extend((sum == by).then_some((*key, None)));
                }
                Deed::Removes { keys, .. } => {
                    keys.iter().for_each(|key| looks.anything.insert(*key));
                }
                Deed::Writes(_) | Deed::WritesFor { .. } | Deed::Impossible => {}
            }
        }
        looks
    }

    fn meet(&self, key: usize, value: Option<Value>) -> bool {
        self.anything.contains(key) || self.values.contains(&(key, value))
    }

    /// Whether somebody may look at what a deed of unknown outcome leaves.
    fn show(&self, deed: &Deed) -> bool {
        match deed {
            Deed::Writes(pairs) => pairs.iter().any(|(key, value)| self.meet(*key, *value)),
            Deed::WritesFor { key, value, .. } => {
                self.meet(*key, Some(*value)) || self.meet(*key, None)
            }
            Deed::Replaces { key, new, .. } => self.meet(*key, *new),
            _ => true,
        }
    }
}
