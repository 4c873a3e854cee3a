//! The checker against planted faults, against a search over all orders, and at size.

mod exhaustive;
mod linear;
mod planted;
mod rules;

use flin_check::{Outcome, Read, Write};

/// A write of `k`, acknowledged unless said otherwise.
fn put(value: &str, from: u64, to: u64) -> Write {
    let (key, value) = ("k".to_owned(), Some(value.to_owned()));
    Write { key, value, from, to, outcome: Outcome::Acknowledged }
}

/// A removal of `k`.
fn remove(from: u64, to: u64) -> Write {
    Write { value: None, ..put("", from, to) }
}

/// The same write with another outcome.
fn with(outcome: Outcome, write: Write) -> Write {
    Write { outcome, ..write }
}

/// A read of `k`.
fn get(value: Option<&str>, from: u64, to: u64) -> Read {
    Read { key: "k".to_owned(), value: value.map(str::to_owned), from, to }
}
