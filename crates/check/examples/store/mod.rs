//! A store that many clients use at once, and what they write down of it: correct histories, and
//! spoilt ones.
//!
//! The store is a map. Every operation takes effect at one moment between its sending and its
//! answer; some are never answered, and of those some take effect much later and some never.

use std::collections::BTreeMap;

use flin_check::linear::{Action, Answer, Key, Operation, Value};

/// Numbers that look random and are the same for a seed (splitmix64).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What a history is like.
#[derive(Clone, Debug)]
pub struct Shape {
    pub operations: usize,
    pub clients: u32,
    pub objects: u32,
    /// The first object has so many keys, the next one less, down to one and then again.
    pub keys_max: u8,
    /// How many operations are never answered.
    pub unknown_percent: u64,
    /// How many writes put a value that expires.
    pub lives_percent: u64,
    /// For how long at most.
    pub life_us: u64,
    /// How far the clocks of the store are from the true time.
    pub clock_error_us: u64,
    /// How many operations a client sends before it has the last answer.
    pub ahead_percent: u64,
    /// Values are all different, or else small numbers that repeat.
    pub distinct: bool,
    /// How long an operation takes at most, and how long a client pauses at most.
    pub length_us: u64,
    pub pause_us: u64,
}

/// Runs the store and returns what the clients wrote down, by the time of sending.
pub fn record(shape: &Shape, chance: &mut Chance) -> Vec<Operation> {
    let mut planned = Vec::new();
    for client in 0..shape.clients {
        plan(shape, chance, client, &mut planned);
    }
    planned.sort_by_key(|(effect_us, _)| *effect_us);
    let mut store = Store::default();
    for (effect_us, operation) in &mut planned {
        let Some(effect_us) = *effect_us else { continue };
        let early = operation.from_us.saturating_sub(shape.clock_error_us);
        let late = effect_us + shape.clock_error_us;
        let now_us = early + chance.below(late - early + 1);
        let answer = store.apply(operation.object, &operation.action, now_us);
        operation.answer = operation.to_us.map(|_| answer);
    }
    let mut history: Vec<Operation> = planned.into_iter().map(|(_, operation)| operation).collect();
    history.sort_by_key(|operation| operation.from_us);
    history
}

/// What one client will do, with the moments of effect.
fn plan(
    shape: &Shape,
    chance: &mut Chance,
    client: u32,
    planned: &mut Vec<(Option<u64>, Operation)>,
) {
    let (mut now_us, mut free_us) = (chance.below(shape.pause_us), 0);
    // The last effect of this client on each object: what is sent later takes effect later.
    let mut last = BTreeMap::<u32, u64>::new();
    for _ in 0..shape.operations / shape.clients as usize {
        if !chance.percent(shape.ahead_percent) {
            now_us = free_us.max(now_us) + 1 + chance.below(shape.pause_us);
        }
        let from_us = now_us;
        let object = chance.below(u64::from(shape.objects)) as u32;
        let action = action(shape, chance, object);
        let mut effect_us = from_us + chance.below(shape.length_us);
        effect_us = effect_us.max(last.get(&object).copied().unwrap_or(0));
        let unknown = chance.percent(shape.unknown_percent);
        let (effect_us, to_us) = if unknown {
            let much_later = effect_us + chance.below(shape.length_us * 20);
            free_us = from_us + shape.length_us;
            (chance.percent(60).then_some(much_later), None)
        } else {
            last.insert(object, effect_us);
            let to_us = effect_us + chance.below(shape.length_us);
            free_us = free_us.max(to_us);
            (Some(effect_us), Some(to_us))
        };
        let operation = Operation { client, object, from_us, to_us, action, answer: None };
        planned.push((effect_us, operation));
    }
}

fn action(shape: &Shape, chance: &mut Chance, object: u32) -> Action {
    let keys = shape.keys_max - (object % u32::from(shape.keys_max)) as u8;
    let key = chance.below(u64::from(keys)) as Key;
    let value = |chance: &mut Chance| match shape.distinct {
        true => chance.below(1 << 40) as Value,
        false => chance.below(4) as Value,
    };
    if chance.percent(shape.lives_percent) {
        let (value, life_us) = (value(chance), 1 + chance.below(shape.life_us));
        return Action::PutFor { key, value, life_us };
    }
    let all = || (0..keys).collect::<Vec<Key>>();
    let some = |chance: &mut Chance| match chance.percent(50) {
        true => vec![key],
        false => all(),
    };
    match chance.below(20) {
        0..8 => Action::Get(some(chance)),
        8..12 => {
            let keys = some(chance);
            Action::Put { pairs: keys.into_iter().map(|key| (key, value(chance))).collect() }
        }
        12..15 => Action::Add { key, by: 1 + chance.below(5) as i64 },
        15..17 => {
            let expected = chance.percent(60).then(|| value(chance));
            Action::CompareAndSet { key, expected, value: Some(value(chance)) }
        }
        17 => Action::Delete { keys: some(chance) },
        18 => Action::Swap { key, value: Some(value(chance)) },
        _ => Action::Swap { key, value: None },
    }
}

