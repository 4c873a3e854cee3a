//! Prints histories with our verdict, one JSON object per line, for the second opinion of
//! `porcupine/`:
//!
//! ```text
//! cargo run --release -p flin-check --example histories -- --seed 1 --count 5000 |
//!     (cd crates/check/porcupine && go run .)
//! ```
//! Nothing expires in them and every operation is its own client, for porcupine knows neither lives
//! nor the order of one client's requests.

mod store;

use std::io::Write;

use flin_check::linear::{FailureKind, Limits, Operation, check};
use serde::Serialize;

use store::{Chance, Shape, record, spoil};

#[derive(Serialize)]
struct Line<'a> {
    id: u64,
    operations: &'a [Operation],
    verdict: &'a str,
}

fn main() {
    let (seed, count) = (argument("--seed"), argument("--count"));
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for id in 0..count {
        let mut chance = Chance::new(seed.wrapping_mul(1_000_003).wrapping_add(id));
        let history = history(id, &mut chance);
        let limits = Limits { clock_error_us: 0, steps_max: 50_000_000 };
        let failures = check(&history, &limits).expect("a history that can be judged");
        let undecided = failures.iter().any(|failure| failure.kind == FailureKind::Undecided);
        let verdict = match failures.is_empty() {
            true => "linearizable",
            false if undecided => "undecided",
            false => "not",
        };
        let line = Line { id, operations: &history, verdict };
        let line = serde_json::to_string(&line).expect("numbers always serialize");
        // Whoever reads may stop at the first disagreement.
        if writeln!(out, "{line}").is_err() {
            return;
        }
    }
}

/// Two in three are spoilt; whether that shows is for the judges to say.
fn history(id: u64, chance: &mut Chance) -> Vec<Operation> {
    let shape = Shape {
        operations: 8 + chance.below(30) as usize,
        clients: 2 + chance.below(5) as u32,
        objects: 1 + chance.below(2) as u32,
        keys_max: 1 + chance.below(3) as u8,
        unknown_percent: chance.below(3) * 8,
        lives_percent: 0,
        life_us: 1,
        clock_error_us: 0,
        ahead_percent: 0,
        distinct: chance.below(3) == 0,
        length_us: 100,
        pause_us: 1 + chance.below(100),
    };
    let mut history = record(&shape, chance);
    if !id.is_multiple_of(3) {
        for _ in 0..=chance.below(2) {
            spoil(&mut history, chance);
        }
    }
    for (client, operation) in (0..).zip(&mut history) {
        operation.client = client;
    }
    history
}

fn argument(name: &str) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    let value = arguments.next().and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("{name} wants a number"))
}
