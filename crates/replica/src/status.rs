//! What a replica knows about itself and, as a leader, about the others.

use std::fmt;

use flin_state::ids::{LogIndex, ReplicaId, Term};

/// A replica's part in its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Takes what a leader sends.
    #[default]
    Follower,
    /// Asks whether an election could succeed, without disturbing anyone.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Proposes and replicates.
    Leader,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Follower => "follower",
            Role::PreCandidate => "pre-candidate",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
        })
    }
}

impl From<raft::StateRole> for Role {
    fn from(role: raft::StateRole) -> Self {
        match role {
            raft::StateRole::Follower => Role::Follower,
            raft::StateRole::PreCandidate => Role::PreCandidate,
            raft::StateRole::Candidate => Role::Candidate,
            raft::StateRole::Leader => Role::Leader,
        }
    }
}

/// A replica at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its part in the group.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Whom it takes for the leader.
    pub leader: Option<ReplicaId>,
    /// The highest index it knows committed.
    pub commit: LogIndex,
    /// The last index of its log, including entries not written yet.
    pub last: LogIndex,
    /// The last index that the caller reported applied.
    pub applied_to: LogIndex,
    /// Whether an entry of the current term is committed; a leader answers reads from then on.
    pub committed_in_term: bool,
    /// Whether the next change of the configuration may be proposed. A leader says so when it has applied
    /// the last one, and the disks of a majority of [`flin_state::membership::Configuration::voters`], and
    /// of those of a joint configuration's outgoing ones, know that one as committed.
    pub configuration_settled: bool,
    /// To whom leadership is being handed over.
    pub transferring_to: Option<ReplicaId>,
    /// The other replicas, ascending, as a leader sees them; empty on others.
    pub peers: Vec<PeerProgress>,
}

/// Another replica as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    /// The replica.
    pub replica: ReplicaId,
    /// Whether it votes.
    pub voter: bool,
    /// The last index it acknowledged in this term.
    pub matched: LogIndex,
    /// Whether it was heard within the last `election_ticks`.
    pub active: bool,
    /// Whether it follows the log closely: at most [`crate::CAUGHT_UP_LAG_MAX`] entries behind the committed
    /// one, or with all of the log if it is probed.
    pub caught_up: bool,
    /// Whether it waits for a snapshot; it gets nothing else until that is reported.
    pub in_snapshot: bool,
}
