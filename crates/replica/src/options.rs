//! How a replica behaves, and the limits it keeps.

use flin_state::ids::{GroupId, LogIndex, ReplicaId, Term};

/// The most read-index requests that a leader keeps waiting; more are refused until some are answered.
/// Requests are per batch of reads, so this is plenty.
pub const READS_PENDING_MAX: usize = 1024;

/// A peer is caught up while it acknowledges at most this many entries less than are committed.
pub const CAUGHT_UP_LAG_MAX: u64 = 256;

/// Messages of a greater term are refused as malformed. No cluster gets there by elections, and raft
/// counts terms without checking for overflow.
pub const TERM_MAX: Term = Term(1 << 56);

/// Messages that name greater indexes are refused likewise.
pub const INDEX_MAX: LogIndex = LogIndex(1 << 56);

/// How a replica behaves. [`Options::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// The group.
    pub group: GroupId,
    /// This copy of it.
    pub replica: ReplicaId,
    /// A follower that hears no leader for `election_ticks..2 * election_ticks` ticks campaigns; a leader
    /// that hears no majority for `election_ticks` steps down. Greater than `heartbeat_ticks`.
    pub election_ticks: u32,
    /// A leader sends heartbeats every so many ticks.
    pub heartbeat_ticks: u32,
    /// The most bytes of entries in one append message; a single greater entry is sent alone.
    pub message_bytes_max: u64,
    /// The most append messages in flight to one peer.
    pub inflight_max: usize,
    /// The most bytes of proposals that are not committed yet; beyond it [`crate::ProposeError::Busy`]. At
    /// least one proposal is always accepted. Not less than `message_bytes_max`.
    pub uncommitted_bytes_max: u64,
    /// The most bytes of committed entries handed out at once; a single greater entry comes alone.
    pub committed_page_bytes_max: u64,
    /// Where election timeouts and the marks of read requests come from. It must differ between
    /// incarnations of a replica: a node draws it anew at each start, a simulation derives it from its
    /// own seed and the number of the restart.
    pub seed: u64,
}

impl Options {
    /// The defaults: elections after 8 to 15 ticks, heartbeats every 2, 1 MiB messages, 256 in flight,
    /// 64 MiB uncommitted, pages of 4 MiB.
    pub fn new(group: GroupId, replica: ReplicaId, seed: u64) -> Self {
        Options {
            group,
            replica,
            election_ticks: 8,
            heartbeat_ticks: 2,
            message_bytes_max: 1 << 20,
            inflight_max: 256,
            uncommitted_bytes_max: 64 << 20,
            committed_page_bytes_max: 4 << 20,
            seed,
        }
    }

    pub(crate) fn raft_config(&self, applied: u64) -> raft::Config {
        raft::Config {
            id: self.replica.0,
            election_tick: self.election_ticks as usize,
            heartbeat_tick: self.heartbeat_ticks as usize,
            applied,
            max_size_per_msg: self.message_bytes_max,
            max_inflight_msgs: self.inflight_max,
            check_quorum: true,
            pre_vote: true,
            read_only_option: raft::ReadOnlyOption::Safe,
            skip_bcast_commit: true,
            batch_append: false,
            max_uncommitted_size: self.uncommitted_bytes_max,
            max_committed_size_per_ready: self.committed_page_bytes_max,
            ..raft::Config::default()
        }
    }
}
