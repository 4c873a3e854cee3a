//! The end of a replica on this node.
//!
//! A replica ends when the meta state disowns it, and the group can spare it: it never got a snapshot, it has
//! applied the change that removed it, or the group's leader says that the group goes on without it. Neither
//! alone is enough. A replica that ended by its own configuration alone could be missed by those that have yet
//! to learn of the change, and a leader with an old meta state may have made a disowned one vote.
//!
//! The tombstone is durable in the log before anything of the state goes: after a crash in between, a start
//! finds the tombstone and deletes the rest (see `hosting::restore`). The other way round it would find a
//! replica without a state.

use flin_mutant::{Bug, is};
use flin_state::ids::GroupId;
use flin_state::log::LogEdit;
use tracing::info;

use crate::bench;
use crate::group::Group;
use crate::hosting;
use crate::requests::RequestError;
use crate::worker::{Fatal, Worker};

impl Worker {
    /// Ends the replicas that belong to no group any more.
    pub(crate) fn end_disowned(&mut self) -> Result<(), Fatal> {
        let Some(state) = &self.cluster else { return Ok(()) };
        let now_ms = self.ground.clock.monotonic_ms();
        let spared = |group: GroupId, hosted: &Group| {
            // A leader whose term is not before the last entry here knows of everything that put this replica into
            // the group; the replica's own term says nothing, for it may campaign while nobody listens.
            let log = &self.ground.log;
            let since = log.term(group, log.last_index(group)).ok();
            let seats = || self.ground.board.seats_since(group, since?, now_ms);
            let unseated =
                || seats().is_some_and(|seats| seats.iter().all(|s| s.replica != hosted.id.0));
            hosted.is_blank() || hosted.is_removed() || unseated()
        };
        let gone: Vec<GroupId> = self
            .groups
            .iter()
            .filter(|(group, hosted)| hosting::is_disowned(state, **group, hosted.id))
            .filter(|(group, hosted)| spared(**group, hosted))
            .map(|(group, _)| *group)
            .collect();
        self.leave(&gone)
    }

    /// Ends the replicas of `groups` here, durably.
    fn leave(&mut self, groups: &[GroupId]) -> Result<(), Fatal> {
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
        if !is(Bug::LeaveNoTombstone) {
            self.ground.log.write(&edits)?;
        }
        self.ground.log.sync()?;
        for edit in edits {
            let LogEdit::Remove { group, .. } = edit else { continue };
            bench::drop_group(&*self.bench, group)?;
        }
        self.report_due = true;
        Ok(())
    }
}
