//! One round: from what raft wants to what is durable, sent and on its way to the state machines.
//!
//! The order is the promise. Messages of `messages` say nothing that the disk must know first; the log is
//! written and synced once for all groups; only then do acknowledgements, votes and committed entries go.

use flin_mutant::{Bug, is};
use flin_replica::{Message, Ready, RoleChange, SnapshotHead};
use flin_state::ids::{GroupId, LogIndex};
use flin_state::keys::GroupState;
use flin_state::log::{Entry, LogEdit};
use tokio::sync::oneshot;
use tracing::{debug, info};

use crate::applier::Work;
use crate::bench;
use crate::group::{Confirmation, Group};
use crate::requests::RequestError;
use crate::snapshot::stage_name;
use crate::worker::{Fatal, Worker};

impl Worker {
    /// Lets every group with something to do take one step.
    pub(crate) fn round(&mut self) -> Result<(), Fatal> {
        if self.dirty.is_empty() {
            return Ok(());
        }
        let dirty = std::mem::take(&mut self.dirty);
        let mut readies = Vec::with_capacity(dirty.len());
        let (mut edits, mut must_sync) = (Vec::new(), false);
        for group in dirty {
            self.admit(group);
            let Some(hosted) = self.groups.get_mut(&group) else { continue };
            let ready =
                hosted.replica.ready().map_err(|source| Fatal::Replica { group, source })?;
            let Some(mut ready) = ready else { continue };
            self.queue(group, std::mem::take(&mut ready.messages));
            if let Some(head) = &ready.snapshot {
                self.install(group, head)?;
            }
            edits.append(&mut ready.edits);
            must_sync |= ready.must_sync;
            readies.push((group, ready));
        }
        self.post();
        if !edits.is_empty() {
            self.persist(&edits, must_sync)?;
        }
        for (group, ready) in readies {
            self.finish(group, ready)?;
        }
        self.post();
        Ok(())
    }

    /// Turns the requests that wait for a group into proposals and questions.
    fn admit(&mut self, group: GroupId) {
        let now = self.ground.clock.now();
        let tick = self.tick;
        let asks = self.groups.get(&group).is_some_and(|hosted| !hosted.reads.is_empty());
        let context = if asks { self.fresh_context() } else { 0 };
        let Some(hosted) = self.groups.get_mut(&group) else { return };
        if !hosted.writes.is_empty() {
            self.ground.metrics.proposals.inc_by(hosted.writes.len() as u64);
            hosted.propose_writes(now);
        }
        if !hosted.changes.is_empty() {
            hosted.propose_changes();
        }
        if asks && is(Bug::ReadWithoutQuorum) {
            let runs = hosted.reads.drain(..).map(|run| (run.reads, run.answer)).collect();
            let read = Work::Read { group, index: LogIndex(0), runs };
            return self.bench.offer(read);
        }
        if asks {
            hosted.ask_for_reads(context, tick);
        }
    }

    fn persist(&self, edits: &[LogEdit], must_sync: bool) -> Result<(), Fatal> {
        self.ground.log.write(edits)?;
        if must_sync {
            let begun_us = self.ground.clock.monotonic_us();
            self.ground.log.sync()?;
            let took_us = self.ground.clock.monotonic_us().saturating_sub(begun_us);
            self.ground.metrics.log_synced(took_us as f64 / 1e6);
        }
        Ok(())
    }

    fn finish(&mut self, group: GroupId, mut ready: Ready) -> Result<(), Fatal> {
        let Some(hosted) = self.groups.get_mut(&group) else { return Ok(()) };
        let mut committed = std::mem::take(&mut ready.committed);
        let reads = std::mem::take(&mut ready.reads);
        let mut messages = std::mem::take(&mut ready.messages_after_sync);
        let advanced = hosted
            .replica
            .advance(ready.number)
            .map_err(|source| Fatal::Replica { group, source })?;
        messages.extend(advanced.messages);
        committed.extend(advanced.committed);
        // There may be more: the next round looks before it waits.
        self.dirty.insert(group);
        if let Some(change) = ready.role_changed {
            self.note_role(group, change);
        }
        self.queue(group, messages);
        if !committed.is_empty() {
            self.commit(group, committed)?;
        }
        for read in reads {
            self.answer_index(group, read.context, read.index)?;
        }
        Ok(())
    }

