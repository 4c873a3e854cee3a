//! Rounds: what the replica asks of its caller, and what the caller reports back.

use flin_mutant::{Bug, is};
use flin_state::ids::{LogIndex, Term};
use flin_state::log::{Entry, EntryKind, LogEdit};
use raft::eraftpb;

use super::view::replica_id;
use super::{Pending, Replica, Trail};
use crate::convert;
use crate::error::Error;
use crate::message::{self, Message, SnapshotHead};
use crate::ready::{Advanced, Ready, RoleChange};
use crate::status::Role;

impl Replica {
    /// The work there is, if any. Advance it before the next call.
    ///
    /// # Errors
    /// [`Error::Log`] when the log could not be read; the replica answers nothing else from then on.
    pub fn ready(&mut self) -> Result<Option<Ready>, Error> {
        self.enter();
        self.check_log()?;
        if !self.raft.has_ready() && !self.owes_commit() {
            return Ok(None);
        }
        let mut ready = self.raft.ready();
        self.check_log()?;

        let snapshot = self.take_snapshot(&ready);
        self.follow_trail(&ready, snapshot.as_ref());
        let owes_commit = self.owes_commit();
        let must_sync = ready.must_sync() || owes_commit;
        let held = std::mem::take(&mut self.held);
        let promised = self.promises() || owes_commit || !held.is_empty();
        let edits = if must_sync { self.edits(&mut ready, snapshot.as_ref()) } else { Vec::new() };
        let eager = join(held, self.seal(ready.take_messages()));
        let patient = self.seal(ready.take_persisted_messages());
        let (messages, messages_after_sync) = match (must_sync, promised) {
            // Nothing to wait for: what came before is durable since the last advance.
            (false, _) => (join(eager, patient), Vec::new()),
            _ if is(Bug::SendBeforeSync) => (join(eager, patient), Vec::new()),
            (true, true) => (Vec::new(), join(eager, patient)),
            (true, false) => (eager, patient),
        };
        let role_changed = ready.ss().map(|soft| RoleChange {
            role: Role::from(soft.raft_state),
            term: Term(self.raft.raft.term),
            leader: replica_id(soft.leader_id),
        });
        let reads = ready.take_read_states();
        let handed = Ready {
            number: ready.number(),
            role_changed,
            messages,
            snapshot: snapshot.clone(),
            edits,
            must_sync,
            messages_after_sync,
            committed: self.hand_out(ready.take_committed_entries()),
            reads: reads.into_iter().filter_map(|state| self.reads.answer(state)).collect(),
        };
        let (commit, applied) = (self.written.commit, LogIndex(0));
        self.pending =
            Some(Pending { ready, snapshot, commit, configurations: Vec::new(), applied });
        Ok(Some(handed))
    }

    /// Reports that everything up to ready `number` is durable, and its snapshot installed.
    ///
    /// # Errors
    /// [`Error::Log`] as for [`Replica::ready`].
    ///
    /// # Panics
    /// When `number` is not the ready that was handed out last.
    pub fn advance(&mut self, number: u64) -> Result<Advanced, Error> {
        let pending = self.pending.take().expect("advance follows ready");
        assert_eq!(pending.ready.number(), number, "another ready was handed out");
        let mut light = self.raft.advance_append(pending.ready);
        self.trail.settle(pending.commit);
        if let Some(head) = pending.snapshot {
            self.raft.advance_apply_to(head.index.0);
            let storage = self.raft.mut_store();
            storage.applied = head.index;
            storage.configuration = head.configuration;
            self.handed_out = head.index;
            self.unapplied = self.unapplied.split_off(&head.index.next());
            self.note_newest();
        }
        let mut messages = self.seal(light.take_messages());
        // The next ready writes what they say.
        if self.owes_commit() {
            self.held = std::mem::take(&mut messages);
        }
        let committed = self.hand_out(light.take_committed_entries());
        for (index, next) in pending.configurations {
            self.apply_configuration(index, &next);
        }
        self.applied(pending.applied);
        self.settle()?;
        Ok(Advanced { messages, committed })
    }

    /// Reports that everything up to `index` is applied. Older reports are ignored.
    ///
    /// # Panics
    /// When `index` was not handed out, or a change of the configuration up to there was not reported
    /// ([`Replica::apply_configuration`]).
    pub fn applied(&mut self, index: LogIndex) {
        assert!(index <= self.handed_out, "applied {index}, committed {}", self.handed_out);
        if let Some(pending) = &mut self.pending {
            pending.applied = pending.applied.max(index);
            return;
        }
        if index > self.raft.store().applied && !self.stopped() {
            if let Some((change, _)) = self.unapplied.first_key_value() {
                assert!(index < *change, "the change at {change} was not reported");
            }
            self.raft.advance_apply_to(index.0);
            self.raft.mut_store().applied = index;
        }
    }
}

impl Replica {
    /// Keeps up with where the changes of the configuration are in the log.
    fn follow_trail(&mut self, ready: &raft::Ready, snapshot: Option<&SnapshotHead>) {
        if let Some(head) = snapshot {
            self.trail = Trail::new(head.index);
        }
        let entries = ready.entries();
        if let Some(first) = entries.first() {
            self.trail.cut(LogIndex(first.index));
        }
        for entry in entries.iter().filter(|entry| convert::changes_configuration(entry)) {
            self.trail.note(LogIndex(entry.index));
        }
    }

    /// Whether term or vote changed since the log was last written: until it is, no message of the new
    /// term may leave.
    fn promises(&self) -> bool {
        let raft = &self.raft.raft;
        raft.term != self.written.term.0 || raft.vote != self.written.vote.0
    }

    fn take_snapshot(&self, ready: &raft::Ready) -> Option<SnapshotHead> {
        let snapshot = ready.snapshot();
        if snapshot.is_empty() {
            return None;
        }
        let message = eraftpb::Message {
            snapshot: Some(snapshot.clone()),
            term: self.raft.raft.term,
            ..eraftpb::Message::default()
        };
        Some(message::read_head(&message).expect("admission read this head before"))
    }

    fn edits(&mut self, ready: &mut raft::Ready, snapshot: Option<&SnapshotHead>) -> Vec<LogEdit> {
        let group = self.options.group;
        let mut edits = Vec::with_capacity(3);
        if let Some(head) = snapshot {
            edits.push(LogEdit::Reset { group, index: head.index, term: head.term });
        }
        let entries = ready.take_entries();
        if !entries.is_empty() {
            let entries = entries.into_iter().map(convert::entry_from_raft).collect();
            edits.push(LogEdit::Append { group, entries });
        }
        let state = convert::hard_state_from_raft(&self.raft.raft.hard_state());
        if state != self.written {
            if !is(Bug::ForgetHardState) {
                edits.push(LogEdit::HardState { group, state });
            }
            self.written = state;
        }
        edits
    }

    fn hand_out(&mut self, entries: Vec<eraftpb::Entry>) -> Vec<Entry> {
        let entries: Vec<Entry> = entries.into_iter().map(convert::entry_from_raft).collect();
        let changes = entries.iter().filter(|entry| entry.kind == EntryKind::Configuration);
        self.unapplied.extend(changes.map(|change| (change.index, change.data.clone())));
        if let Some(last) = entries.last() {
            self.handed_out = last.index;
        }
        entries
    }

    fn seal(&self, messages: Vec<eraftpb::Message>) -> Vec<Message> {
        messages.iter().map(|message| message::seal(self.options.group, message)).collect()
    }
}

fn join(mut first: Vec<Message>, second: Vec<Message>) -> Vec<Message> {
    first.extend(second);
    first
}
