//! Whether each key behaved like a linearizable register that begins absent.
//!
//! A write is *settled* once somebody knows that it took effect: at its acknowledgement, or at the end of
//! the first read that saw its value. A settled write that ended before another one began has been
//! *superseded* when that other one is settled too. A read may see
//! - a settled write that began before the read ended and was not superseded by one settled before the read
//!   began,
//! - a write of unknown outcome that began before the read ended: nothing says when it takes effect,
//! - nothing at all, if no write was settled before the read began or a removal fits the rules above.
//!
//! For one read this is exact (a test compares it with a search over all orders). Several reads are judged
//! one by one, with what the others saw only as settlements: never an accusation without a proof, but two
//! reads that contradict each other about overlapping writes can pass.

use std::collections::BTreeMap;

use crate::history::{History, HistoryError, Outcome, Read, Record, Write};
use crate::verdict::{Finding, Tally, Verdict, Violation};

/// Finds every violation in `history`. The cost is O(n log n) for n records.
///
/// # Errors
/// [`HistoryError::Backwards`] or [`HistoryError::Ambiguous`] when the history cannot be judged.
pub fn check(history: &History) -> Result<Verdict, HistoryError> {
    let mut tally = Tally::default();
    let mut keys = BTreeMap::<&str, Key<'_>>::new();
    for record in &history.records {
        match record {
            Record::Write(write) => {
                forwards(&write.key, write.from, write.to)?;
                *match write.outcome {
                    Outcome::Acknowledged => &mut tally.acknowledged,
                    Outcome::Maybe => &mut tally.maybe,
                    Outcome::Failed => &mut tally.failed,
                } += 1;
                keys.entry(&write.key).or_default().writes.push(write);
            }
            Record::Read(read) => {
                forwards(&read.key, read.from, read.to)?;
                tally.reads += 1;
                keys.entry(&read.key).or_default().reads.push(read);
            }
        }
    }
    tally.keys = keys.len() as u64;
    let mut findings = Vec::new();
    for (name, key) in keys {
        if key.writes.iter().any(|w| w.outcome == Outcome::Acknowledged && w.value.is_some()) {
            tally.keys_acknowledged += 1;
        }
        findings.extend(key.judge(name)?);
    }
    Ok(Verdict { tally, findings })
}

fn forwards(key: &str, from: u64, to: u64) -> Result<(), HistoryError> {
    if from <= to {
        return Ok(());
    }
    Err(HistoryError::Backwards { key: key.to_owned(), from, to })
}

/// The records of one key.
#[derive(Default)]
struct Key<'a> {
    writes: Vec<&'a Write>,
    reads: Vec<&'a Read>,
}

impl<'a> Key<'a> {
    fn judge(mut self, name: &str) -> Result<Vec<Finding>, HistoryError> {
        self.reads.sort_by_key(|read| (read.from, read.to));
        let register = Register::new(name, &self.writes, &self.reads)?;
        let mut findings: Vec<_> = self
            .reads
            .iter()
            .filter_map(|read| register.violation(read).map(|v| (read, v)))
            .map(|(read, violation)| Finding {
                key: name.to_owned(),
                violation,
                saw: read.value.clone(),
                at: read.from,
                allowed: register.allowed(read),
            })
            .collect();
        if self.unread() {
            findings.push(Finding {
                key: name.to_owned(),
                violation: Violation::Unread,
                saw: None,
                at: 0,
                allowed: Vec::new(),
            });
        }
        Ok(findings)
    }

    fn unread(&self) -> bool {
        let acknowledged = self.writes.iter().filter(|w| w.outcome == Outcome::Acknowledged);
        let last_read = self.reads.iter().map(|read| read.from).max();
        acknowledged.map(|w| w.to).max().is_some_and(|end| last_read.is_none_or(|at| at < end))
    }
}

/// The writes of one key, as far as they can have taken effect, with what reads settled.
struct Register<'a> {
    puts: BTreeMap<&'a str, Effect>,
    removals: Vec<Effect>,
    /// (end, the latest beginning among the settled writes up to this end), ascending by end.
    settled: Vec<(u64, u64)>,
}

/// A write as readers may see it. `end` is when it was settled; `None`: never.
#[derive(Clone, Copy)]
struct Effect {
    from: u64,
    end: Option<u64>,
    failed: bool,
}

impl<'a> Register<'a> {
    fn new(name: &str, writes: &[&'a Write], reads: &[&Read]) -> Result<Self, HistoryError> {
        let mut puts = BTreeMap::new();
        let mut removals = Vec::new();
        for write in writes {
            let effect = Effect {
                from: write.from,
                end: (write.outcome == Outcome::Acknowledged).then_some(write.to),
                failed: write.outcome == Outcome::Failed,
            };
            match write.value.as_deref() {
                None => removals.push(effect),
                Some(value) => {
                    if puts.insert(value, effect).is_some() {
                        let (key, value) = (name.to_owned(), value.to_owned());
                        return Err(HistoryError::Ambiguous { key, value });
                    }
                }
            }
        }
        for read in reads {
            let Some(put) = read.value.as_deref().and_then(|value| puts.get_mut(value)) else {
                continue;
            };
            if put.from <= read.to {
                put.end = Some(put.end.map_or(read.to, |end| end.min(read.to)));
            }
        }
        let settled = settled(puts.values().chain(&removals));
        Ok(Self { puts, removals, settled })
    }

    /// What is wrong with `read`, if anything.
    fn violation(&self, read: &Read) -> Option<Violation> {
        let Some(value) = read.value.as_deref() else {
            return (!self.may_be_absent(read)).then_some(Violation::Lost);
        };
        match self.puts.get(value) {
            None if self.puts.is_empty() && self.removals.is_empty() => Some(Violation::Phantom),
            None => Some(Violation::Altered),
            Some(put) if put.failed || put.from > read.to => Some(Violation::Phantom),
            Some(put) => (!self.may_show(put, read)).then_some(Violation::Resurrected),
        }
    }

    /// Everything that `read` could have seen.
    fn allowed(&self, read: &Read) -> Vec<Option<String>> {
        let puts = self.puts.iter().filter(|(_, put)| self.may_show(put, read));
        let absent = self.may_be_absent(read).then_some(None);
        absent.into_iter().chain(puts.map(|(value, _)| Some((*value).to_owned()))).collect()
    }

    fn may_be_absent(&self, read: &Read) -> bool {
        self.latest_beginning_before(read).is_none()
            || self.removals.iter().any(|removal| self.may_show(removal, read))
    }

    fn may_show(&self, effect: &Effect, read: &Read) -> bool {
        let begun = !effect.failed && effect.from <= read.to;
        let superseded = match (effect.end, self.latest_beginning_before(read)) {
            (Some(end), Some(later)) => end < later,
            _ => false,
        };
        begun && !superseded
    }

    /// The latest beginning among the writes settled before `read` began.
    fn latest_beginning_before(&self, read: &Read) -> Option<u64> {
        let before = self.settled.partition_point(|(end, _)| *end < read.from);
        before.checked_sub(1).map(|last| self.settled[last].1)
    }
}

fn settled<'a>(effects: impl Iterator<Item = &'a Effect>) -> Vec<(u64, u64)> {
    let known = effects.filter(|effect| !effect.failed);
    let mut ends: Vec<_> = known.filter_map(|e| e.end.map(|end| (end, e.from))).collect();
    ends.sort_unstable();
    let mut latest = 0;
    for (_, from) in &mut ends {
        latest = latest.max(*from);
        *from = latest;
    }
    ends
}