/// A map with deadlines.
#[derive(Default)]
struct Store(BTreeMap<(u32, Key), (Value, Option<u64>)>);

impl Store {
    fn apply(&mut self, object: u32, action: &Action, now_us: u64) -> Answer {
        self.0.retain(|(other, _), (_, deadline_us)| {
            *other != object || deadline_us.is_none_or(|deadline_us| now_us < deadline_us)
        });
        let held = |store: &Self, key: Key| store.0.get(&(object, key)).map(|(value, _)| *value);
        match action {
            Action::Get(keys) => Answer::Values(keys.iter().map(|key| held(self, *key)).collect()),
            Action::Put { pairs } => {
                pairs.iter().for_each(|(key, value)| self.put(object, *key, Some(*value)));
                Answer::Done
            }
            Action::PutFor { key, value, life_us } => {
                self.0.insert((object, *key), (*value, Some(now_us + life_us)));
                Answer::Done
            }
            Action::Add { key, by } => {
                let entry = self.0.entry((object, *key)).or_insert((0, None));
                entry.0 += by;
                Answer::Sum(entry.0)
            }
            Action::CompareAndSet { key, expected, value } => {
                let found = held(self, *key);
                if found != *expected {
                    return Answer::Found(found);
                }
                self.put(object, *key, *value);
                Answer::Done
            }
            Action::Delete { keys } => {
                let there = keys.iter().filter(|key| self.0.remove(&(object, **key)).is_some());
                Answer::Count(there.count() as u64)
            }
            Action::Swap { key, value } => {
                let old = held(self, *key);
                self.put(object, *key, *value);
                Answer::Values(vec![old])
            }
        }
    }

    fn put(&mut self, object: u32, key: Key, value: Option<Value>) {
        match value {
            Some(value) => drop(self.0.insert((object, key), (value, None))),
            None => drop(self.0.remove(&(object, key))),
        }
    }
}

/// Changes one thing in a history, so that it may have become impossible.
pub fn spoil(history: &mut Vec<Operation>, chance: &mut Chance) {
    let at = chance.below(history.len() as u64) as usize;
    let other = chance.below(history.len() as u64) as usize;
    match chance.below(9) {
        0 => drop(history.remove(at)),
        1 => {
            let (from_us, to_us) = (history[other].from_us, history[other].to_us);
            if let (Some(_), Some(to_us)) = (history[at].to_us, to_us) {
                history[at].from_us = from_us;
                history[at].to_us = Some(to_us);
            }
        }
        2 => {
            if let Some(to_us) = history[at].to_us {
                history[at].from_us = to_us;
            }
        }
        3 => {
            if history[at].to_us.is_some() {
                history[at].to_us = Some(history[at].from_us);
            }
        }
        4 => {
            let later_us = chance.below(history[at].from_us + 1);
            history[at].from_us += later_us;
            history[at].to_us = history[at].to_us.map(|to_us| to_us + later_us);
        }
        _ => spoil_answer(&mut history[at], chance),
    }
}

fn spoil_answer(operation: &mut Operation, chance: &mut Chance) {
    let other = |value: Option<Value>, chance: &mut Chance| match value {
        Some(value) if chance.percent(60) => Some(value + 1),
        Some(_) => None,
        None => Some(chance.below(4) as Value),
    };
    match operation.answer.as_mut() {
        Some(Answer::Sum(sum)) => *sum += 1 + chance.below(2) as i64,
        Some(Answer::Count(count)) => *count = if *count > 0 { *count - 1 } else { 1 },
        Some(Answer::Found(found)) => *found = other(*found, chance),
        Some(Answer::Values(values)) => {
            let at = chance.below(values.len() as u64) as usize;
            values[at] = other(values[at], chance);
        }
        Some(answer @ Answer::Done) => {
            if matches!(operation.action, Action::CompareAndSet { .. }) {
                *answer = Answer::Found(Some(chance.below(4) as Value));
            }
        }
        None => {}
    }
}
