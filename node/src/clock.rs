//! Time as a parameter: the product asks the system, a simulation its scheduler.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use flin_state::ids::Timestamp;

/// Where a node takes the time from.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock. It may jump; it stamps commands and nothing else depends on it.
    fn now(&self) -> Timestamp;

    /// Milliseconds since an arbitrary moment, never going back.
    fn monotonic_ms(&self) -> u64 {
        self.monotonic_us() / 1_000
    }

    /// The same in microseconds, to measure with.
    fn monotonic_us(&self) -> u64;
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    pub fn start() -> Self {
        SystemClock { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
