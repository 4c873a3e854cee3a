//! Prints how long the judgement of long histories takes, correct and spoilt.

mod store;

use std::time::{Duration, Instant};

use flin_check::linear::{FailureKind, Limits, check};

use store::{Chance, Shape, record, spoil};

const SEEDS: u64 = 300;

fn main() {
    let usual = Shape {
        operations: 2_000,
        clients: 10,
        objects: 12,
        keys_max: 3,
        unknown_percent: 3,
        lives_percent: 0,
        life_us: 50_000,
        clock_error_us: 500,
        ahead_percent: 0,
        distinct: true,
        length_us: 5_000,
        pause_us: 1_000,
    };
    measure("usual", &usual);
    measure("three objects", &Shape { objects: 3, ..usual.clone() });
    measure("lives", &Shape { lives_percent: 8, ..usual.clone() });
    measure("sent ahead", &Shape { ahead_percent: 50, ..usual.clone() });
    measure("repeated values", &Shape { distinct: false, ..usual.clone() });
    measure("10% unknown", &Shape { unknown_percent: 10, ..usual.clone() });
    measure(
        "10% unknown, lives",
        &Shape { unknown_percent: 10, lives_percent: 8, ..usual.clone() },
    );
    measure("one object", &Shape { objects: 1, keys_max: 1, ..usual.clone() });
    measure("one object of 3 keys", &Shape { objects: 1, keys_max: 3, ..usual.clone() });
    let all = Shape { lives_percent: 8, ahead_percent: 30, unknown_percent: 10, ..usual };
    measure("everything, repeated", &Shape { distinct: false, ..all });
}

fn measure(name: &str, shape: &Shape) {
    for spoilt in [false, true] {
        let (mut sum, mut longest) = (Duration::ZERO, Duration::ZERO);
        let (mut not, mut undecided) = (0, 0);
        for seed in 0..SEEDS {
            let mut chance = Chance::new(seed);
            let mut history = record(shape, &mut chance);
            if spoilt {
                spoil(&mut history, &mut chance);
            }
            let limits = Limits { clock_error_us: shape.clock_error_us, steps_max: 1_000_000 };
            let begin = Instant::now();
            let failures = check(&history, &limits).expect("a history that can be judged");
            let took = begin.elapsed();
            (sum, longest) = (sum + took, longest.max(took));
            let is = |kind| u64::from(failures.iter().any(|failure| failure.kind == kind));
            not += is(FailureKind::NotLinearizable);
            undecided += is(FailureKind::Undecided);
            if !spoilt && not > 0 {
                println!("{name}, seed {seed}: a correct history accused\n{}", failures[0]);
                return;
            }
        }
        let mean = sum / SEEDS as u32;
        let kind = if spoilt { "spoilt" } else { "correct" };
        println!(
            "{name:22} {kind:8} mean {mean:>10.2?}  longest {longest:>10.2?}  \
             not {not:>3}  undecided {undecided:>3}"
        );
    }
}
