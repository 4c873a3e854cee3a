//! Sets of keys of one object, small enough to be copied.

/// Keys by their number within the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeySet([u64; 4]);

impl KeySet {
    pub fn insert(&mut self, key: usize) {
        self.0[key / 64] |= 1 << (key % 64);
    }

    pub fn contains(self, key: usize) -> bool {
        self.0[key / 64] & (1 << (key % 64)) != 0
    }

    pub fn meets(self, other: Self) -> bool {
        self.0.iter().zip(other.0).any(|(a, b)| a & b != 0)
    }

    pub fn is_within(self, other: Self) -> bool {
        self.0.iter().zip(other.0).all(|(a, b)| a & !b == 0)
    }
}

impl FromIterator<usize> for KeySet {
    fn from_iter<I: IntoIterator<Item = usize>>(keys: I) -> Self {
        keys.into_iter().fold(Self::default(), |mut set, key| {
            set.insert(key);
            set
        })
    }
}
