//! Keeping the log within its budget: flush the engine, then forget what the flush made superfluous.

use flin_mutant::{Bug, is};
use flin_state::engine::{Engine, EngineError};
use flin_state::ids::{GroupId, LogIndex};
use flin_state::keys::GroupState;
use flin_state::log::{GroupRecord, Log, LogEdit};
use tracing::info;

use crate::worker::{Fatal, Worker};

/// Flushes the engine; returns up to which index each group survives a power loss now, to be told to the worker as
/// [`Input::Durable`](crate::mailbox::Input::Durable).
///
/// # Errors
/// That of the engine. A node that cannot flush would fill its disk: it has to end.
pub fn flush(engine: &dyn Engine, log: &dyn Log) -> Result<Vec<(GroupId, LogIndex)>, EngineError> {
    if !is(Bug::TruncateUnflushed) {
        engine.flush()?;
    }
    let mut durable = Vec::new();
    for (group, record) in log.groups() {
        let GroupRecord::Hosted(_) = record else { continue };
        let bytes = match is(Bug::TruncateUnflushed) {
            true => engine.get(&GroupState::key(group))?,
            false => engine.get_persisted(&GroupState::key(group))?,
        };
        let Some(bytes) = bytes else { continue };
        let state = GroupState::decode(bytes)
            .map_err(|error| EngineError::new(format!("read the state of group {group}"), error))?;
        durable.push((group, state.applied));
    }
    Ok(durable)
}

impl Worker {
    /// Forgets the entries that the engine has made durable, and the segments they were in.
    pub(crate) fn compact(&mut self, durable: &[(GroupId, LogIndex)]) -> Result<(), Fatal> {
        let log = &self.ground.log;
        let before = log.size_bytes();
        let edits: Vec<LogEdit> = durable
            .iter()
            .filter(|(group, index)| {
                self.groups.contains_key(group)
                    && *index >= log.first_index(*group)
                    && *index <= log.last_index(*group)
            })
            .map(|(group, index)| LogEdit::Compact { group: *group, index: *index })
            .collect();
        if !edits.is_empty() {
            log.write(&edits)?;
        }
        log.reclaim()?;
        info!(before, after = log.size_bytes(), "compacted the log");
        Ok(())
    }
}
