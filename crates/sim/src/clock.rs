//! The clocks of a machine: wrong by as much as somebody made them.

use std::sync::Mutex;
use std::time::Duration;

use flin_groups::clock::{Clock, Sleep};
use flin_state::ids::Timestamp;

use crate::kernel::Time;

/// The wall clock at the beginning, in milliseconds since the Unix epoch.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// The clocks of one machine.
pub struct MachineClock {
    time: Time,
    error: Mutex<Error>,
}

/// How wrong the clocks are.
#[derive(Clone, Copy, Debug, Default)]
struct Error {
    /// Of the wall clock only.
    wall_us: i64,
    /// What the monotonic clock missed while the machine was suspended.
    missed_us: u64,
    /// How fast both run, in millionths too fast.
    drift_ppm: i64,
    /// Since when they drift.
    drift_since_us: u64,
    /// What they drifted before.
    drifted_us: i64,
}

impl MachineClock {
    /// Right clocks.
    pub fn new(time: Time) -> Self {
        MachineClock { time, error: Mutex::default() }
    }

    /// Has the wall clock jump to where it is wrong by this much.
    pub fn jump(&self, error_us: i64) {
        let now_us = self.time.now_us();
        let mut error = self.error.lock().expect(POISON);
        error.wall_us = error_us - error.drifted_at(now_us);
    }

    /// Makes both clocks run too fast or too slow from now on.
    pub fn drift(&self, ppm: i64) {
        let now_us = self.time.now_us();
        let mut error = self.error.lock().expect(POISON);
        error.drifted_us = error.drifted_at(now_us);
        (error.drift_ppm, error.drift_since_us) = (ppm, now_us);
    }

    /// The machine slept: the monotonic clock did not notice.
    pub fn miss(&self, us: u64) {
        self.error.lock().expect(POISON).missed_us += us;
    }

    /// Sets the wall clock right, as a time service does, and the drift to nothing.
    pub fn mend(&self) {
        self.drift(0);
        self.jump(0);
    }
}

impl Error {
    fn drifted_at(&self, now_us: u64) -> i64 {
        let since_us = i64::try_from(now_us - self.drift_since_us).expect("a run is short");
        self.drifted_us + since_us * self.drift_ppm / 1_000_000
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        let error = *self.error.lock().expect(POISON);
        let now_us = self.time.now_us();
        let us = (EPOCH_MS * 1_000 + now_us).saturating_add_signed(error.drifted_at(now_us));
        Timestamp(us.saturating_add_signed(error.wall_us) / 1_000)
    }

    fn monotonic_us(&self) -> u64 {
        let error = *self.error.lock().expect(POISON);
        let now_us = self.time.now_us();
        // Processes begin some time after their machine, so that nothing is ever at the clock's zero.
        let us = (1_000_000_000 + now_us).saturating_add_signed(error.drifted_at(now_us));
        us.saturating_sub(error.missed_us)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let for_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2);
        Box::pin(self.time.sleep(for_us))
    }
}

const POISON: &str = "one thread alone looks at the clocks";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_clock_jumps_and_monotonic_clock_never_goes_back() {
        let time = Time::default();
        let clock = MachineClock::new(time.clone());
        let (wall, monotonic) = (clock.now(), clock.monotonic_us());
        clock.jump(-5_000_000);
        assert_eq!(clock.now().0, wall.0 - 5_000);
        assert_eq!(clock.monotonic_us(), monotonic);
        time.advance(1_000_000);
        clock.drift(100_000);
        time.advance(2_000_000);
        assert_eq!(clock.monotonic_us(), monotonic + 2_100_000);
        clock.mend();
        assert_eq!(clock.now().0, wall.0 + 2_000);
    }
}
