//! Keeping the log within its budget: flush the engine, then forget what the flush made superfluous.

use std::sync::Arc;
use std::time::Duration;

use flin_state::engine::{Engine, EngineError};
use flin_state::ids::{GroupId, LogIndex};
use flin_state::keys::GroupState;
use flin_state::log::{GroupRecord, Log, LogEdit};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::mailbox::{Groups, Input};
use super::worker::{Fatal, Worker};

/// How often the size of the log is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Flushes the engine whenever the log is over its budget and tells the worker what became durable.
/// Returns on the first failure: a node that cannot flush would fill its disk.
pub(crate) async fn upkeep(
    engine: Arc<dyn Engine>,
    log: Arc<dyn Log>,
    budget_bytes: u64,
    groups: Groups,
    stop: CancellationToken,
) -> Result<(), EngineError> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(INTERVAL) => {}
        }
        if log.size_bytes() <= budget_bytes {
            continue;
        }
        let (engine, log, groups) = (engine.clone(), log.clone(), groups.clone());
        let flushed = tokio::task::spawn_blocking(move || {
            let durable = flush(&*engine, &*log)?;
            groups.tell_blocking(Input::Durable(durable));
            Ok(())
        });
        match flushed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error),
            Err(error) => error!(%error, "the flush of the engine was lost"),
        }
    }
}

/// Flushes the engine; returns up to which index each group survives a power loss now.
fn flush(engine: &dyn Engine, log: &dyn Log) -> Result<Vec<(GroupId, LogIndex)>, EngineError> {
    engine.flush()?;
    let mut durable = Vec::new();
    for (group, record) in log.groups() {
        let GroupRecord::Hosted(_) = record else { continue };
        let Some(bytes) = engine.get_persisted(&GroupState::key(group))? else { continue };
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
