//! An operation as the model plays it: action and answer folded into what it sees and what it
//! leaves.

use std::collections::BTreeMap;

use super::keys::KeySet;
use super::operation::{Action, Answer, Key, Operation, Value};

/// An operation of one object. Keys are numbered from 0 within the object.
#[derive(Clone, Debug)]
pub(super) struct Event<'a> {
    pub source: &'a Operation,
    /// Its place in the history: among operations that a client sent at one moment, the order of
    /// sending.
    pub place: usize,
    pub deed: Deed,
    pub keys: KeySet,
}

/// What an operation did, as far as its answer tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
    /// Looks and changes nothing: a read, a failed comparison, a removal of nothing.
    Sees(Vec<(usize, Option<Value>)>),
    /// Writes without a look: whatever was there before is of no matter.
    Writes(Vec<(usize, Option<Value>)>),
    /// As `Writes`, for a while.
    WritesFor { key: usize, value: Value, life_us: u64 },
    /// Sees `old` and leaves `new`.
    Replaces { key: usize, old: Option<Value>, new: Option<Value> },
    /// Adds; the sum is unknown if the outcome is.
    Adds { key: usize, by: i64, sum: Option<i64> },
    /// Removes these keys, of which so many were there.
    Removes { keys: Vec<usize>, count: u64 },
    /// Was answered in a way that no state explains.
    Impossible,
}

impl<'a> Event<'a> {
    /// Translates a valid operation. `None` if it neither saw nor can have changed anything.
    pub fn new(
        source: &'a Operation,
        place: usize,
        numbers: &BTreeMap<Key, usize>,
    ) -> Option<Self> {
        let deed = Deed::new(&source.action, source.answer.as_ref(), numbers)?;
        let keys = deed.keys();
        Some(Self { source, place, deed, keys })
    }

    /// When the answer came; the end of time if none did.
    pub fn ends_us(&self) -> u64 {
        self.source.to_us.unwrap_or(u64::MAX)
    }

    pub fn sent_us(&self) -> u64 {
        self.source.from_us
    }
}

impl Deed {
    fn new(
        action: &Action,
        answer: Option<&Answer>,
        numbers: &BTreeMap<Key, usize>,
    ) -> Option<Self> {
        let number = |key: &Key| numbers[key];
        let absent = |keys: &[Key]| distinct(keys.iter().map(|key| (number(key), None)));
        Some(match (action, answer) {
            (Action::Get(_), None) => return None,
            (Action::Get(keys), Some(Answer::Values(values))) => {
                Self::Sees(keys.iter().map(number).zip(values.iter().copied()).collect())
            }
            (Action::Put { pairs }, _) => {
                Self::Writes(distinct(pairs.iter().map(|(key, value)| (number(key), Some(*value)))))
            }
            (Action::PutFor { key, value, life_us }, _) => {
                Self::WritesFor { key: number(key), value: *value, life_us: *life_us }
            }
            (Action::Add { key, by }, answer) => {
                let sum = answer.and_then(|answer| match answer {
                    Answer::Sum(sum) => Some(*sum),
                    _ => None,
                });
                Self::Adds { key: number(key), by: *by, sum }
            }
            (Action::CompareAndSet { expected, .. }, Some(Answer::Found(found)))
                if found == expected =>
            {
                Self::Impossible
            }
            (Action::CompareAndSet { key, .. }, Some(Answer::Found(found))) => {
                Self::Sees(vec![(number(key), *found)])
            }
            // Of unknown outcome it either succeeded or is as good as never sent.
            (Action::CompareAndSet { key, expected, value }, _) => {
                Self::Replaces { key: number(key), old: *expected, new: *value }
            }
            (Action::Delete { keys }, None) => Self::Writes(absent(keys)),
            (Action::Delete { keys }, Some(Answer::Count(0))) => Self::Sees(absent(keys)),
            (Action::Delete { keys }, Some(Answer::Count(count))) => {
                let keys = absent(keys).into_iter().map(|(key, _)| key).collect();
                Self::Removes { keys, count: *count }
            }
            (Action::Swap { key, value }, None) => Self::Writes(vec![(number(key), *value)]),
            (Action::Swap { key, value }, Some(Answer::Values(old))) if old.len() == 1 => {
                Self::Replaces { key: number(key), old: old[0], new: *value }
            }
            _ => Self::Impossible,
        })
    }

    /// Every key that it sees or changes.
    pub fn keys(&self) -> KeySet {
        match self {
            Self::Sees(views) => views.iter().map(|(key, _)| *key).collect(),
            Self::Writes(pairs) => pairs.iter().map(|(key, _)| *key).collect(),
            Self::WritesFor { key, .. } | Self::Replaces { key, .. } | Self::Adds { key, .. } => {
                [*key].into_iter().collect()
            }
            Self::Removes { keys, .. } => keys.iter().copied().collect(),
            Self::Impossible => KeySet::default(),
        }
    }

    /// Whether it leaves the same on its keys whatever was there.
    pub fn is_blind(&self) -> bool {
        matches!(self, Self::Writes(_) | Self::WritesFor { .. })
    }
}

/// The pairs with each key once; the last one counts.
fn distinct(pairs: impl Iterator<Item = (usize, Option<Value>)>) -> Vec<(usize, Option<Value>)> {
    pairs.collect::<BTreeMap<_, _>>().into_iter().collect()
}
