//! The obvious definition of a linearizable history of one object: some order of the operations,
//! some choice at each of what had expired, and moments that make both possible. Exponential, and
//! easy to believe.

use std::collections::BTreeMap;

use flin_check::linear::{Action, Answer, Key, Operation, Value};

/// Whether any order explains `history`, all of it about one object.
pub(super) fn is_explained(history: &[Operation], clock_error_us: u64) -> bool {
    let start = Attempt {
        history,
        error: clock_error_us as i64,
        order: Vec::new(),
        keys: BTreeMap::new(),
        bounds: Vec::new(),
    };
    start.extends()
}

/// What a key holds, and who put it there for how long.
#[derive(Clone, Copy)]
struct Held {
    value: Value,
    deadline: Option<(usize, i64)>,
}

/// A moment: when operation i took effect, or what the clock showed that it went by for a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Zero,
    Effect(usize),
    Clock(usize, Key),
}

/// The first moment is not later than the second one plus the number.
type Bound = (Moment, Moment, i64);

#[derive(Clone)]
struct Attempt<'a> {
    history: &'a [Operation],
    error: i64,
    order: Vec<usize>,
    keys: BTreeMap<Key, Held>,
    bounds: Vec<Bound>,
}

impl Attempt<'_> {
    fn extends(&self) -> bool {
        let missing: Vec<usize> =
            (0..self.history.len()).filter(|i| !self.order.contains(i)).collect();
        if missing.iter().all(|i| self.history[*i].to_us.is_none()) && self.has_moments() {
            return true;
        }
        let may_come = |i: &usize| !missing.iter().any(|other| self.is_before(*other, *i));
        let mut next = missing.iter().copied().filter(may_come);
        next.any(|i| self.place(i).into_iter().any(|longer| longer.extends()))
    }

    /// Whether an answered operation must come before another one.
    fn is_before(&self, first: usize, second: usize) -> bool {
        let (a, b) = (&self.history[first], &self.history[second]);
        let Some(to_us) = a.to_us else { return false };
        let sent_first = a.client == b.client && (a.from_us, first) < (b.from_us, second);
        to_us < b.from_us || sent_first
    }

    /// Every way in which operation `i` can come next.
    fn place(&self, i: usize) -> Vec<Self> {
        let operation = &self.history[i];
        let mut next = self.clone();
        let from = operation.from_us as i64;
        next.bounds.push((Moment::Zero, Moment::Effect(i), -from));
        next.bounds.extend(operation.to_us.map(|to| (Moment::Effect(i), Moment::Zero, to as i64)));
        let last = self.order.last();
        next.bounds.extend(last.map(|last| (Moment::Effect(*last), Moment::Effect(i), 0)));
        next.order.push(i);
        let mut ways = vec![next];
        for key in looks_at(&operation.action) {
            ways = ways.into_iter().flat_map(|way| way.with_or_without(i, key)).collect();
        }
        ways.retain_mut(|way| {
            let answer = way.act(i);
            operation.answer.is_none() || answer == operation.answer
        });
        ways
    }

    /// The key as it is, and as it is if what it holds has expired.
    fn with_or_without(mut self, i: usize, key: Key) -> Vec<Self> {
        let Some(Held { deadline: Some((put, life)), .. }) = self.keys.get(&key).copied() else {
            return vec![self];
        };
        self.look_at_the_clock(i, key);
        let (now, stamp) = (Moment::Clock(i, key), Moment::Clock(put, key));
        let mut without = self.clone();
        self.bounds.push((now, stamp, life));
        without.bounds.push((stamp, now, -life));
        without.keys.remove(&key);
        vec![self, without]
    }

    /// A clock that was looked at between the sending of `i` and its effect.
    fn look_at_the_clock(&mut self, i: usize, key: Key) {
        let (clock, from) = (Moment::Clock(i, key), self.history[i].from_us as i64);
        self.bounds.push((Moment::Zero, clock, self.error - from));
        self.bounds.push((clock, Moment::Effect(i), self.error));
    }

    /// Changes the keys; the answer, or `None` if there is an error instead.
    fn act(&mut self, i: usize) -> Option<Answer> {
        let value = |way: &Self, key: &Key| way.keys.get(key).map(|held| held.value);
        match &self.history[i].action {
            Action::Get(keys) => {
                Some(Answer::Values(keys.iter().map(|key| value(self, key)).collect()))
            }
            Action::Put { pairs } => {
                for (key, value) in pairs {
                    self.set(*key, Some(*value));
                }
                Some(Answer::Done)
            }
            Action::PutFor { key, value, life_us } => {
                let deadline = Some((i, *life_us as i64));
                self.keys.insert(*key, Held { value: *value, deadline });
                self.look_at_the_clock(i, *key);
                Some(Answer::Done)
            }
            Action::Add { key, by } => {
                let sum = value(self, key).unwrap_or(0).checked_add(*by)?;
                let deadline = self.keys.get(key).and_then(|held| held.deadline);
                self.keys.insert(*key, Held { value: sum, deadline });
                Some(Answer::Sum(sum))
            }
            Action::CompareAndSet { key, expected, value: new } => {
                let found = value(self, key);
                if found != *expected {
                    return Some(Answer::Found(found));
                }
                self.set(*key, *new);
                Some(Answer::Done)
            }
            Action::Delete { keys } => {
                let there = keys.iter().filter(|key| self.keys.remove(key).is_some()).count();
                Some(Answer::Count(there as u64))
            }
            Action::Swap { key, value: new } => {
                let old = value(self, key);
                self.set(*key, *new);
                Some(Answer::Values(vec![old]))
            }
        }
    }

    fn set(&mut self, key: Key, value: Option<Value>) {
        match value {
            Some(value) => drop(self.keys.insert(key, Held { value, deadline: None })),
            None => drop(self.keys.remove(&key)),
        }
    }

    /// Whether moments exist that keep all bounds: no cycle of them may sum up to less than nothing
    /// (Bellman and Ford).
    fn has_moments(&self) -> bool {
        let mut latest = BTreeMap::new();
        for (first, second, _) in &self.bounds {
            latest.extend([(*first, 0_i64), (*second, 0)]);
        }
        for _ in 0..=latest.len() {
            let mut changed = false;
            for (first, second, offset) in &self.bounds {
                let most = latest[second] + offset;
                if latest[first] > most {
                    latest.insert(*first, most);
                    changed = true;
                }
            }
            if !changed {
                return true;
            }
        }
        false
    }
}

/// The keys of which it matters whether they have expired.
fn looks_at(action: &Action) -> Vec<Key> {
    let mut keys = match action {
        Action::Get(keys) | Action::Delete { keys } => keys.clone(),
        Action::Put { .. } | Action::PutFor { .. } => Vec::new(),
        Action::Add { key, .. } | Action::CompareAndSet { key, .. } | Action::Swap { key, .. } => {
            vec![*key]
        }
    };
    keys.sort_unstable();
    keys.dedup();
    keys
}
