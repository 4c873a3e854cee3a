//! The operations of one object, and which of them may come next.

use std::collections::{BTreeMap, BTreeSet};

use super::bits::Bits;
use super::event::{Deed, Event};
use super::operation::{Action, Key, Operation, Value};
use super::relevance::keep_relevant;

/// Everything that was recorded of one object. Events are in the order in which they were sent.
pub(super) struct Object<'a> {
    pub id: u32,
    pub keys: Vec<Key>,
    /// Answered: each has its place in the order.
    pub known: Vec<Event<'a>>,
    /// Of unknown outcome: any of them may be left out.
    pub unknown: Vec<Event<'a>>,
    /// For each key, when those were sent that can see whether a value has expired, ascending.
    pub looks_us: Vec<Vec<u64>>,
    /// No sum can overflow, so that additions commute.
    pub sums_fit: bool,
}

/// What may come next, given what has come.
pub(super) struct View {
    /// The first known event that has not come.
    pub first: usize,
    /// Known events that may come now, the first to end first.
    pub candidates: Vec<usize>,
    /// Events of unknown outcome that may come now, in order.
    pub available: Vec<usize>,
    /// Before this moment no known event ends that has not come.
    pub ends_us: u64,
    /// The same without the one that ends first, or a lower bound of it.
    pub others_end_us: u64,
}

impl<'a> Object<'a> {
    /// `operations` are those of the object, with their places in the history, all of them valid.
    pub fn new(id: u32, operations: &[(usize, &'a Operation)]) -> Self {
        let used: BTreeSet<Key> =
            operations.iter().flat_map(|(_, operation)| keys_of(&operation.action)).collect();
        let keys: Vec<Key> = used.into_iter().collect();
        let numbers: BTreeMap<Key, usize> = keys.iter().copied().zip(0..).collect();
        let events = operations
            .iter()
            .filter_map(|(place, operation)| Event::new(operation, *place, &numbers));
        let (mut known, mut unknown): (Vec<_>, Vec<_>) =
            events.partition(|event| event.source.to_us.is_some());
        known.sort_by_key(Event::sent);
        unknown.sort_by_key(Event::sent);
        keep_relevant(&known, &mut unknown);
        let sums_fit = sums_fit(known.iter().chain(&unknown));
        let looks_us = (0..keys.len()).map(|key| looks_us(key, known.iter().chain(&unknown)));
        let looks_us = looks_us.collect();
        Self { id, keys, known, unknown, looks_us, sums_fit }
    }

    /// What may come next when `done` of the known and `used` of the unknown events have come.
    /// `first` is a number below which all of `done` have.
    ///
    /// An event may come when it was sent before everything that has not come has ended, and when
    /// nothing with an answer that its client sent earlier is still to come.
    pub fn view(&self, done: &Bits, used: &Bits, first: usize) -> View {
        let waits = |number: &usize| !done.contains(*number);
        let first = (first..self.known.len()).find(waits).unwrap_or(self.known.len());
        let (mut ends_us, mut others_end_us) = (u64::MAX, u64::MAX);
        let mut candidates = Vec::new();
        // The first event of each client that has not come.
        let mut heads: Vec<&Event> = Vec::new();
        for number in (first..self.known.len()).filter(waits) {
            let event = &self.known[number];
            if event.sent_us() > ends_us {
                // It and all later ones end after they were sent.
                others_end_us = others_end_us.min(event.sent_us());
                break;
            }
            let end = event.ends_us();
            others_end_us = others_end_us.min(end.max(ends_us));
            ends_us = ends_us.min(end);
            if !heads.iter().any(|head| head.source.client == event.source.client) {
                heads.push(event);
                candidates.push(number);
            }
        }
        candidates.sort_by_key(|number| (self.known[*number].ends_us(), *number));
        let available = (0..self.unknown.len())
            .take_while(|number| self.unknown[*number].sent_us() <= ends_us)
            .filter(|number| !used.contains(*number))
            .filter(|number| {
                let event = &self.unknown[*number];
                let comes_first = |head: &&Event| {
                    head.source.client == event.source.client && head.sent() < event.sent()
                };
                !heads.iter().any(comes_first)
            })
            .collect();
        View { first, candidates, available, ends_us, others_end_us }
    }
}

impl Event<'_> {
    /// The order in which clients sent.
    fn sent(&self) -> (u64, usize) {
        (self.sent_us(), self.place)
    }
}

impl View {
    /// Before this moment nothing ends that has not come, apart from a candidate that ends at
    /// `to_us`.
    pub fn end_without(&self, to_us: u64) -> u64 {
        if to_us == self.ends_us { self.others_end_us } else { self.ends_us }
    }
}

fn keys_of(action: &Action) -> Vec<Key> {
    match action {
        Action::Get(keys) | Action::Delete { keys } => keys.clone(),
        Action::Put { pairs } => pairs.iter().map(|(key, _)| *key).collect(),
        Action::PutFor { key, .. }
        | Action::Add { key, .. }
        | Action::CompareAndSet { key, .. }
        | Action::Swap { key, .. } => vec![*key],
    }
}

fn looks_us<'a>(key: usize, events: impl Iterator<Item = &'a Event<'a>>) -> Vec<u64> {
    let looks = events.filter(|event| !event.deed.is_blind() && event.keys.contains(key));
    let mut sent: Vec<u64> = looks.map(Event::sent_us).collect();
    sent.sort_unstable();
    sent
}

/// Whether even all numbers together stay within an `i64`.
fn sums_fit<'a>(events: impl Iterator<Item = &'a Event<'a>>) -> bool {
    let magnitude = |value: Option<Value>| u128::from(value.unwrap_or(0).unsigned_abs());
    let mut sum = 0_u128;
    for event in events {
        sum += match &event.deed {
            Deed::WritesFor { value, .. } => magnitude(Some(*value)),
            Deed::Sees(pairs) | Deed::Writes(pairs) => {
                pairs.iter().map(|(_, value)| magnitude(*value)).sum()
            }
            Deed::Replaces { old, new, .. } => magnitude(*old) + magnitude(*new),
            Deed::Adds { by, sum, .. } => magnitude(Some(*by)) + magnitude(*sum),
            Deed::Removes { .. } | Deed::Impossible => 0,
        };
    }
    sum <= i64::MAX as u128
}
