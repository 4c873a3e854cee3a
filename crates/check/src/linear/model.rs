//! What the keys of one object hold, and what one operation makes of it.
//!
//! # Lives and clocks
//!
//! Every operation takes effect at one true moment `t` between `from` and `to`, later in the order
//! never earlier in time. The cluster acts on it at a time `n` of its own: a leader stamps a
//! command, or a reader looks at its clock, after the request was sent and not after it took
//! effect, with a clock that is wrong by at most `e`. So `from - e <= n <= t + e`. A value put for
//! `life` has the deadline `n + life`; an operation that sees it has an `n` up to the deadline, one
//! that finds it gone an `n` from the deadline on, and gone is gone. (At the very deadline we
//! excuse both.) The times of different operations are otherwise independent here: that excuses
//! more than a real cluster needs and keeps the model small.
//!
//! Eliminating `n` leaves two inequalities between true moments. Let P put the value:
//! - R sees it: `from(R) <= t(P) + life + 2e`,
//! - R finds it gone: `t(R) >= from(P) + life - 2e`.
//!
//! `t(P)` is at most the end of P and of everything ordered after it, R included;
//! [`Life::until_us`] is that minimum. `t(R)` is at most the end of R and of everything ordered
//! after R; [`State::floor_us`] is what these ends must not be before. Given the order, both
//! conditions together are exact, since all they ask is that moments are late enough: every moment
//! may be chosen as late as the ends allow.
//!
//! The error counts twice, once for the clock that set the deadline and once for the clock that was
//! looked at. A clock that counts coarser than microseconds adds its tick to the error.

use super::event::{Deed, Event};
use super::operation::Value;

/// What the keys hold. States with equal values, later `until_us` and lower `floor_us` permit more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct State {
    pub entries: Vec<Entry>,
    /// No operation that comes now can have ended before.
    pub floor_us: u64,
}

/// What one key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    Absent,
    Forever(Value),
    /// There or expired: whoever looks next tells.
    Until(Value, Life),
}

/// The life of a value that expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life {
    /// It was not set before.
    pub from_us: u64,
    /// It was not set after.
    pub until_us: u64,
    pub life_us: u64,
}

/// The rules, given how wrong the clocks may be.
pub(super) struct Model {
    /// How far two clocks may be apart.
    slack_us: u64,
}

impl State {
    /// Every key is absent.
    pub fn empty(keys: usize) -> Self {
        Self { entries: vec![Entry::Absent; keys], floor_us: 0 }
    }

    /// Whether a value may expire.
    pub fn has_lives(&self) -> bool {
        self.entries.iter().any(|entry| entry.may_expire())
    }

    /// Whether no key is seen as absent in one of the two and as present in the other.
    pub fn has_the_same_keys(&self, other: &Self) -> bool {
        let mut pairs = self.entries.iter().zip(&other.entries);
        pairs.all(|(a, b)| (*a == Entry::Absent) == (*b == Entry::Absent))
    }
}

impl Entry {
    fn forever(value: Option<Value>) -> Self {
        value.map_or(Self::Absent, Self::Forever)
    }

    pub fn may_expire(self) -> bool {
        matches!(self, Self::Until(..))
    }

    /// What is there if it has not expired.
    pub fn value(self) -> Option<Value> {
        match self {
            Self::Absent => None,
            Self::Forever(value) | Self::Until(value, _) => Some(value),
        }
    }
}

impl Model {
    pub fn new(clock_error_us: u64) -> Self {
        Self { slack_us: clock_error_us.saturating_mul(2) }
    }

    /// The states that `event` may leave if it takes effect in `state`; none if it cannot.
    pub fn step(&self, state: &State, event: &Event) -> Vec<State> {
        if event.ends_us() < state.floor_us {
            return Vec::new();
        }
        let mut next = state.clone();
        let possible = match &event.deed {
            Deed::Sees(views) => {
                views.iter().all(|(key, value)| self.see(&mut next, event, *key, *value))
            }
            Deed::Writes(pairs) => {
                for (key, value) in pairs {
                    next.entries[*key] = Entry::forever(*value);
                }
                true
            }
            Deed::WritesFor { key, value, life_us } => {
                let (from_us, until_us) = (event.sent_us(), event.ends_us());
                let life = Life { from_us, until_us, life_us: *life_us };
                next.entries[*key] = Entry::Until(*value, life);
                true
            }
            Deed::Replaces { key, old, new } => {
                let seen = self.see(&mut next, event, *key, *old);
                next.entries[*key] = Entry::forever(*new);
                seen
            }
            Deed::Adds { key, by, sum } => return self.add(state, event, *key, *by, *sum),
            Deed::Removes { keys, count } => self.remove(&mut next, event, keys, *count),
            Deed::Impossible => false,
        };
        if !possible {
            return Vec::new();
        }
        next.settle(event);
        vec![next]
    }

