//! How fast replicas were moved in the last minute, and how long the rest will take at that pace.

use std::collections::VecDeque;

use flin_state::cluster::{ClusterState, Moved};

/// What the estimate looks back at.
const WINDOW_MS: u64 = 60_000;
/// The least time between two samples.
const SAMPLE_MS: u64 = 500;

/// Samples of what was moved, at most one per [`SAMPLE_MS`] of the last minute.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at_ms: u64,
    moved: Moved,
    /// Whether moves were under way.
    busy: bool,
}

impl Pace {
    /// Remembers how much was moved by `now_ms`.
    pub(crate) fn sample(&mut self, state: &ClusterState, now_ms: u64) {
        if self.samples.back().is_none_or(|last| last.at_ms + SAMPLE_MS <= now_ms) {
            let busy = !state.jobs.is_empty();
            self.samples.push_back(Sample { at_ms: now_ms, moved: state.moved, busy });
        }
        while self.samples.front().is_some_and(|first| first.at_ms + WINDOW_MS < now_ms) {
            self.samples.pop_front();
        }
        // Of a rest before the first move only the end counts, or the first moves would seem slow.
        while self.samples.len() > 1 && !self.samples[0].busy && !self.samples[1].busy {
            self.samples.pop_front();
        }
    }

    /// In how many seconds `replicas_left` with `bytes_left` are moved, the later of what replicas and bytes
    /// say; `None` when nothing was moved in the last minute.
    pub(crate) fn seconds_left(
        &self,
        moved: Moved,
        replicas_left: u32,
        bytes_left: u64,
        now_ms: u64,
    ) -> Option<u64> {
        let first = self.samples.front()?;
        let elapsed_ms = now_ms.saturating_sub(first.at_ms);
        let at_pace = |left: u64, done: u64| {
            let left_ms = u128::from(left) * u128::from(elapsed_ms);
            let seconds = left_ms.checked_div(u128::from(done) * 1_000)?;
            Some(u64::try_from(seconds).unwrap_or(u64::MAX))
        };
        let by_bytes = at_pace(bytes_left, moved.bytes.saturating_sub(first.moved.bytes));
        let replicas = moved.replicas.saturating_sub(first.moved.replicas);
        by_bytes.max(at_pace(replicas_left.into(), replicas))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use flin_state::cluster::Job;
    use flin_state::ids::GroupId;

    use super::*;
    use crate::rebalance::decide::tests::cluster;

    /// Samples once a second from 0: so many bytes moved, one replica for each 100, while busy or not.
    fn pace(seconds: &[(u64, bool)]) -> Pace {
        let mut pace = Pace::default();
        for (second, (bytes, busy)) in (0..).zip(seconds) {
            let job = Job { id: 1, add: None, remove: None, undo: false };
            let jobs = BTreeMap::from_iter(busy.then_some((GroupId(1), job)));
            let state = ClusterState { jobs, moved: moved(*bytes), ..cluster(4) };
            pace.sample(&state, second * 1_000);
        }
        pace
    }

    fn moved(bytes: u64) -> Moved {
        Moved { replicas: bytes / 100, bytes }
    }

    #[test]
    fn the_rest_takes_as_long_as_the_last_minute_says() {
        let check = |what, samples: &[(u64, bool)], replicas_left, expected: Option<u64>| {
            let now_ms = 1_000 * (samples.len() as u64).saturating_sub(1);
            let now = moved(samples.last().map_or(0, |(bytes, _)| *bytes));
            let left = pace(samples).seconds_left(now, replicas_left, 1_000, now_ms);
            assert_eq!(left, expected, "{what}");
        };
        check("nothing known", &[], 10, None);
        check("nothing moved", &[(0, true), (0, true)], 10, None);
        check("100 bytes a second", &[(0, true), (100, true), (200, true)], 10, Some(10));
        check("replicas are slower than bytes", &[(0, true), (100, true)], 25, Some(25));
        let rested = [(0, false), (0, false), (0, false), (100, true)];
        check("a rest before the first move", &rested, 10, Some(10));
    }

    #[test]
    fn what_was_moved_more_than_a_minute_ago_does_not_count() {
        let mut samples = vec![(0, true), (5_000, true)];
        samples.resize(100, (5_000, true));
        let pace = pace(&samples);
        assert_eq!(pace.samples.len(), 61);
        assert_eq!(pace.seconds_left(moved(5_000), 10, 1_000, 99_000), None);
    }
}
