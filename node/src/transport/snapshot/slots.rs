//! Who may send a snapshot: a few at a time, and fewer to the same node.
//!
//! Whoever waits for a node that is slow waits in the line of that node, and holds no slot that another could
//! use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use flin_state::ids::NodeId;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::Limits;

pub(super) struct Slots {
    all: Arc<Semaphore>,
    per_node_max: usize,
    nodes: Mutex<BTreeMap<NodeId, Arc<Semaphore>>>,
}

/// The right to send, until it is dropped.
pub(super) struct Slot {
    /// Whether it had to be waited for.
    pub(super) waited: bool,
    _permits: [OwnedSemaphorePermit; 2],
}

impl Slots {
    pub(super) fn new(limits: &Limits) -> Self {
        Slots {
            all: Arc::new(Semaphore::new(limits.sending_max)),
            per_node_max: limits.sending_per_node_max,
            nodes: Mutex::default(),
        }
    }

    /// The right to send to `node`, in the order of asking among those for the same node.
    pub(super) async fn take(&self, node: NodeId) -> Result<Slot, AcquireError> {
        let line = self.line(node);
        let (first, waited_in_line) = acquire(line).await?;
        let (second, waited) = acquire(self.all.clone()).await?;
        Ok(Slot { waited: waited || waited_in_line, _permits: [first, second] })
    }

    /// The line of `node`. Lines that nobody holds or stands in are forgotten.
    fn line(&self, node: NodeId) -> Arc<Semaphore> {
        let mut nodes = self.nodes.lock().expect(POISON);
        nodes.retain(|_, line| Arc::strong_count(line) > 1);
        let new = || Arc::new(Semaphore::new(self.per_node_max));
        nodes.entry(node).or_insert_with(new).clone()
    }
}

async fn acquire(from: Arc<Semaphore>) -> Result<(OwnedSemaphorePermit, bool), AcquireError> {
    match from.clone().try_acquire_owned() {
        Ok(permit) => Ok((permit, false)),
        Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
            Ok((from.acquire_owned().await?, true))
        }
    }
}

const POISON: &str = "no thread panics while it holds the lines";

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn slots(sending_max: usize, sending_per_node_max: usize) -> Slots {
        Slots::new(&Limits { sending_max, sending_per_node_max, ..Limits::default() })
    }

    /// The slot, if it can be had at once.
    fn at_once(slots: &Slots, node: u64) -> Option<Slot> {
        slots.take(NodeId(node)).now_or_never().map(|slot| slot.expect("the slots are open"))
    }

    #[tokio::test]
    async fn node_that_keeps_its_slots_leaves_some_for_others() {
        let slots = slots(3, 2);
        let slow = [at_once(&slots, 1), at_once(&slots, 1)];
        assert!(slow.iter().all(Option::is_some));
        // Whoever waits for it stands in nobody's way.
        let mut third = Box::pin(slots.take(NodeId(1)));
        assert!((&mut third).now_or_never().is_none());
        for _ in 0..3 {
            assert!(at_once(&slots, 2).is_some_and(|slot| !slot.waited));
        }
        drop(slow);
        assert!(third.await.expect("it is its turn").waited);
    }

    #[tokio::test]
    async fn all_together_send_no_more_than_they_may() {
        let slots = slots(2, 2);
        let held = [at_once(&slots, 1), at_once(&slots, 2)];
        assert!(held.iter().all(Option::is_some));
        assert!(at_once(&slots, 3).is_none());
        drop(held);
        assert!(at_once(&slots, 3).is_some());
    }

    #[tokio::test]
    async fn nodes_that_get_nothing_are_forgotten() {
        let slots = slots(2, 2);
        for node in 1..100 {
            drop(at_once(&slots, node));
        }
        assert_eq!(slots.nodes.lock().expect(POISON).len(), 1);
    }
}
