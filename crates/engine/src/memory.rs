//! An engine in memory that forgets what was not flushed, for tests and simulation.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use flin_state::engine::{Edit, Engine, EngineError, Reader, Result, Stage, Visit, WriteBatch};

/// Batches written and not flushed, beyond which a write flushes by itself, as a real engine does when
/// its write buffer is full.
const UNFLUSHED_BATCHES_MAX: usize = 4_096;

type Pairs = BTreeMap<Bytes, Bytes>;

/// An [`Engine`] in memory. Clones share the same content, so that one can outlive a crashed node.
#[derive(Clone, Debug, Default)]
pub struct MemoryEngine(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    pairs: Arc<Pairs>,
    /// What a crash would leave, but for `unflushed`.
    flushed: Pairs,
    unflushed: Vec<WriteBatch>,
    stages: BTreeMap<String, StagedPairs>,
    failing: bool,
}

#[derive(Debug, Default)]
struct StagedPairs {
    pairs: Vec<(Bytes, Bytes)>,
    finished: bool,
}

struct MemoryStage {
    engine: MemoryEngine,
    name: String,
    pairs: Vec<(Bytes, Bytes)>,
}

struct Snapshot(Arc<Pairs>);

impl MemoryEngine {
    /// An empty engine.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses what was not flushed, except the first `batches` of it, and every stage that is not
    /// finished. The engine can be used again at once, as after a restart.
    pub fn crash(&self, batches: usize) {
        let mut state = self.state();
        state.flush_first(batches);
        state.unflushed.clear();
        state.pairs = Arc::new(state.flushed.clone());
        state.stages.retain(|_, stage| stage.finished);
        state.failing = false;
    }

    /// How many batches a crash could lose.
    pub fn unflushed_batches(&self) -> usize {
        self.state().unflushed.len()
    }

    /// While `failing`, writes, flushes and installs answer errors and change nothing.
    pub fn set_failing(&self, failing: bool) {
        self.state().failing = failing;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no operation of the memory engine panics half way")
    }

    fn pairs(&self) -> Arc<Pairs> {
        self.state().pairs.clone()
    }
}

impl State {
    fn check(&self, act: &str) -> Result<()> {
        if self.failing {
            return Err(EngineError::new(act, io::Error::other("failpoint: engine")));
        }
        Ok(())
    }

    fn flush_first(&mut self, batches: usize) {
        let count = batches.min(self.unflushed.len());
        for batch in self.unflushed.drain(..count) {
            batch.edits.iter().for_each(|edit| apply(&mut self.flushed, edit));
        }
    }
}

fn apply(pairs: &mut Pairs, edit: &Edit) {
    match edit {
        Edit::Put { key, value } => {
            pairs.insert(key.clone(), value.clone());
        }
        Edit::Delete { key } => {
            pairs.remove(key);
        }
        Edit::DeleteRange { from, to } => {
            let keys: Vec<Bytes> = range(pairs, from, to).map(|(key, _)| key.clone()).collect();
            for key in keys {
                pairs.remove(&key);
            }
        }
    }
}

/// The pairs with `from <= key < to`; none if the range is empty or upside down.
fn range<'a>(
    pairs: &'a Pairs,
    from: &[u8],
    to: &[u8],
) -> impl Iterator<Item = (&'a Bytes, &'a Bytes)> {
    // A map panics over a range that is upside down.
    let to = to.max(from);
    pairs.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
}

impl Reader for Snapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<()> {
        for (key, value) in range(&self.0, from, to) {
            if let ControlFlow::Break(()) = visit(key, value) {
                break;
            }
        }
        Ok(())
    }
}

impl Reader for MemoryEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Snapshot(self.pairs()).get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<()> {
        Snapshot(self.pairs()).scan(from, to, visit)
    }
}

impl Engine for MemoryEngine {
    fn write(&self, batch: WriteBatch) -> Result<()> {
        let mut state = self.state();
        state.check("write a batch")?;
        let pairs = Arc::make_mut(&mut state.pairs);
        batch.edits.iter().for_each(|edit| apply(pairs, edit));
        state.unflushed.push(batch);
        if state.unflushed.len() > UNFLUSHED_BATCHES_MAX {
            state.flush_first(UNFLUSHED_BATCHES_MAX / 2);
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        let mut state = self.state();
        state.check("flush")?;
        state.flush_first(usize::MAX);
        Ok(())
    }

    fn get_persisted(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.state().flushed.get(key).cloned())
    }

    fn with_snapshot(&self, read: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        read(&Snapshot(self.pairs()))
    }

    fn stage(&self, name: &str) -> Result<Box<dyn Stage + Send>> {
        let mut state = self.state();
        state.check("begin a stage")?;
        state.stages.insert(name.to_owned(), StagedPairs::default());
        Ok(Box::new(MemoryStage { engine: self.clone(), name: name.to_owned(), pairs: Vec::new() }))
    }

    fn install(&self, name: &str, from: &[u8], to: &[u8]) -> Result<()> {
        let mut state = self.state();
        let act = format!("install the stage {name}");
        state.check(&act)?;
        if !state.stages.get(name).is_some_and(|stage| stage.finished) {
            return Err(EngineError::new(act, "it is not finished"));
        }
        let staged = state.stages.remove(name).expect("it was just found");
        let range = Edit::DeleteRange {
            from: Bytes::copy_from_slice(from),
            to: Bytes::copy_from_slice(to),
        };
        let puts = staged.pairs.into_iter().map(|(key, value)| Edit::Put { key, value });
        let batch = WriteBatch { edits: std::iter::once(range).chain(puts).collect() };
        let pairs = Arc::make_mut(&mut state.pairs);
        batch.edits.iter().for_each(|edit| apply(pairs, edit));
        state.unflushed.push(batch);
        state.flush_first(usize::MAX);
        Ok(())
    }

    fn discard_stage(&self, name: &str) -> Result<()> {
        self.state().stages.remove(name);
        Ok(())
    }
}

impl Stage for MemoryStage {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.pairs.last().is_some_and(|(last, _)| last[..] >= *key) {
            return Err(EngineError::new(
                format!("stage a pair in {}", self.name),
                "its key is not above the one before",
            ));
        }
        self.pairs.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let mut state = self.engine.state();
        let act = format!("finish the stage {}", self.name);
        state.check(&act)?;
        let Some(stage) = state.stages.get_mut(&self.name) else {
            return Err(EngineError::new(act, "it was discarded"));
        };
        *stage = StagedPairs { pairs: self.pairs, finished: true };
        Ok(())
    }
}
