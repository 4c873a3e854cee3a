//! One replica of one raft group, without input or output: the caller owns the clock (ticks), the
//! network (messages), the disk (log edits) and the state machine (committed entries). It is a wrapper
//! over raft-rs and the only place that names its types.
//!
//! # The round
//!
//! ```text
//! step / tick / propose / read_index ...        any number of times, then
//! while let Some(ready) = replica.ready()? {
//!     send(ready.messages)                       before the sync: a leader replicates while it writes
//!     install(ready.snapshot)                    if any: engine first, then the log
//!     log.write(ready.edits); if ready.must_sync { log.sync() }
//!     send(ready.messages_after_sync)            votes and acknowledgements: promises about the disk
//!     let advanced = replica.advance(ready.number)?;
//!     send(advanced.messages)
//!     apply(ready.committed, advanced.committed)
//!         for each that changes the configuration: replica.apply_configuration(index, &next)
//!     replica.applied(index)
//! }
//! ```
//! After stepping a snapshot message, do a round before stepping anything else: the staged state belongs
//! to that message, and [`Ready::snapshot`] says whether raft took it or the stage can go.
//! One round may serve many replicas: collect the edits of all, write and sync once, then advance each.
//! Between [`Replica::ready`] and [`Replica::advance`] nothing else may be called but
//! [`Replica::apply_configuration`], [`Replica::applied`] and the getters; the replica asserts it, because
//! raft-rs would fail later and less clearly. An asynchronous writer fits behind the same calls:
//! `advance(number)` already says "everything up to ready `number` is durable".
//!
//! # Changes of the configuration
//!
//! The configuration is replicated state: a [`flin_state::membership::ConfigurationChange`] is an entry
//! of the log ([`Replica::propose_configuration`]), the state machine says what it leads to, and the
//! replica tells raft ([`Replica::apply_configuration`]). After a restart the configuration is the one of
//! the durable state, and the entries after it are applied again. [`next_step`] says which change is due.
//!
//! raft-rs counts majorities by what is applied, so a replica that is two changes late could be elected
//! beside a leader of the group as it is now (etcd issue 11284). It does not campaign while it knows a
//! change as committed that is not applied (raft-rs sees to that), and it does not forget what it knows: a
//! change comes into the log in one record with the commit of those before it, and the commit of a change
//! is written and synced at once, before any message that tells it. The next change waits until majorities
//! of the old and of the new voters have the last one's commit on disk ([`Status::configuration_settled`]);
//! from then on the others can elect without a replica that was removed, and it may be ended.
//!
//! A replica that was just added begins with nothing, a log at index zero and no configuration, and hears
//! any leader. It gets a snapshot, because every log begins after [`flin_state::log::INITIAL_INDEX`]. A
//! removed one is a stranger to those who know that it is removed. It cannot know for sure itself: what
//! ends it is the meta state.
//!
//! # What the wire can do
//!
//! A message is bytes in an envelope with a version. raft-rs trusts its input and panics on much of what
//! a confused or malicious peer could send (a heartbeat that commits beyond the log, an append with a
//! gap, a vote of term zero, a forwarded transfer). The `admission` module checks every message against
//! the replica before raft sees it; what does not pass is dropped with a reason ([`StepError`]).
//!
//! # Chance
//!
//! raft-rs draws election timeouts from the thread's random generator. The replica overwrites the draw
//! after every call with a value computed from its seed (the `timeout` module), before raft looks at
//! it; two runs with the same seeds and inputs are the same.
//!
//! # Choices made for raft-rs 0.7
//!
//! - Pre-vote and check-quorum are on; reads are ReadIndex with a round of heartbeats, never a lease
//!   by ticks. Read contexts carry the replica and its incarnation, so that two replicas (or one before
//!   and after a restart) never share one: raft-rs answers a duplicate with the older index.
//! - A commit index alone is not written to the log unless it covers a change of the configuration; it
//!   rides along with the next write. At start the commit index is the greater of the log's and the
//!   applied one.
//! - raft-rs turns a change that it does not like into an empty command when it is proposed. Everything is
//!   checked before.
//! - Raft never leaves a joint configuration by itself: it would propose an entry that our state machine
//!   cannot read. The leader does ([`next_step`]).
//! - raft-rs keeps a leader that is not in its configuration, and panics when it commits. It steps down
//!   when the change is applied.
//! - A leader does not broadcast a commit that carries nothing else (`skip_bcast_commit`): followers
//!   learn it with the next append or heartbeat.
//! - Messages of a ready that changes term or vote all wait for the sync, also the leader's: a sole
//!   voter becomes leader without a round, and must not replicate in a term it could forget.
//! - Appends are not batched by raft-rs: its batches ignore the message limit.

mod admission;
mod change;
mod convert;
mod error;
mod message;
mod moves;
mod options;
mod ready;
mod replica;
mod restore;
mod status;
mod storage;
mod timeout;

pub use change::configuration_change;
pub use error::{Error, Malformed, ProposeError, ReadIndexError, StepError};
pub use message::{Message, SnapshotHead, snapshot_message};
pub use moves::{Step, next_step};
pub use options::{CAUGHT_UP_LAG_MAX, INDEX_MAX, Options, READS_PENDING_MAX, TERM_MAX};
pub use ready::{Advanced, ReadState, Ready, RoleChange};
pub use replica::Replica;
pub use restore::reconcile;
pub use status::{PeerProgress, Role, Status};
