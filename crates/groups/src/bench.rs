//! The way from the worker to the applier: work is put on a bench between them.

use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use flin_state::ids::GroupId;
use flin_state::keys::GroupState;
use flin_state::log::Entry;

use crate::applier::{Applier, Work};
use crate::worker::Fatal;

/// Where the worker puts its work, in order.
pub(crate) trait Bench: Send {
    /// Puts work on the bench, and waits while that is full.
    fn put(&self, work: Work) -> Result<(), Fatal>;

    /// Puts work on the bench unless that is full: an applier that is behind has more urgent things to do.
    fn offer(&self, work: Work);

    /// Has everything done that was put, if the applier has no thread of its own.
    fn settle(&self) -> Result<(), Fatal>;
}

/// Replaces the group's state by its stage; returns what it then is.
pub(crate) fn install(bench: &dyn Bench, group: GroupId) -> Result<GroupState, Fatal> {
    let (done, installed) = sync_channel(1);
    bench.put(Work::Install { group, done })?;
    bench.settle()?;
    installed.recv().map_err(|_| Fatal::ApplierGone)
}

/// Deletes what a group holds that is hosted no longer.
pub(crate) fn drop_group(bench: &dyn Bench, group: GroupId) -> Result<(), Fatal> {
    let (done, dropped) = sync_channel(1);
    bench.put(Work::Drop { group, done })?;
    bench.settle()?;
    dropped.recv().map_err(|_| Fatal::ApplierGone)
}

/// To an applier on another thread, which never waits for the worker: so waiting for it cannot lock both.
impl Bench for SyncSender<Work> {
    fn put(&self, work: Work) -> Result<(), Fatal> {
        self.send(work).map_err(|_| Fatal::ApplierGone)
    }

    fn offer(&self, work: Work) {
        let _ = self.try_send(work);
    }

    fn settle(&self) -> Result<(), Fatal> {
        Ok(())
    }
}

/// To an applier on the same thread, which works when it is told to. Clones are the same bench.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Inner>>);

struct Inner {
    applier: Applier,
    waiting: VecDeque<Work>,
    committed: Vec<(GroupId, Entry)>,
}

impl Shared {
    pub(crate) fn new(applier: Applier) -> Self {
        Shared(Arc::new(Mutex::new(Inner {
            applier,
            waiting: VecDeque::new(),
            committed: Vec::new(),
        })))
    }

    /// Has up to `items` of the waiting work done.
    pub(crate) fn work(&self, items: usize) -> Result<(), Fatal> {
        let mut inner = self.0.lock().expect(POISON);
        let items = items.min(inner.waiting.len());
        let Inner { applier, waiting, .. } = &mut *inner;
        applier.work(waiting.drain(..items))
    }

    /// The entries that came to be applied since this was asked last.
    pub(crate) fn take_committed(&self) -> Vec<(GroupId, Entry)> {
        std::mem::take(&mut self.0.lock().expect(POISON).committed)
    }

    /// How much work waits.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().expect(POISON).waiting.len()
    }
}

impl Bench for Shared {
    fn put(&self, work: Work) -> Result<(), Fatal> {
        let mut inner = self.0.lock().expect(POISON);
        if let Work::Commit { group, entries, .. } = &work {
            inner.committed.extend(entries.iter().map(|entry| (*group, entry.clone())));
        }
        inner.waiting.push_back(work);
        Ok(())
    }

    fn offer(&self, work: Work) {
        self.0.lock().expect(POISON).waiting.push_back(work);
    }

    fn settle(&self) -> Result<(), Fatal> {
        self.work(usize::MAX)
    }
}

const POISON: &str = "nobody works on after a panic of the applier";
