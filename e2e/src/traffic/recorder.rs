//! The clock of a history and the lines it is printed in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flin_check::Record;
use tokio::time::Instant;

use super::note::{self, Note};

/// How often a run says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// Microseconds since the epoch that all pods of one history were given. All pods share one machine, hence
/// one clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    offset_us: u64,
}

impl Clock {
    /// A clock that counts from `epoch_us`, microseconds since 1970.
    pub(crate) fn since(epoch_us: u64) -> Self {
        Self { started: Instant::now(), offset_us: unix_us().saturating_sub(epoch_us) }
    }

    /// The present moment.
    pub(crate) fn now_us(&self) -> u64 {
        self.offset_us + u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Microseconds since 1970.
pub(crate) fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Says how many operations are done while `work` runs.
pub(crate) async fn with_progress<T>(done: &AtomicU64, work: impl Future<Output = T>) -> T {
    let report = async {
        loop {
            tokio::time::sleep(PROGRESS_EVERY).await;
            note::print(&Note::Progress { done: done.load(Ordering::Relaxed) });
        }
    };
    tokio::select! {
        result = work => result,
        () = report => unreachable!("the report has no end"),
    }
}

/// Prints the records, which makes them part of the history.
pub(crate) fn print_records(records: &[Record]) {
    for record in records {
        note::print_line(&record.to_line());
    }
}
