//! The replica itself: raft-rs kept to its rules.

mod membership;
mod reads;
mod rounds;
mod trail;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use flin_state::ids::{LogIndex, ReplicaId};
use flin_state::log::{HardState, Log};
use flin_state::membership::Configuration;
use raft::{RawNode, SnapshotStatus};

use self::reads::Reads;
pub(crate) use self::trail::Trail;
use crate::admission;
use crate::convert;
use crate::error::{Error, ProposeError, ReadIndexError, StepError};
use crate::message::{Message, SnapshotHead};
use crate::options::{Options, READS_PENDING_MAX};
use crate::restore;
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
    /// Where the changes of the configuration are in the log.
    trail: Trail,
    /// The changes that were handed out and not reported applied, with their data.
    unapplied: BTreeMap<LogIndex, Bytes>,
    /// Messages that know a change as committed, until the disk knows it too.
    held: Vec<Message>,
    /// The greatest id of a replica ever named by the configuration, since the start.
    newest: ReplicaId,
}

struct Pending {
    ready: raft::Ready,
    snapshot: Option<SnapshotHead>,
    /// What the log holds as committed once the ready is durable.
    commit: LogIndex,
    /// Reported before the advance: changes of the configuration, and applied.
    configurations: Vec<(LogIndex, Configuration)>,
    applied: LogIndex,
}

impl Replica {
    /// Starts the replica from what `log` holds. `applied` and `configuration` are what the durable state
    /// holds (see [`crate::reconcile`]); both are default for a replica that waits for its first snapshot.
    ///
    /// While the replica lives, its group in `log` changes only by its own [`crate::Ready::edits`], and by
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
        let trail = restore::trail(&options, &*log, applied, written.commit)?;
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
            trail,
            unapplied: BTreeMap::new(),
            held: Vec::new(),
            newest: ReplicaId(0),
        };
        replica.note_newest();
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
    /// current term ([`crate::Status::term`]). After a [`crate::Ready::role_changed`], its fate is unknown
    /// until an entry with that index is committed: it is this one if the terms agree.
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
    /// follower forwards it. The answer comes as [`crate::Ready::reads`], or never: set a timeout, and ask
    /// anew after [`crate::Ready::role_changed`]. One request may stand for any number of reads.
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
    /// proposed. Returns whether it began: this replica leads, and `to` is another voter that is not on its
    /// way out.
    pub fn transfer_leader(&mut self, to: ReplicaId) -> bool {
        let leading = self.enter() && self.leading();
        let voter = self.configuration().voters.contains(&to);
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
}

impl Replica {
    /// raft-rs asserts that a new leader's log is written. That holds for elections that ask others, since
    /// the questions wait for the sync; a sole voter wins on the spot.
    fn would_win_alone_unwritten(&self) -> bool {
        let raft = &self.raft.raft;
        raft.prs().is_singleton() && !raft.raft_log.unstable_entries().is_empty()
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
        let compacted = LogIndex(first.0.saturating_sub(1));
        self.enact_compacted(compacted);
        self.applied(compacted);
        true
    }
}
