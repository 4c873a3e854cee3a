//! How long to wait after a failure: each cluster has its own count, so that one that always fails does
//! not slow the others.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// How often each cluster, by namespace and name, failed in a row.
#[derive(Debug, Default)]
pub struct Failures {
    counts: Mutex<HashMap<(String, String), u32>>,
}

impl Failures {
    /// Counts a failure and says how long to wait.
    pub fn count(&self, cluster: (String, String)) -> Duration {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(cluster).or_default();
        let delay = FIRST.saturating_mul(2_u32.saturating_pow(*count)).min(LONGEST);
        *count = count.saturating_add(1);
        delay
    }

    /// Forgets the failures of a cluster.
    pub fn forget(&self, cluster: &(String, String)) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_success() {
        let (failures, demo) = (Failures::default(), ("flin".to_owned(), "demo".to_owned()));
        let waits: Vec<_> = (0..9).map(|_| failures.count(demo.clone()).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
        failures.forget(&demo);
        assert_eq!(failures.count(demo), FIRST);
    }
}
