//! SCAN: a walk over the keys of all partitions in the order of their hashes.
//!
//! A cursor is a decimal u64: the partition above, the hash position inside it in the lower 48 bits. It needs
//! no memory on any node, survives concurrent writes and changes of leadership, and a key that is there from
//! the first call to the last is met.

use std::sync::Arc;

use bytes::Bytes;
use flin_groups::requests::{RequestError, Requests, View};
use flin_resp::Value;
use flin_state::ids::PartitionId;
use flin_state::operation::{Read, Refusal, Reply, SCAN_COUNT_MAX};
use futures::future::join_all;

use super::Mode;
use super::errors;

const POSITION_BITS: u32 = 48;

/// How many partitions are asked at once; their number doubles while there are few keys.
const WIDTH_MAX: usize = 8;

/// How many partitions one call visits at most. A call that finds nothing in them answers no keys and a
/// cursor to go on from.
const VISITS_MAX: usize = 64;

/// A call of SCAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) cursor: u64,
    pub(super) count: u32,
    pub(super) pattern: Option<Bytes>,
    /// False if only keys of another type were asked for: there are none.
    pub(super) strings: bool,
}

impl Scan {
    /// Whether it is within the limits.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        self.read(0, self.count).check()
    }

    /// Answers one page and the cursor of the next.
    pub(super) async fn page<R: Requests>(
        &self,
        requests: &R,
        mode: Mode,
        view: &Arc<View>,
        partitions: u16,
    ) -> Value {
        let first = self.cursor >> POSITION_BITS;
        let first = match u16::try_from(first) {
            Ok(first) if first < partitions && self.strings => first,
            _ => return answer(0, Vec::new()),
        };
        // On port 6384 a client walks each node by itself. The partition that a walk has come to is
        // finished even if its leadership has moved since.
        let here = |p: &u16| {
            mode == Mode::Proxy
                || (*p == first && self.cursor > 0)
                || view.leaders.get(usize::from(*p)).copied().flatten() == Some(view.node)
        };
        let mut ahead = (first..partitions).filter(here).peekable();
        let (mut keys, mut width, mut visited) = (Vec::new(), 1, 0);
        while visited < VISITS_MAX {
            let wanted = self.count.saturating_sub(u32::try_from(keys.len()).unwrap_or(u32::MAX));
            let batch: Vec<u16> = ahead.by_ref().take(width).collect();
            if batch.is_empty() {
                return answer(0, keys);
            }
            let pages = join_all(batch.iter().map(|p| {
                let position = if *p == first { self.position() } else { 0 };
                requests.read(PartitionId(*p), vec![self.read(position, wanted)])
            }))
            .await;
            let mut following =
                batch.iter().skip(1).copied().map(Some).chain([ahead.peek().copied()]);
            for (p, page) in batch.iter().zip(pages) {
                let page = match page.map(|mut replies| replies.pop()) {
                    Ok(Some(Reply::Keys(page))) => page,
                    Ok(Some(Reply::Refused(refusal))) => {
                        return Value::error(format!("ERR {refusal}"));
                    }
                    Ok(_) => {
                        return errors::constant("ERR a scan was answered with something else");
                    }
                    Err(error) => return failure(&error, mode, view),
                };
                keys.extend(page.keys);
                let next = following.next().flatten();
                match (page.next, next) {
                    (Some(position), _) => return answer(cursor(*p, position), keys),
                    (None, None) => return answer(0, keys),
                    (None, Some(next)) if keys.len() >= self.count as usize => {
                        return answer(cursor(next, 0), keys);
                    }
                    (None, Some(_)) => {}
                }
            }
            visited += batch.len();
            width = (width * 2).min(WIDTH_MAX);
        }
        match ahead.next() {
            Some(next) => answer(cursor(next, 0), keys),
            None => answer(0, keys),
        }
    }

    fn position(&self) -> u64 {
        self.cursor & ((1 << POSITION_BITS) - 1)
    }

    fn read(&self, position: u64, count: u32) -> Read {
        let count = count.clamp(1, SCAN_COUNT_MAX);
        Read::ScanByHash { position, count, pattern: self.pattern.clone() }
    }
}

fn cursor(partition: u16, position: u64) -> u64 {
    u64::from(partition) << POSITION_BITS | position
}

fn answer(cursor: u64, keys: Vec<Bytes>) -> Value {
    let keys = keys.into_iter().map(Value::Bulk).collect();
    Value::Array(vec![Value::bulk(cursor.to_string()), Value::Array(keys)])
}

fn failure(error: &RequestError, mode: Mode, view: &View) -> Value {
    errors::failure(error, false, None, mode, view)
}
