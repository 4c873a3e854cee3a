//! Decisions read from the fuzzer's bytes, so that it can change one of them by changing a byte.

/// The bytes that are left. Once they are used up every decision is the first of its choices, so that every
/// input has a meaning and a short one is a prefix of a longer one.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Reads `bytes` from their beginning.
    pub fn new(bytes: &'a [u8]) -> Self {
        Input { rest: bytes }
    }

    /// Whether all bytes are used up.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                *byte
            }
            None => 0,
        }
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `bound`, which is from 1 to 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// One of `choices`.
    pub fn choose<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[self.below(choices.len())]
    }

    /// Eight bytes as a number.
    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A number: mostly a small one, sometimes any, sometimes one at an edge of what numbers can be.
    pub fn number(&mut self) -> u64 {
        const EDGES: [u64; 8] = [
            u64::MAX,
            u64::MAX - 1,
            1 << 63,
            (1 << 63) - 1,
            1 << 56,
            (1 << 56) + 1,
            1 << 32,
            (1 << 32) - 1,
        ];
        match self.byte() {
            small @ 0..=199 => u64::from(small % 32),
            edge @ 200..=247 => EDGES[usize::from(edge) % EDGES.len()],
            _ => self.word(),
        }
    }

    /// A signed number, as [`Input::number`].
    pub fn signed(&mut self) -> i64 {
        let number = self.number() as i64;
        if self.flag() { number.wrapping_neg() } else { number }
    }

    /// Bytes as they stand, at most `max` of them, behind a byte that says how many.
    pub fn bytes(&mut self, max: usize) -> &'a [u8] {
        let wanted = usize::from(self.byte()).min(max).min(self.rest.len());
        let (bytes, rest) = self.rest.split_at(wanted);
        self.rest = rest;
        bytes
    }
}
