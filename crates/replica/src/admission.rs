//! Which messages raft gets to see. Each check here stands for a panic, or for a state that nobody gets
//! out of, in raft-rs 0.7 when it trusts such a message.

use flin_state::ids::{GroupId, LogIndex, ReplicaId};
use raft::eraftpb::{self, EntryType, MessageType};

use crate::change;
use crate::error::{Malformed, StepError};
use crate::message::{self, Message};
use crate::options::{INDEX_MAX, READS_PENDING_MAX, TERM_MAX};

/// The read contexts that this crate writes are this long, see `replica::reads`.
pub(crate) const READ_CONTEXT_BYTES: usize = 24;

/// What the checks ask of the replica.
pub(crate) struct View {
    pub group: GroupId,
    pub replica: ReplicaId,
    pub term: u64,
    pub leading: bool,
    pub last: u64,
    pub committed_in_term: bool,
    pub reads_pending: usize,
    pub sender: Sender,
}

impl View {
    fn concerns_leader(&self, inner: &eraftpb::Message) -> bool {
        self.leading && inner.term == self.term
    }
}

/// Who sends, in the eyes of the receiver's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A voter or learner.
    Member,
    /// Not in the configuration, but its id was minted after all that ever were in it, as far as this
    /// replica remembers since its start: it may have been added by an entry that has not come here yet.
    /// What leaders and candidates say must be heard.
    Newer,
    /// Not in the configuration: removed, or never part of the group.
    Stranger,
}

/// Opens `message` if raft may see it.
pub(crate) fn admit(message: &Message, view: &View) -> Result<eraftpb::Message, StepError> {
    if message.group != view.group {
        return Err(StepError::WrongGroup { found: message.group, own: view.group });
    }
    if message.to != view.replica {
        return Err(StepError::WrongReplica { found: message.to, own: view.replica });
    }
    if message.from.0 == 0 || message.from == view.replica {
        return impossible("its sender is nobody or its receiver");
    }
    let mut inner = message::open(message)?;
    let Some(kind) = MessageType::from_i32(inner.msg_type) else {
        return Err(Malformed::Undecodable(format!("kind {}", inner.msg_type)).into());
    };
    check_sender(message.from, kind, view.sender)?;
    check_common(&inner, kind)?;
    match kind {
        MessageType::MsgAppend => check_append(&inner)?,
        MessageType::MsgAppendResponse => check_append_response(&inner, view)?,
        MessageType::MsgHeartbeatResponse => check_commit(&inner, view)?,
        MessageType::MsgHeartbeat => check_heartbeat(&inner, view)?,
        MessageType::MsgReadIndex => check_read(&inner, view)?,
        MessageType::MsgSnapshot => {
            let head = message::read_head(&inner)?;
            if let Some(snapshot) = &mut inner.snapshot {
                message::fill_conf_state(snapshot, &head);
            }
        }
        _ => {}
    }
    Ok(inner)
}

fn impossible<T>(what: &'static str) -> Result<T, StepError> {
    Err(Malformed::Impossible(what).into())
}

fn check_sender(from: ReplicaId, kind: MessageType, sender: Sender) -> Result<(), StepError> {
    let heard = match kind {
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgPropose
        | MessageType::MsgTransferLeader => {
            return Err(StepError::Unwelcome(message::kind_name(kind)));
        }
        MessageType::MsgAppend
        | MessageType::MsgHeartbeat
        | MessageType::MsgSnapshot
        | MessageType::MsgTimeoutNow
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestPreVote => sender != Sender::Stranger,
        MessageType::MsgAppendResponse
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp => sender == Sender::Member,
    };
    if heard { Ok(()) } else { Err(StepError::Stranger(from)) }
}

