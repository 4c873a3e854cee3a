//! Applies committed commands to a partition, alike on every replica.
//!
//! A run of entries is applied on an overlay over the engine: later writes see what earlier ones did, and
//! at the end each key that changed is written once, in the same batch as the [`GroupState`]. Nothing
//! depends on where a run begins or ends, on the engine or on the machine: the same entries give the same
//! state and the same replies everywhere. A failure of the engine is no answer; the node stops on it.
//!
//! Time is data: the moment of a command is its stamp, or the moment of the command before it if that is
//! later. A key whose time has come is absent, and what finds it removes it.

mod expiry;
mod overlay;
mod strings;

use crate::command::{Command, Committed, Content};
use crate::engine::{Reader, Result, WriteBatch};
use crate::ids::{GroupId, Timestamp};
use crate::keys::GroupState;
use crate::operation::{COMMAND_BYTES_MAX, Refusal, Reply, Write};

use flin_mutant::{Bug, is};
use overlay::Overlay;
pub(crate) use overlay::unreadable_record;

/// A run that keeps more than this in memory is full: finish it and begin another.
pub const RUN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most keys that one `ExpireDue` removes, whatever it asks for.
pub const EXPIRE_DUE_MAX: u32 = 10_000;

/// Applies all of `entries`, which follow [`GroupState::applied`] without a gap, and adds what makes them
/// durable to `out`. Answers each entry with one reply per write, none for one without a command.
///
/// The memory it takes grows with the entries; [`Apply`] lets the caller stop when a run is full.
///
/// # Errors
/// Those of the engine. `state` and `out` are then of no use, and the node stops.
pub fn apply_partition(
    reader: &dyn Reader,
    group: GroupId,
    state: &mut GroupState,
    entries: impl IntoIterator<Item = Committed<Command>>,
    out: &mut WriteBatch,
) -> Result<Vec<Vec<Reply>>> {
    let mut apply = Apply::begin(reader, group, state);
    let replies = entries.into_iter().map(|entry| apply.entry(entry)).collect();
    apply.finish(out);
    replies
}

/// A run of entries being applied. Nothing is visible before what [`Apply::finish`] adds to a batch is
/// written, and `reader` must not change until then.
pub struct Apply<'a> {
    group: GroupId,
    state: &'a mut GroupState,
    overlay: Overlay<'a>,
    /// Bytes of values that the current command keeps in memory beyond its own.
    kept_bytes: usize,
}

impl<'a> Apply<'a> {
    /// Begins a run on what `reader` holds, of which `state` is the record.
    pub fn begin(reader: &'a dyn Reader, group: GroupId, state: &'a mut GroupState) -> Self {
        let overlay = Overlay::new(reader, group, state.keys);
        Apply { group, state, overlay, kept_bytes: 0 }
    }

    /// Applies one entry, the one after [`GroupState::applied`], and returns one reply per write of it.
    ///
    /// # Errors
    /// Those of the engine; the run is then of no use.
    pub fn entry(&mut self, entry: Committed<Command>) -> Result<Vec<Reply>> {
        let replies = match entry.content {
            Content::Nothing => Vec::new(),
            Content::Configuration(configuration) => {
                self.state.configuration = configuration;
                Vec::new()
            }
            Content::Command(command) => {
                self.kept_bytes = 0;
                self.state.last_time = self.state.last_time.max(command.stamp);
                command.writes.into_iter().map(|write| self.write(write)).collect::<Result<_>>()?
            }
        };
        self.state.applied = entry.index;
        self.state.applied_term = entry.term;
        self.state.keys = self.overlay.keys();
        Ok(replies)
    }

    /// Whether the run keeps more than [`RUN_BYTES_MAX`] in memory.
    pub fn is_full(&self) -> bool {
        self.overlay.held_bytes() > RUN_BYTES_MAX
    }

    /// Adds every effect of the run and the group's record to `out`.
    pub fn finish(self, out: &mut WriteBatch) {
        self.overlay.finish(out);
        if is(Bug::LoseAppliedIndex) && self.state.applied.0.is_multiple_of(2) {
            return;
        }
        self.state.save(self.group, out);
    }

    fn now(&self) -> Timestamp {
        self.state.last_time
    }

    fn write(&mut self, write: Write) -> Result<Reply> {
        match write {
            Write::Atomic(writes) => {
                let replies = writes.into_iter().map(|write| match write {
                    Write::Atomic(_) => Ok(Refusal::NestedBatch.into()),
                    write => self.single(write),
                });
                Ok(Reply::Array(replies.collect::<Result<_>>()?))
            }
            write => self.single(write),
        }
    }

    /// Any write but a batch.
    fn single(&mut self, write: Write) -> Result<Reply> {
        if let Err(refusal) = write.check() {
            return Ok(refusal.into());
        }
        if self.kept_bytes > COMMAND_BYTES_MAX {
            return Ok(Refusal::BatchTooLarge.into());
        }
        match write {
            Write::Set { key, value, expiry, condition, return_old } => {
                self.set(&key, value, expiry, condition, return_old)
            }
            Write::SetMany { pairs } => self.set_many(pairs),
            Write::GetDel { key } => self.get_del(&key),
            Write::GetEx { key, expiry } => self.get_ex(&key, expiry),
            Write::Delete { keys } => self.delete(&keys),
            Write::Increment { key, by } => self.increment(&key, by),
            Write::Append { key, value } => self.append(&key, &value),
            Write::SetRange { key, offset, value } => self.set_range(&key, offset, &value),
            Write::Expire { key, at, condition } => self.expire(&key, at, condition),
            Write::Persist { key } => self.persist(&key),
            Write::CompareAndSet { key, expected, value } => {
                self.compare_and_set(&key, expected.as_ref(), value)
            }
            Write::Atomic(_) => Ok(Refusal::NestedBatch.into()),
            Write::Flush => {
                self.overlay.flush();
                Ok(Reply::Ok)
            }
            Write::ExpireDue { limit } => {
                let limit = limit.min(EXPIRE_DUE_MAX) as usize;
                self.overlay.remove_due(self.now(), limit).map(Reply::of_size)
            }
        }
    }

    /// Notes that a value of `bytes` bytes stays in memory until the run is finished or answered.
    fn keep(&mut self, bytes: usize) {
        self.kept_bytes = self.kept_bytes.saturating_add(bytes);
    }
}
