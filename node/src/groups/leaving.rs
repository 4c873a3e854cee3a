//! The end of a replica on this node.
//!
//! The tombstone is durable in the log before anything of the state goes: after a crash in between, a start
//! finds the tombstone and deletes the rest (see `hosting::restore`). The other way round it would find a
//! replica without a state.

use std::sync::mpsc::sync_channel;

use flin_state::ids::GroupId;
use flin_state::log::LogEdit;
use tracing::info;

use super::applier::Work;
use super::worker::{Fatal, Worker};
use crate::front::requests::RequestError;

impl Worker {
    /// Ends the replicas of `groups` here, durably.
    pub(super) fn leave(&mut self, groups: &[GroupId]) -> Result<(), Fatal> {
        let mut edits = Vec::with_capacity(groups.len());
        for group in groups {
            let Some(hosted) = self.groups.remove(group) else { continue };
            self.dirty.remove(group);
            edits.push(LogEdit::Remove { group: *group, replica: hosted.id });
            info!(%group, replica = %hosted.id, "this node's replica is removed");
            hosted.abandon(&RequestError::NotHere { leader: None });
        }
        if edits.is_empty() {
            return Ok(());
        }
        self.ground.log.write(&edits)?;
        self.ground.log.sync()?;
        for edit in edits {
            let LogEdit::Remove { group, .. } = edit else { continue };
            let (done, dropped) = sync_channel(1);
            self.hand_over(Work::Drop { group, done })?;
            dropped.recv().map_err(|_| Fatal::ApplierGone)?;
        }
        self.report_due = true;
        Ok(())
    }
}
