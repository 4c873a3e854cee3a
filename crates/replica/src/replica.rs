//! The replica itself: raft-rs kept to its rules.

mod reads;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use flin_state::ids::{GroupId, LogIndex, ReplicaId, Term};
use flin_state::log::{Entry, HardState, Log, LogEdit};
use flin_state::membership::Configuration;
use raft::{RawNode, SnapshotStatus, StateRole, eraftpb};

use self::reads::Reads;
use crate::admission::{self, Sender, View};
use crate::convert;
use crate::error::{Error, ProposeError, ReadIndexError, StepError};
use crate::message::{self, Message, SnapshotHead};
use crate::options::{CAUGHT_UP_LAG_MAX, Options, READS_PENDING_MAX};
use crate::ready::{Advanced, Ready, RoleChange};
use crate::restore;
use crate::status::{PeerProgress, Role, Status};
use crate::storage::GroupLog;
use crate::timeout::Timeouts;

/// One copy of one group. See the crate's first page for how to drive it.
pub struct Replica {
    raft: RawNode<GroupLog>,
    options: Options,
    timeouts: Timeouts,
    reads: Reads,
    /// The hard state that the log holds, to leave out writes of the commit index alone.
    written: HardState,
    /// The ready that was handed out and not advanced.
    pending: Option<Pending>,
    /// The last committed index handed out.
    handed_out: LogIndex,
    /// Ticks since the start.
    now: u64,
    /// Elections begun since the start.
    elections: u64,
    /// When each member was last heard, in ticks since the start.
    heard: BTreeMap<ReplicaId, u64>,
}

struct Pending {
    ready: raft::Ready,
    snapshot: Option<SnapshotHead>,
    /// Reported applied before the advance.
    applied: LogIndex,
}

impl Replica {
    /// Starts the replica from what `log` holds. `applied` and `configuration` are what the durable state
    /// holds (see [`crate::reconcile`]); both are default for a replica that waits for its first snapshot.
    ///
    /// While the replica lives, its group in `log` changes only by its own [`Ready::edits`], and by
    /// compaction up to what is applied and durable, not during a call.
    ///
    /// # Errors
    /// [`Error`]; the replica must then not be hosted.
    pub fn restore(
        options: Options,
        log: Arc<dyn Log>,
        configuration: Configuration,
        applied: LogIndex,
    ) -> Result<Self, Error> {
        let group = options.group;
        let impossible = |error: raft::Error| Error::Options { group, what: error.to_string() };
        let config = options.raft_config(applied.0);
        config.validate().map_err(impossible)?;
        let written = log.hard_state(group);
        let state = restore::hard_state(&options, &*log, &configuration, applied)?;
        let state = convert::hard_state_to_raft(&state);
        let storage = GroupLog::new(group, log, state, applied, configuration);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raft = RawNode::new(&config, storage, &logger).map_err(impossible)?;
        let timeouts = Timeouts {
            seed: options.seed,
            replica: options.replica.0,
            election_ticks: options.election_ticks,
        };
        let mut replica = Replica {
            raft,
            reads: Reads::new(options.replica, options.seed),
            options,
            timeouts,
            written,
            pending: None,
            handed_out: applied,
            now: 0,
            elections: 0,
            heard: BTreeMap::new(),
        };
        replica.settle()?;
        Ok(replica)
    }