    /// Sends committed entries to the applier, each with those who wait for it.
    fn commit(&mut self, group: GroupId, entries: Vec<Entry>) -> Result<(), Fatal> {
        let Some(hosted) = self.groups.get_mut(&group) else { return Ok(()) };
        let mut waiters = Vec::new();
        if !hosted.pending.is_empty() {
            for entry in &entries {
                let decided = hosted.pending.decide(entry.index, entry.term);
                if !decided.committed.is_empty() {
                    waiters.push((entry.index, decided.committed));
                }
                let replaced = hosted.not_here();
                decided.replaced.into_iter().for_each(|waiter| waiter.fail(replaced.clone()));
            }
        }
        self.ground.metrics.entries_committed.inc_by(entries.len() as u64);
        self.bench.put(Work::Commit { group, entries, waiters })
    }

    /// Raft has confirmed an index: for reads, or for this replica's readiness.
    fn answer_index(&mut self, group: GroupId, context: u64, index: LogIndex) -> Result<(), Fatal> {
        self.note_proof(group, context);
        let Some(hosted) = self.groups.get_mut(&group) else { return Ok(()) };
        if matches!(hosted.confirmation, Confirmation::Asked { context: asked, .. } if asked == context)
        {
            hosted.confirmation = if hosted.applied >= index {
                Confirmation::Done
            } else {
                Confirmation::Index(index)
            };
        }
        let Some(asked) = hosted.asked.remove(&context) else { return Ok(()) };
        let runs = asked.runs.into_iter().map(|run| (run.reads, run.answer)).collect();
        self.bench.put(Work::Read { group, index, runs })
    }

    fn note_role(&mut self, group: GroupId, change: RoleChange) {
        let Some(hosted) = self.groups.get_mut(&group) else { return };
        (hosted.job, hosted.proof) = (None, None);
        // Raft forgets the questions of reads when the role changes.
        hosted.give_up_reads(u64::MAX);
        debug!(%group, term = %change.term, role = %change.role, "role changed");
        self.publish_leader(group);
        self.report_due = true;
    }

    fn queue(&mut self, group: GroupId, messages: Vec<Message>) {
        for message in messages {
            let Some(node) = self.node_of(group, message.to) else { continue };
            if message.is_snapshot() {
                self.ground.outbox.send_snapshot(node, message);
            } else {
                self.outgoing.entry(node).or_default().push(message);
            }
        }
    }

    fn post(&mut self) {
        for (node, messages) in std::mem::take(&mut self.outgoing) {
            let count = messages.len() as u64;
            if self.ground.outbox.post(node, messages) {
                self.ground.metrics.messages_sent.inc_by(count);
            } else {
                self.ground.metrics.messages_dropped.inc_by(count);
            }
        }
    }

    /// Lets raft look at a snapshot whose content is staged; it is installed in the round that follows.
    pub(crate) fn offer_snapshot(
        &mut self,
        message: Message,
        done: oneshot::Sender<()>,
    ) -> Result<(), Fatal> {
        let group = message.group;
        if let Some(hosted) = self.groups.get_mut(&group) {
            if let Err(error) = hosted.replica.step(message) {
                info!(%group, %error, "a snapshot is not wanted");
            }
            self.dirty.insert(group);
            self.round()?;
        }
        // Installed or not, what is left of the stage is of no use.
        self.ground.engine.discard_stage(&stage_name(group))?;
        let _ = done.send(());
        Ok(())
    }

    /// Replaces a group's state by the staged one. The log follows in this round's record; between the two
    /// a crash leaves the engine ahead of the log, which restoring the group mends.
    fn install(&mut self, group: GroupId, head: &SnapshotHead) -> Result<(), Fatal> {
        let state = bench::install(&*self.bench, group)?;
        if (state.applied, state.applied_term) != (head.index, head.term) {
            let what =
                format!("the staged snapshot is of {}, raft took {}", state.applied, head.index);
            return Err(Fatal::Entry { group, index: head.index, what });
        }
        let Some(hosted) = self.groups.get_mut(&group) else { return Ok(()) };
        info!(%group, index = %state.applied, "installed a snapshot");
        self.ground.metrics.snapshots_installed.inc();
        skip_to(hosted, &state);
        Ok(())
    }
}

fn skip_to(hosted: &mut Group, state: &GroupState) {
    hosted.note_applied(state.applied);
    hosted.configuration = state.configuration.clone();
    for waiter in hosted.pending.skip(state.applied) {
        waiter.fail(RequestError::Unknown(
            "the leader changed, and a snapshot hides whether this write took effect".into(),
        ));
    }
}
