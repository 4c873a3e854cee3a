//! Time as a parameter: the product asks the system, a simulation its scheduler.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use flin_state::ids::Timestamp;

/// A wait, for whoever cannot name its type.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

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

    /// Ends once `duration` has passed by the monotonic clock.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// What `work` comes to, unless that takes longer than `limit`.
pub async fn within<T>(
    clock: &dyn Clock,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = clock.sleep(limit) => None,
    }
}
