//! Sets of operations by their number.

/// A set of small numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// An empty set with room for the numbers below `count`.
    pub fn with_room(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    pub fn contains(&self, number: usize) -> bool {
        self.0[number / 64] & (1 << (number % 64)) != 0
    }

    pub fn insert(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    pub fn remove(&mut self, number: usize) {
        self.0[number / 64] &= !(1 << (number % 64));
    }

    /// Whether all of `self` is in `other`, a set with the same room.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    /// What tells the set from every other one that has all numbers below `first`: the words from
    /// there to the last that is not empty. In a long history these are few, however much came
    /// before.
    pub fn window(&self, first: usize) -> Vec<u64> {
        let begin = (first / 64).min(self.0.len());
        let end = self.0.iter().rposition(|word| *word != 0).map_or(begin, |last| last + 1);
        let words = self.0[begin..end.max(begin)].iter().copied();
        std::iter::once(begin as u64).chain(words).collect()
    }
}
