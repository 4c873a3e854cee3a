//! Pages of pairs in the order of keys, over all partitions.
//!
//! Keys lie in partitions by hash, so a page needs the first pairs of every one of them. They are asked a
//! few at a time, and only the smallest pairs so far are kept: whatever lies beyond the last of them (the
//! *horizon*) need not be asked for any more. Memory is bounded by what is kept and what the few partitions
//! under way can answer, and the later partitions are hardly read beyond what is returned.

use std::collections::BTreeMap;

use bytes::Bytes;
use flin_groups::requests::Requests;
use flin_proto::keys::scan_response::Pair;
use flin_proto::keys::{ScanRequest, ScanResponse};
use flin_state::ids::PartitionId;
use flin_state::operation::{PairPage, Read, Reply};
use futures::{StreamExt, TryStreamExt};
use tonic::Status;

use super::convert;

/// Pairs of a page when nobody says.
const LIMIT_DEFAULT: u32 = 1_000;
/// The most pairs of a page.
const LIMIT_MAX: u32 = 10_000;
/// A page ends once its keys and values exceed this; it holds at least one pair. A client's default limit
/// for a message is 4 MiB.
const PAGE_BYTES_MAX: usize = 3 << 20;
/// Partitions asked at a time.
const PARTITIONS_AT_ONCE: usize = 4;

/// What to scan.
#[derive(Debug)]
pub(super) struct Range {
    from: Bytes,
    to: Option<Bytes>,
    limit: u32,
}

impl Range {
    pub(super) fn of(request: ScanRequest) -> Result<Self, Status> {
        let ScanRequest { from, to, limit } = request;
        if limit > LIMIT_MAX {
            return Err(Status::invalid_argument(format!("limit is {limit}, at most {LIMIT_MAX}")));
        }
        let limit = if limit == 0 { LIMIT_DEFAULT } else { limit };
        let range = Range { from, to: Some(to).filter(|to| !to.is_empty()), limit };
        range.read(range.to.clone()).check().map_err(convert::refusal)?;
        Ok(range)
    }

    fn read(&self, to: Option<Bytes>) -> Read {
        Read::ScanRange { from: self.from.clone(), to, limit: self.limit }
    }
}

/// The first page of `range`.
pub(super) async fn page<R: Requests>(
    requests: &R,
    partitions: u16,
    range: Range,
) -> Result<ScanResponse, Status> {
    let mut page = Page::new(range.limit as usize);
    if range.to.as_ref().is_some_and(|to| *to <= range.from) {
        return Ok(page.into_response());
    }
    let all: Vec<PartitionId> = (0..partitions).map(PartitionId).collect();
    for few in all.chunks(PARTITIONS_AT_ONCE) {
        let to = page.horizon.clone().or_else(|| range.to.clone());
        let read = range.read(to);
        let mut answers = futures::stream::iter(few.to_vec())
            .map(|partition| requests.read(partition, vec![read.clone()]))
            .buffer_unordered(PARTITIONS_AT_ONCE);
        while let Some(replies) = answers.try_next().await.map_err(convert::failure)? {
            match convert::only(replies)? {
                Reply::Pairs(found) => page.merge(found),
                reply => return Err(convert::unexpected(&reply)),
            }
        }
    }
    Ok(page.into_response())
}

/// The smallest pairs found so far: every pair of the range below the horizon is in it, as far as the
/// partitions merged go.
struct Page {
    limit: usize,
    pairs: BTreeMap<Bytes, Bytes>,
    bytes: usize,
    /// The first key that may be missing.
    horizon: Option<Bytes>,
}

impl Page {
    fn new(limit: usize) -> Self {
        Page { limit, pairs: BTreeMap::new(), bytes: 0, horizon: None }
    }

    fn merge(&mut self, found: PairPage) {
        if let Some(next) = found.next {
            self.lower(next);
        }
        for (key, value) in found.pairs {
            if self.horizon.as_ref().is_some_and(|horizon| key >= *horizon) {
                break;
            }
            self.bytes += key.len() + value.len();
            self.pairs.insert(key, value);
            while self.pairs.len() > self.limit
                || (self.bytes > PAGE_BYTES_MAX && self.pairs.len() > 1)
            {
                let last = self.pairs.last_key_value().map(|(key, _)| key.clone());
                self.lower(last.expect("more than one pair is there"));
            }
        }
    }

    /// Brings the horizon down to `key` unless it is lower, and drops what is beyond it.
    fn lower(&mut self, key: Bytes) {
        if self.horizon.as_ref().is_some_and(|horizon| *horizon <= key) {
            return;
        }
        for (key, value) in self.pairs.split_off(&key) {
            self.bytes -= key.len() + value.len();
        }
        self.horizon = Some(key);
    }

    fn into_response(self) -> ScanResponse {
        let pairs = self.pairs.into_iter().map(|(key, value)| Pair { key, value });
        ScanResponse { pairs: pairs.collect(), next: self.horizon }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(keys: &[&'static str], next: Option<&'static str>) -> PairPage {
        let pairs = keys.iter().map(|key| (Bytes::from(*key), Bytes::from_static(b"v"))).collect();
        PairPage { pairs, next: next.map(Bytes::from) }
    }

    fn keys(response: &ScanResponse) -> Vec<&str> {
        response.pairs.iter().map(|pair| std::str::from_utf8(&pair.key).unwrap()).collect()
    }

    #[test]
    fn nothing_beyond_what_any_partition_has_told_is_returned() {
        let mut page = Page::new(10);
        page.merge(found(&["a", "d", "g"], Some("h")));
        page.merge(found(&["b", "c"], Some("e")));
        page.merge(found(&["f", "z"], None));
        let response = page.into_response();
        assert_eq!(keys(&response), ["a", "b", "c", "d"]);
        assert_eq!(response.next.as_deref(), Some(&b"e"[..]));
    }

    #[test]
    fn limit_keeps_the_smallest_keys_and_says_where_to_go_on() {
        let mut page = Page::new(3);
        page.merge(found(&["b", "d", "f"], None));
        page.merge(found(&["a", "c", "e"], None));
        let response = page.into_response();
        assert_eq!(keys(&response), ["a", "b", "c"]);
        assert_eq!(response.next.as_deref(), Some(&b"d"[..]));
    }

    #[test]
    fn page_is_bounded_in_bytes_and_never_empty() {
        let large = Bytes::from(vec![0; PAGE_BYTES_MAX]);
        let pairs = |keys: &[&'static str]| PairPage {
            pairs: keys.iter().map(|key| (Bytes::from(*key), large.clone())).collect(),
            next: None,
        };
        let mut page = Page::new(10);
        page.merge(pairs(&["b", "c"]));
        page.merge(pairs(&["a"]));
        assert_eq!(page.bytes, PAGE_BYTES_MAX + 1);
        let response = page.into_response();
        assert_eq!(keys(&response), ["a"]);
        assert_eq!(response.next.as_deref(), Some(&b"b"[..]));
    }

    #[test]
    fn last_page_says_that_it_is_the_last() {
        let mut page = Page::new(3);
        page.merge(found(&["b"], None));
        page.merge(found(&["a", "c"], None));
        assert_eq!(page.into_response().next, None);
    }
}