    /// Takes a message from a peer.
    ///
    /// # Errors
    /// Why it was dropped. Only [`StepError::LostLog`] and [`StepError::Stopped`] are about this replica;
    /// the others are about the message.
    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        if !self.enter() {
            return Err(StepError::Stopped);
        }
        let inner = admission::admit(&message, &self.view(message.from))?;
        let known = self.raft.raft.prs().get(inner.from).is_some();
        if known && inner.term >= self.raft.raft.term {
            self.heard.insert(message.from, self.now);
        }
        // What raft-rs still refuses is an answer from a replica that it does not know.
        let stepped = self.raft.step(inner).map_err(|_| StepError::Stranger(message.from));
        self.retime();
        stepped
    }

    /// Lets time pass. Call it at a steady pace, once per wake-up: a burst of ticks is a burst of elections.
    pub fn tick(&mut self) {
        if !self.enter() {
            return;
        }
        self.now += 1;
        let leading = self.leading();
        if !leading && self.would_win_alone_unwritten() {
            return;
        }
        let fired = self.raft.tick();
        if fired && !leading {
            self.elections += 1;
        }
        self.retime();
    }

    /// Begins an election now, if this replica votes and does not lead. It asks before it disturbs
    /// (pre-vote), so it wins nothing while the others hear a leader.
    pub fn campaign(&mut self) {
        let able = self.enter() && self.raft.raft.promotable() && !self.leading();
        if !able || self.would_win_alone_unwritten() {
            return;
        }
        self.elections += 1;
        // Raft refuses only while committed changes of the configuration wait to be applied.
        let _ = self.raft.campaign();
        self.retime();
    }

    /// Appends `data` to the replicated log, and returns the index it gets if it is committed in the
    /// current term ([`Status::term`]). After a [`Ready::role_changed`], its fate is unknown until an
    /// entry with that index is committed: it is this one if the terms agree.
    ///
    /// # Errors
    /// [`ProposeError`]; then it is surely not in the log.
    pub fn propose(&mut self, data: Bytes) -> Result<LogIndex, ProposeError> {
        if !self.enter() || !self.leading() {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        if data.is_empty() {
            return Err(ProposeError::Empty);
        }
        if self.raft.raft.lead_transferee.is_some() {
            return Err(ProposeError::Transferring);
        }
        self.raft.propose(Vec::new(), Vec::from(data)).map_err(|_| ProposeError::Busy)?;
        self.retime();
        Ok(LogIndex(self.raft.raft.raft_log.last_index()))
    }

    /// Asks for an index that is no older than now: a round of heartbeats by the leader, to which a
    /// follower forwards it. The answer comes as [`Ready::reads`], or never: set a timeout, and ask anew
    /// after [`Ready::role_changed`]. One request may stand for any number of reads.
    ///
    /// # Errors
    /// [`ReadIndexError`]; `context` may then be used again.
    pub fn read_index(&mut self, context: u64) -> Result<(), ReadIndexError> {
        if !self.enter() || self.leader().is_none() {
            return Err(ReadIndexError::NoLeader);
        }
        if self.leading() {
            if !self.raft.raft.commit_to_current_term() {
                return Err(ReadIndexError::TryLater);
            }
            if self.raft.raft.pending_read_count() >= READS_PENDING_MAX {
                return Err(ReadIndexError::Busy);
            }
        }
        let context = self.reads.ask(context)?;
        self.raft.read_index(context);
        self.retime();
        Ok(())
    }

    /// Begins to hand leadership over to `to`; until that succeeds or `election_ticks` pass, nothing is
    /// proposed. Returns whether it began: this replica leads, and `to` is another voter.
    pub fn transfer_leader(&mut self, to: ReplicaId) -> bool {
        let leading = self.enter() && self.leading();
        let voter = self.raft.raft.prs().conf().voters().contains(to.0);
        if !leading || !voter || to == self.options.replica {
            return false;
        }
        self.raft.transfer_leader(to.0);
        self.retime();
        self.raft.raft.lead_transferee == Some(to.0)
    }

    /// Reports that messages to `to` were lost, so that the leader stops sending ahead.
    pub fn report_unreachable(&mut self, to: ReplicaId) {
        if self.enter() {
            self.raft.report_unreachable(to.0);
            self.retime();
        }
    }

    /// Reports what became of the snapshot announced to `to`: delivered and stepped there, or not. Without
    /// a report the peer gets nothing more from this leader.
    pub fn report_snapshot(&mut self, to: ReplicaId, delivered: bool) {
        if self.enter() {
            let status = if delivered { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
            self.raft.report_snapshot(to.0, status);
            self.retime();
        }
    }

    /// The work there is, if any. Advance it before the next call.
    ///
    /// # Errors
    /// [`Error::Log`] when the log could not be read; the replica answers nothing else from then on.
    pub fn ready(&mut self) -> Result<Option<Ready>, Error> {
        self.enter();
        self.check_log()?;
        if !self.raft.has_ready() {
            return Ok(None);
        }
        let mut ready = self.raft.ready();
        self.check_log()?;

        let snapshot = self.take_snapshot(&ready);
        let must_sync = ready.must_sync();
        let promised = self.promises();
        let edits = if must_sync { self.edits(&mut ready, snapshot.as_ref()) } else { Vec::new() };
        let eager = self.seal(ready.take_messages());
        let patient = self.seal(ready.take_persisted_messages());
        let (messages, messages_after_sync) = match (must_sync, promised) {
            // Nothing to wait for: what came before is durable since the last advance.
            (false, _) => (join(eager, patient), Vec::new()),
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
        self.pending = Some(Pending { ready, snapshot, applied: LogIndex(0) });
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
        if let Some(head) = pending.snapshot {
            self.raft.advance_apply_to(head.index.0);
            let storage = self.raft.mut_store();
            storage.applied = head.index;
            storage.configuration = head.configuration;
            self.handed_out = head.index;
        }
        self.applied(pending.applied);
        self.settle()?;
        Ok(Advanced {
            messages: self.seal(light.take_messages()),
            committed: self.hand_out(light.take_committed_entries()),
        })
    }

    /// Reports that everything up to `index` is applied. Older reports are ignored.
    ///
    /// # Panics
    /// When `index` was not handed out.
    pub fn applied(&mut self, index: LogIndex) {
        assert!(index <= self.handed_out, "applied {index}, committed {}", self.handed_out);
        if let Some(pending) = &mut self.pending {
            pending.applied = pending.applied.max(index);
            return;
        }
        if index > self.raft.store().applied && !self.stopped() {
            self.raft.advance_apply_to(index.0);
            self.raft.mut_store().applied = index;
        }
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.options.group
    }

    /// This replica's id.
    pub fn replica(&self) -> ReplicaId {
        self.options.replica
    }

    /// Whom this replica takes for the leader.
    pub fn leader(&self) -> Option<ReplicaId> {
        replica_id(self.raft.raft.leader_id)
    }

    /// Whether this replica leads, as far as it knows.
    pub fn leading(&self) -> bool {
        self.raft.raft.state == StateRole::Leader
    }

    /// The group's configuration as of what was applied here.
    pub fn configuration(&self) -> &Configuration {
        &self.raft.store().configuration
    }

    /// Everything there is to know at this moment.
    pub fn status(&self) -> Status {
        let raft = &self.raft.raft;
        Status {
            role: Role::from(raft.state),
            term: Term(raft.term),
            leader: self.leader(),
            commit: LogIndex(raft.raft_log.committed),
            last: LogIndex(raft.raft_log.last_index()),
            applied_to: LogIndex(raft.raft_log.applied),
            committed_in_term: raft.commit_to_current_term(),
            transferring_to: raft.lead_transferee.map(ReplicaId),
            peers: if self.leading() { self.peers() } else { Vec::new() },
        }
    }
}

impl Replica {
    fn peers(&self) -> Vec<PeerProgress> {
        let raft = &self.raft.raft;
        let horizon = u64::from(self.options.election_ticks);
        let mut peers: Vec<PeerProgress> = raft
            .prs()
            .iter()
            .filter(|(id, _)| **id != self.options.replica.0)
            .map(|(id, progress)| {
                let replica = ReplicaId(*id);
                let heard = self.heard.get(&replica);
                let replicating = progress.state == raft::ProgressState::Replicate;
                let near = progress.matched + CAUGHT_UP_LAG_MAX >= raft.raft_log.committed;
                PeerProgress {
                    replica,
                    voter: raft.prs().conf().voters().contains(*id),
                    matched: LogIndex(progress.matched),
                    active: heard.is_some_and(|then| self.now - then <= horizon),
                    caught_up: replicating && near,
                    in_snapshot: progress.state == raft::ProgressState::Snapshot,
                }
            })
            .collect();
        peers.sort_by_key(|peer| peer.replica);
        peers
    }

    fn view(&self, from: ReplicaId) -> View {
        let raft = &self.raft.raft;
        let members = raft.prs();
        let sender = if members.get(from.0).is_some() {
            Sender::Member
        } else if members.iter().all(|(known, _)| *known < from.0) {
            Sender::Newer
        } else {
            Sender::Stranger
        };
        View {
            group: self.options.group,
            replica: self.options.replica,
            term: raft.term,
            leading: self.leading(),
            last: raft.raft_log.last_index(),
            committed_in_term: raft.commit_to_current_term(),
            reads_pending: raft.pending_read_count(),
            sender,
        }
    }

    /// raft-rs asserts that a new leader's log is written. That holds for elections that ask others, since
    /// the questions wait for the sync; a sole voter wins on the spot.
    fn would_win_alone_unwritten(&self) -> bool {
        let raft = &self.raft.raft;
        raft.prs().is_singleton() && !raft.raft_log.unstable_entries().is_empty()
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
            edits.push(LogEdit::HardState { group, state });
            self.written = state;
        }
        edits
    }

    fn hand_out(&mut self, entries: Vec<eraftpb::Entry>) -> Vec<Entry> {
        let entries: Vec<Entry> = entries.into_iter().map(convert::entry_from_raft).collect();
        if let Some(last) = entries.last() {
            self.handed_out = last.index;
        }
        entries
    }

    fn seal(&self, messages: Vec<eraftpb::Message>) -> Vec<Message> {
        messages.iter().map(|message| message::seal(self.options.group, message)).collect()
    }

    /// After every call that may have reset raft.
    fn retime(&mut self) {
        let ticks = self.timeouts.ticks(self.raft.raft.term, self.elections);
        self.raft.raft.set_randomized_election_timeout(ticks);
    }

    fn settle(&mut self) -> Result<(), Error> {
        self.retime();
        self.check_log()
    }

    fn stopped(&self) -> bool {
        self.raft.store().failure().is_some()
    }

    fn check_log(&self) -> Result<(), Error> {
        match self.raft.store().failure() {
            Some(source) => {
                Err(Error::Log { group: self.options.group, source: Arc::clone(source) })
            }
            None => Ok(()),
        }
    }

    /// Begins a call that may change raft; false when the log failed.
    ///
    /// Only what is applied and durable is compacted, but a caller may compact before it reports what it
    /// applied. raft-rs panics when it misses entries that it holds for unapplied.
    fn enter(&mut self) -> bool {
        assert!(self.pending.is_none(), "a ready was handed out and must be advanced first");
        if self.stopped() {
            return false;
        }
        let first = self.raft.store().log.first_index(self.options.group);
        self.applied(LogIndex(first.0.saturating_sub(1)));
        true
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("group", &self.options.group)
            .field("replica", &self.options.replica)
            .field("status", &self.status())
            .finish()
    }
}

fn replica_id(id: u64) -> Option<ReplicaId> {
    (id != raft::INVALID_ID).then_some(ReplicaId(id))
}

fn join(mut first: Vec<Message>, second: Vec<Message>) -> Vec<Message> {
    first.extend(second);
    first
}