    /// Whether `event` can see `value` in a key; a key found to have expired is absent from now on.
    fn see(&self, state: &mut State, event: &Event, key: usize, value: Option<Value>) -> bool {
        match (state.entries[key], value) {
            (Entry::Until(held, life), Some(value)) => {
                held == value && self.can_be_there(life, event)
            }
            (Entry::Until(_, life), None) => {
                state.entries[key] = Entry::Absent;
                state.floor_us = state.floor_us.max(self.gone_from(life));
                self.gone_from(life) <= event.ends_us()
            }
            (entry, value) => entry.value() == value,
        }
    }

    /// The one place where a state has two successors: what was there and whether it has expired
    /// can both be open.
    fn add(
        &self,
        state: &State,
        event: &Event,
        key: usize,
        by: i64,
        sum: Option<i64>,
    ) -> Vec<State> {
        let mut found = Vec::new();
        let held = state.entries[key];
        for seen in [held.value(), None] {
            let Some(total) = seen.unwrap_or(0).checked_add(by) else { continue };
            if sum.is_some_and(|sum| sum != total) {
                continue;
            }
            let mut next = state.clone();
            if self.see(&mut next, event, key, seen) {
                next.entries[key] = match (held, seen) {
                    (Entry::Until(_, life), Some(_)) => Entry::Until(total, life),
                    _ => Entry::Forever(total),
                };
                next.settle(event);
                found.push(next);
            }
            if held == Entry::Absent {
                break;
            }
        }
        found
    }

    /// Whether exactly `count` of `keys` can have been there. Nothing is left of any, so that of
    /// all ways to tell who had expired only the one matters that leaves the lowest floor.
    fn remove(&self, state: &mut State, event: &Event, keys: &[usize], count: u64) -> bool {
        let mut there = 0;
        let mut floor_us = state.floor_us;
        // The moments from which those on may be gone that may also still be there.
        let mut open = Vec::new();
        for entry in keys.iter().map(|key| state.entries[*key]) {
            let Entry::Until(_, life) = entry else {
                there += u64::from(entry != Entry::Absent);
                continue;
            };
            let gone_from = self.gone_from(life);
            match (self.can_be_there(life, event), gone_from <= event.ends_us()) {
                (true, true) => open.push(gone_from),
                (true, false) => there += 1,
                (false, true) => floor_us = floor_us.max(gone_from),
                (false, false) => return false,
            }
        }
        let Some(missing) = count.checked_sub(there).map(|missing| missing as usize) else {
            return false;
        };
        if missing > open.len() {
            return false;
        }
        open.sort_unstable();
        let expired = open.len() - missing;
        state.floor_us = open[..expired].last().map_or(floor_us, |last| floor_us.max(*last));
        for key in keys {
            state.entries[*key] = Entry::Absent;
        }
        true
    }

    fn can_be_there(&self, life: Life, event: &Event) -> bool {
        event.sent_us() <= self.there_until(life)
    }

    /// The last moment at which a request can have been sent that sees the value.
    pub fn there_until(&self, life: Life) -> u64 {
        life.until_us.saturating_add(life.life_us).saturating_add(self.slack_us)
    }

    /// The first moment at which the value can have been found gone.
    fn gone_from(&self, life: Life) -> u64 {
        life.from_us.saturating_add(life.life_us).saturating_sub(self.slack_us)
    }
}

impl State {
    /// What is there now was set before `event` took effect, and so before its answer came.
    fn settle(&mut self, event: &Event) {
        for entry in &mut self.entries {
            if let Entry::Until(_, life) = entry {
                life.until_us = life.until_us.min(event.ends_us());
            }
        }
    }
}
