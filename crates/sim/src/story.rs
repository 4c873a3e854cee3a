//! What happened, in words, and a fingerprint of all of it.

/// The story of a run.
#[derive(Clone, Debug)]
pub struct Story {
    /// Whether words are kept.
    kept: bool,
    lines: Vec<String>,
    fingerprint: u64,
}

impl Story {
    /// An empty story; without `kept` only its fingerprint is.
    pub fn new(kept: bool) -> Self {
        Story { kept, lines: Vec::new(), fingerprint: 0 }
    }

    /// Adds words.
    pub fn tell(&mut self, at_us: u64, words: String) {
        self.note(at_us, u64::from(crc32fast::hash(words.as_bytes())));
        if self.kept {
            self.lines.push(format!("{:>9.3} s  {words}", at_us as f64 / 1e6));
        }
    }

    /// Adds something that is not worth words: only the fingerprint knows.
    pub fn note(&mut self, at_us: u64, what: u64) {
        let mixed = (self.fingerprint ^ at_us).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.fingerprint = (mixed ^ (mixed >> 29) ^ what).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }

    /// Equal for two runs in which the same happened at the same times.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The words, a line for each.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}
