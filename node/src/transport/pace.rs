//! How fast a node sends what moves replicas: all its snapshots together.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flin_groups::board::Board;
use tokio::time::Instant;

/// A sender that has to wait looks again this often: the rate may have changed meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Lets bytes pass at the rate that the meta state allows at that moment.
pub(super) struct Pace {
    board: Arc<Board>,
    bucket: Mutex<Bucket>,
}

impl Pace {
    pub(super) fn new(board: Arc<Board>) -> Self {
        let bucket = Bucket { debt_bytes: 0, settled: Instant::now() };
        Pace { board, bucket: Mutex::new(bucket) }
    }

    /// Returns once `bytes` may leave.
    pub(super) async fn pass(&self, bytes: u64) {
        loop {
            let rate = self.bytes_per_second();
            let wait = self.bucket.lock().expect(POISON).take(Instant::now(), rate, bytes);
            match wait {
                None => return,
                Some(wait) => tokio::time::sleep(wait.min(LOOK_INTERVAL)).await,
            }
        }
    }

    /// 0: as fast as it goes.
    fn bytes_per_second(&self) -> u64 {
        let view = self.board.view();
        view.cluster.as_ref().map_or(0, |state| state.rebalance.bytes_per_second)
    }
}

/// A token bucket turned over: whoever finds no debt may pass at once with whatever it carries, and leaves a debt
/// of as many bytes, which time pays off. So a frame of any size passes at any rate, and saving up is not
/// possible.
struct Bucket {
    debt_bytes: u64,
    /// Until when what time pays is accounted for.
    settled: Instant,
}

impl Bucket {
    /// `None` if `bytes` may pass now, otherwise for how long not yet.
    fn take(&mut self, now: Instant, bytes_per_second: u64, bytes: u64) -> Option<Duration> {
        if bytes_per_second == 0 {
            (self.debt_bytes, self.settled) = (0, now);
            return None;
        }
        let elapsed_us = now.saturating_duration_since(self.settled).as_micros();
        let paid = elapsed_us.saturating_mul(u128::from(bytes_per_second)) / MICROS;
        let paid = u64::try_from(paid).unwrap_or(u64::MAX);
        // Time that has not paid a whole byte yet stays unaccounted for.
        if paid > 0 {
            self.debt_bytes = self.debt_bytes.saturating_sub(paid);
            self.settled = now;
        }
        if self.debt_bytes > 0 {
            let wait_us = u128::from(self.debt_bytes) * MICROS / u128::from(bytes_per_second) + 1;
            return Some(Duration::from_micros(u64::try_from(wait_us).unwrap_or(u64::MAX)));
        }
        (self.debt_bytes, self.settled) = (bytes, now);
        None
    }
}

const MICROS: u128 = 1_000_000;
const POISON: &str = "no thread panics while it holds the bucket";

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `frames` of 100 bytes pass within `ms` at `rate`, asking every millisecond.
    fn passed(bucket: &mut Bucket, begin: Instant, ms: u64, rate: u64) -> u64 {
        let asks = (0..ms).map(|at| begin + Duration::from_millis(at));
        asks.map(|now| u64::from(bucket.take(now, rate, 100).is_none())).sum()
    }

    #[test]
    fn bytes_pass_at_the_rate_and_not_faster_after_a_rest() {
        let begin = Instant::now();
        let mut bucket = Bucket { debt_bytes: 0, settled: begin };
        assert_eq!(passed(&mut bucket, begin, 1_000, 10_000), 100);
        let later = begin + Duration::from_secs(60);
        assert_eq!(passed(&mut bucket, later, 1_000, 10_000), 100);
    }

    #[test]
    fn frame_beyond_what_a_second_allows_passes_and_is_paid_for() {
        let begin = Instant::now();
        let mut bucket = Bucket { debt_bytes: 0, settled: begin };
        assert_eq!(bucket.take(begin, 1_000, 5_000), None);
        let wait = bucket.take(begin, 1_000, 1).expect("there is a debt");
        assert_eq!(wait.as_secs(), 5);
        assert!(bucket.take(begin + Duration::from_millis(4_999), 1_000, 1).is_some());
        assert_eq!(bucket.take(begin + Duration::from_millis(5_001), 1_000, 1), None);
    }

    #[test]
    fn frequent_looks_do_not_lose_the_time_between_them() {
        let begin = Instant::now();
        let mut bucket = Bucket { debt_bytes: 10, settled: begin };
        // A byte takes 100 ms: looks every 30 ms must add up all the same.
        let looks = (1..).map(|n| begin + Duration::from_millis(30 * n));
        let first = looks.take(100).position(|now| bucket.take(now, 10, 1).is_none());
        assert!(first.is_some_and(|looks| (33..=42).contains(&looks)), "{first:?}");
    }

    #[test]
    fn lifted_limit_forgives_the_debt() {
        let begin = Instant::now();
        let mut bucket = Bucket { debt_bytes: 1 << 40, settled: begin };
        assert!(bucket.take(begin, 1, 1).is_some());
        assert_eq!(bucket.take(begin, 0, 1), None);
        assert_eq!(bucket.take(begin, 1, 1), None);
    }
}
