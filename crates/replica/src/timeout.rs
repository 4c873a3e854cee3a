//! Election timeouts from a seed.
//!
//! raft-rs draws a timeout from the thread's generator whenever it resets itself, and looks at it only at
//! the next tick. So the replica sets the timeout after every call that could have reset it. The value
//! is a function of seed, replica, term and the number of elections begun, not a draw: whether a reset
//! took place cannot be seen from outside (the draw may equal the old value), and must not matter.

/// Which timeouts a replica gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub seed: u64,
    pub replica: u64,
    pub election_ticks: u32,
}

impl Timeouts {
    /// The ticks without a leader, `election_ticks..2 * election_ticks`, after which the replica campaigns,
    /// in `term` and after it began `elections`: two replicas that collide once part in the next round.
    pub fn ticks(&self, term: u64, elections: u64) -> usize {
        let mut hash = mix(self.seed ^ mix(self.replica));
        hash = mix(hash ^ term);
        hash = mix(hash ^ elections);
        (u64::from(self.election_ticks) + hash % u64::from(self.election_ticks)) as usize
    }
}

/// A good 64-bit mixing step (SplitMix64).
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_fill_the_range_between_once_and_twice_the_election_ticks() {
        let timeouts = Timeouts { seed: 7, replica: 1, election_ticks: 8 };
        let mut seen: Vec<usize> = (0..1000).map(|term| timeouts.ticks(term, 0)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, (8..16).collect::<Vec<_>>());
    }

    #[test]
    fn replicas_of_one_seed_do_not_share_their_timeouts() {
        let ticks = |replica| {
            let timeouts = Timeouts { seed: 7, replica, election_ticks: 8 };
            (0..64).map(|term| timeouts.ticks(term, 0)).collect::<Vec<_>>()
        };
        assert_ne!(ticks(1), ticks(2));
        assert_ne!(ticks(2), ticks(3));
    }
}
