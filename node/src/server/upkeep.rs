//! Keeping the log within its budget.

use std::sync::Arc;
use std::time::Duration;

use flin_groups::upkeep::flush;
use flin_groups::{Groups, Input};
use flin_state::engine::{Engine, EngineError};
use flin_state::log::Log;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// How often the size of the log is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Flushes the engine whenever the log is over its budget and tells the worker what became durable.
/// Returns on the first failure: a node that cannot flush would fill its disk.
pub(super) async fn upkeep(
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
