//! What raft-rs reads: one group of the shared log.
//!
//! raft-rs panics when its storage fails. So a failure of the log is remembered here and answered with
//! something harmless; the replica finds it before anything that raft then decided can leave.

use std::sync::{Arc, OnceLock};

use flin_state::ids::{GroupId, LogIndex};
use flin_state::log::{Log, LogError};
use flin_state::membership::Configuration;
use raft::eraftpb;
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::convert;
use crate::message::{self, SnapshotHead};

/// One group of the shared log, as raft-rs wants to see it.
pub(crate) struct GroupLog {
    pub group: GroupId,
    pub log: Arc<dyn Log>,
    /// The hard state to start from.
    pub hard_state: eraftpb::HardState,
    /// The last index applied; what a snapshot taken now would hold at least.
    pub applied: LogIndex,
    /// The configuration at `applied`.
    pub configuration: Configuration,
    /// The first failure of the log.
    failure: OnceLock<Arc<LogError>>,
}

impl GroupLog {
    pub fn new(
        group: GroupId,
        log: Arc<dyn Log>,
        hard_state: eraftpb::HardState,
        applied: LogIndex,
        configuration: Configuration,
    ) -> Self {
        GroupLog { group, log, hard_state, applied, configuration, failure: OnceLock::new() }
    }

    pub fn failure(&self) -> Option<&Arc<LogError>> {
        self.failure.get()
    }

    /// Keeps the first failure; it is the cause of the later ones.
    fn fail(&self, error: LogError) {
        let _ = self.failure.set(Arc::new(error));
    }
}

impl Storage for GroupLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), convert::conf_state(&self.configuration)))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        match self.log.entries(self.group, LogIndex(low), LogIndex(high), bytes_max) {
            Ok(entries) => {
                // The log may exceed the limit by an entry; messages have frames to fit in.
                let mut bytes = 0;
                let fits = entries.into_iter().enumerate().take_while(|(position, entry)| {
                    bytes += entry.data.len() as u64;
                    *position == 0 || bytes <= bytes_max
                });
                Ok(fits.map(|(_, entry)| convert::entry_to_raft(entry)).collect())
            }
            Err(LogError::Compacted { .. }) => Err(StorageError::Compacted.into()),
            Err(error) => {
                self.fail(error);
                // Without entries raft sends or applies nothing, and does not panic.
                match context.can_async() {
                    true => Err(StorageError::LogTemporarilyUnavailable.into()),
                    false => Ok(Vec::new()),
                }
            }
        }
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.log.term(self.group, LogIndex(index)) {
            Ok(term) => Ok(term.0),
            Err(LogError::Compacted { .. }) => Err(StorageError::Compacted.into()),
            Err(LogError::Unavailable { .. }) => Err(StorageError::Unavailable.into()),
            Err(error) => {
                self.fail(error);
                Ok(0)
            }
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.log.first_index(self.group).0)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.log.last_index(self.group).0)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<eraftpb::Snapshot> {
        let unavailable = Err(StorageError::SnapshotTemporarilyUnavailable.into());
        if self.applied.0 < request_index {
            return unavailable;
        }
        // Compaction stays below what was applied, so the term is still known.
        match self.log.term(self.group, self.applied) {
            Ok(term) if term.0 > 0 => {
                let configuration = self.configuration.clone();
                let head = SnapshotHead { index: self.applied, term, configuration };
                Ok(message::write_head(&head))
            }
            Ok(_) => unavailable,
            Err(error) => {
                self.fail(error);
                unavailable
            }
        }
    }
}