fn check_common(inner: &eraftpb::Message, kind: MessageType) -> Result<(), StepError> {
    // Raft takes a message of term zero for one of its own, and forwards read requests without a term.
    if (inner.term == 0) != (kind == MessageType::MsgReadIndex) {
        return impossible("a term where none belongs, or none where one does");
    }
    if inner.term > TERM_MAX.0 || inner.log_term > inner.term {
        return impossible("a term out of range");
    }
    let snapshot_index = inner.snapshot.as_ref().and_then(|s| s.metadata.as_ref()).map(|m| m.index);
    let indexes = [inner.index, inner.commit, inner.reject_hint, snapshot_index.unwrap_or(0)];
    if indexes.iter().any(|index| *index > INDEX_MAX.0) {
        return impossible("an index out of range");
    }
    if inner.priority != 0 || inner.deprecated_priority != 0 || inner.request_snapshot != 0 {
        return impossible("a field that this version does not use");
    }
    let snapshot = kind == MessageType::MsgSnapshot;
    if inner.snapshot.is_some() != snapshot {
        return impossible("a snapshot where none belongs");
    }
    let entries = matches!(
        kind,
        MessageType::MsgAppend | MessageType::MsgReadIndex | MessageType::MsgReadIndexResp
    );
    if !inner.entries.is_empty() && !entries {
        return impossible("entries where none belong");
    }
    Ok(())
}

/// Entries must follow the place they name without a gap, or raft's arithmetic on their places fails.
fn check_append(inner: &eraftpb::Message) -> Result<(), StepError> {
    // Raft answers term zero for indexes out of its log, which a zero here would match.
    if inner.log_term == 0 {
        return impossible("an append after an entry without a term");
    }
    let (mut index, mut term) = (inner.index, inner.log_term);
    for entry in &inner.entries {
        if index.checked_add(1) != Some(entry.index) {
            return impossible("entries with a gap");
        }
        if entry.term < term || entry.term > inner.term {
            return impossible("entries whose terms do not ascend to the leader's");
        }
        let kind = EntryType::from_i32(entry.entry_type);
        if !matches!(kind, Some(EntryType::EntryNormal | EntryType::EntryConfChangeV2)) {
            return impossible("an entry of an unknown kind");
        }
        if kind == Some(EntryType::EntryConfChangeV2) {
            change::decode(&entry.data)?;
        }
        if !entry.context.is_empty() || entry.sync_log {
            return impossible("an entry with fields that this version does not use");
        }
        (index, term) = (entry.index, entry.term);
    }
    Ok(())
}

/// An acknowledgement beyond the leader's log would count as a match that never ends.
fn check_append_response(inner: &eraftpb::Message, view: &View) -> Result<(), StepError> {
    if view.concerns_leader(inner) && (inner.index > view.last || inner.reject_hint > view.last) {
        return impossible("it acknowledges what the leader does not have");
    }
    check_commit(inner, view)
}

/// What a member knows as committed is in the log of every later leader. The leader counts who knows.
fn check_commit(inner: &eraftpb::Message, view: &View) -> Result<(), StepError> {
    if view.concerns_leader(inner) && inner.commit > view.last {
        return impossible("it knows as committed what the leader does not have");
    }
    Ok(())
}

/// A leader commits here only what was acknowledged from here; raft panics if it is not in the log.
fn check_heartbeat(inner: &eraftpb::Message, view: &View) -> Result<(), StepError> {
    let concerns = inner.term > view.term || (inner.term == view.term && !view.leading);
    if concerns && inner.commit > view.last {
        let (commit, last) = (LogIndex(inner.commit), LogIndex(view.last));
        return Err(StepError::LostLog { commit, last });
    }
    Ok(())
}

/// Raft drops a read request that comes too early without a word, and forwards one in circles.
fn check_read(inner: &eraftpb::Message, view: &View) -> Result<(), StepError> {
    let [request] = inner.entries.as_slice() else {
        return impossible("not one context in a read request");
    };
    if request.data.len() != READ_CONTEXT_BYTES {
        return impossible("a read context of the wrong length");
    }
    if !view.leading {
        return Err(StepError::Unready("this replica does not lead"));
    }
    if !view.committed_in_term {
        return Err(StepError::Unready("the leader has not committed in its term yet"));
    }
    if view.reads_pending >= READS_PENDING_MAX {
        return Err(StepError::Unready("too many reads are waiting"));
    }
    Ok(())
}
