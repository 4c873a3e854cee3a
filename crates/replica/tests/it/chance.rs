//! Chance from a seed, and many seeds in a row.

use std::ops::Range;

/// SplitMix64.
pub struct Chance(pub u64);

impl Chance {
    /// A number below `limit`, which is greater than zero.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of them, if there are any.
    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[self.below(of.len())])
    }
}

/// The seeds to run: `FLIN_REPLICA_SEED` alone, or as many as `FLIN_REPLICA_SEEDS` says, or `count`.
pub struct Seeds {
    pub range: Range<u64>,
    /// Whether one seed was chosen: then there is nothing to count.
    pub chosen: bool,
}

impl Seeds {
    pub fn from_environment(count: u64) -> Self {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        match number("FLIN_REPLICA_SEED") {
            Some(seed) => Seeds { range: seed..seed + 1, chosen: true },
            None => {
                let count = number("FLIN_REPLICA_SEEDS").unwrap_or(count);
                Seeds { range: 0..count, chosen: false }
            }
        }
    }

    /// Runs every seed, and prints the one that fails.
    pub fn run(&self, story: &str, mut run: impl FnMut(u64)) {
        for seed in self.range.clone() {
            let _named = NamedSeed { story, seed };
            run(seed);
        }
    }

    pub fn count(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// Prints the seed when the test panics inside its scope.
struct NamedSeed<'a> {
    story: &'a str,
    seed: u64,
}

impl Drop for NamedSeed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed: {}, FLIN_REPLICA_SEED={}", self.story, self.seed);
        }
    }
}
