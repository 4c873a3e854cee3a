//! How long a sender bears with a receiver: as long as the bytes come through at a least rate.
//!
//! A receiver that stands still is easy to tell, one that takes a little now and then is not: it would hold its
//! sender's view of the engine for ever. So there is one account of time. Every byte sent buys the time that
//! it takes at the least rate, waiting spends it, and [`Patience::stall`](Patience::new) is there from the start.
//! Waiting is only what the receiver owes: the time that the sender needs for itself, since it may not send
//! faster or its disk is slow, costs nothing.
//!
//! All together a transfer waits at most for `stall + bytes / least rate`. Time saved up by a fast receiver is
//! not kept beyond that for what is under way: one that then stands still is given up as soon as any other.

use std::time::Duration;

/// The account of one transfer.
#[derive(Clone, Debug)]
pub struct Patience {
    stall: Duration,
    least_bytes_per_second: u64,
    left: Duration,
    outstanding_bytes: u64,
}

impl Patience {
    /// Bears with a receiver that takes nothing for `stall`, and one that takes less than the least rate for
    /// about as long.
    pub fn new(stall: Duration, least_bytes_per_second: u64) -> Self {
        let least_bytes_per_second = least_bytes_per_second.max(1);
        Patience { stall, least_bytes_per_second, left: stall, outstanding_bytes: 0 }
    }

    /// Bytes left for the receiver, for the first time: sending them again is no reason to wait for longer.
    pub fn sent(&mut self, bytes: u64) {
        self.outstanding_bytes += bytes;
        self.left += self.worth(bytes);
    }

    /// The receiver has bytes that were sent.
    pub fn acknowledged(&mut self, bytes: u64) {
        self.outstanding_bytes = self.outstanding_bytes.saturating_sub(bytes);
        self.left = self.left.min(self.stall + self.worth(self.outstanding_bytes));
    }

    /// The sender waited for the receiver.
    pub fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    /// For how long it will wait from now on if nothing happens; zero once the receiver is to be given up.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// The time that `bytes` take at the least rate.
    fn worth(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.least_bytes_per_second as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(30);
    const LEAST: u64 = 1_000;

    /// For how long a receiver that takes 100 bytes each `every_ms`, of 4,000 that may be under way, is borne with;
    /// at most for an hour.
    fn borne(every_ms: u64) -> Option<Duration> {
        let mut patience = Patience::new(STALL, LEAST);
        patience.sent(4_000);
        let mut waited = Duration::ZERO;
        while waited < Duration::from_secs(3_600) {
            let pause = Duration::from_millis(every_ms);
            if patience.left() <= pause {
                return Some(waited + patience.left());
            }
            patience.waited(pause);
            waited += pause;
            patience.acknowledged(100);
            patience.sent(100);
        }
        None
    }

    #[test]
    fn receiver_that_stands_still_is_given_up() {
        assert_eq!(borne(u64::MAX / 2), Some(STALL + Duration::from_secs(4)));
    }

    #[test]
    fn receiver_that_trickles_is_given_up_and_one_at_the_least_rate_is_not() {
        // 50 bytes a second, and 1,000.
        let trickled = borne(2_000).expect("it is given up");
        assert!(trickled < Duration::from_secs(40), "{trickled:?}");
        assert_eq!(borne(100), None);
        assert_eq!(borne(10), None);
    }

    #[test]
    fn fast_receiver_saves_nothing_up() {
        let mut patience = Patience::new(STALL, LEAST);
        for _ in 0..1_000 {
            patience.sent(1_000_000);
            patience.acknowledged(1_000_000);
        }
        assert_eq!(patience.left(), STALL);
    }

    #[test]
    fn large_value_is_waited_for_according_to_its_size() {
        let mut patience = Patience::new(STALL, LEAST);
        patience.sent(60_000);
        patience.waited(Duration::from_secs(89));
        assert!(!patience.left().is_zero());
        patience.waited(Duration::from_secs(2));
        assert!(patience.left().is_zero());
    }
}
