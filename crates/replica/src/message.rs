//! Messages between replicas: an envelope of a version and a kind around raft's own encoding.
//!
//! ```text
//! 0  version, 1
//! 1  kind, raft's message type
//! 2  the raft message (Protocol Buffers)
//! ```
//! A snapshot message carries no data, only a head: what state it stands for. The node ships the state.

use bytes::{BufMut, Bytes, BytesMut};
use flin_state::ids::{GroupId, LogIndex, ReplicaId, Term};
use flin_state::membership::Configuration;
use prost::Message as _;
use raft::eraftpb::{self, MessageType};

use crate::convert;
use crate::error::Malformed;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 2;

/// A message from one replica of a group to another, opaque to whoever carries it. It may be lost,
/// doubled, delayed and reordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The group of both.
    pub group: GroupId,
    /// The sender.
    pub from: ReplicaId,
    /// The receiver.
    pub to: ReplicaId,
    /// The envelope.
    pub bytes: Bytes,
}

/// What state a snapshot holds: everything applied up to `index`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    /// The last index applied to it.
    pub index: LogIndex,
    /// The term of `index`.
    pub term: Term,
    /// The group's configuration at `index`.
    pub configuration: Configuration,
}

impl Message {
    /// Whether it announces a snapshot. The sender's node intercepts it and ships the state along; the
    /// receiver's node stages the state before it steps the message.
    pub fn is_snapshot(&self) -> bool {
        self.bytes.get(1) == Some(&(MessageType::MsgSnapshot as u8))
    }

    /// The kind of message, for logs and metrics.
    pub fn kind(&self) -> &'static str {
        let kind = self.bytes.get(1).and_then(|kind| MessageType::from_i32(i32::from(*kind)));
        kind.map_or("unknown", kind_name)
    }

    /// The head of a snapshot message.
    ///
    /// # Errors
    /// [`Malformed`] when it is no snapshot message, or not a sound one.
    pub fn snapshot_head(&self) -> Result<SnapshotHead, Malformed> {
        let message = open(self)?;
        if message.msg_type != MessageType::MsgSnapshot as i32 {
            return Err(Malformed::Impossible("no snapshot where one was expected"));
        }
        read_head(&message)
    }
}

/// `announced` with another head: the one of the state that the node really took, which may be newer
/// than what raft saw applied when it asked.
///
/// # Errors
/// [`Malformed`] when `announced` is no snapshot message, or its head is newer than `head`.
pub fn snapshot_message(announced: &Message, head: &SnapshotHead) -> Result<Message, Malformed> {
    if announced.snapshot_head()?.index > head.index {
        return Err(Malformed::Impossible("a snapshot older than announced"));
    }
    let mut message = open(announced)?;
    message.snapshot = Some(write_head(head));
    Ok(seal(announced.group, &message))
}

/// Puts a raft message into its envelope.
pub(crate) fn seal(group: GroupId, message: &eraftpb::Message) -> Message {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + message.encoded_len());
    bytes.put_u8(VERSION);
    bytes.put_u8(message.msg_type as u8);
    message.encode(&mut bytes).expect("a growing buffer has room");
    Message {
        group,
        from: ReplicaId(message.from),
        to: ReplicaId(message.to),
        bytes: bytes.freeze(),
    }
}

/// Takes a raft message out of its envelope. Only the envelope is checked.
pub(crate) fn open(message: &Message) -> Result<eraftpb::Message, Malformed> {
    let bytes = &message.bytes;
    match bytes.first() {
        Some(&VERSION) => {}
        Some(&found) => return Err(Malformed::Version { found, known: VERSION }),
        None => return Err(Malformed::Undecodable("it is empty".to_owned())),
    }
    let Some(kind) = bytes.get(1) else {
        return Err(Malformed::Undecodable("it ends after the version".to_owned()));
    };
    let inner = eraftpb::Message::decode(bytes.slice(HEADER_BYTES..))
        .map_err(|error| Malformed::Undecodable(error.to_string()))?;
    if inner.msg_type != i32::from(*kind) {
        return Err(Malformed::Impossible("envelope and message are of different kinds"));
    }
    if inner.from != message.from.0 || inner.to != message.to.0 {
        return Err(Malformed::Impossible("envelope and message name different replicas"));
    }
    Ok(inner)
}

/// A raft snapshot that is nothing but this head. Raft's own configuration field stays empty on the
/// wire; it is filled from the head on arrival ([`fill_conf_state`]).
pub(crate) fn write_head(head: &SnapshotHead) -> eraftpb::Snapshot {
    let data = serde_json::to_vec(&head.configuration).expect("sets of numbers become JSON");
    let metadata =
        eraftpb::SnapshotMetadata { conf_state: None, index: head.index.0, term: head.term.0 };
    eraftpb::Snapshot { data, metadata: Some(metadata) }
}

/// The head in a snapshot message, checked in itself.
pub(crate) fn read_head(message: &eraftpb::Message) -> Result<SnapshotHead, Malformed> {
    let Some(snapshot) = &message.snapshot else {
        return Err(Malformed::Impossible("a snapshot message without a snapshot"));
    };
    let Some(metadata) = &snapshot.metadata else {
        return Err(Malformed::Impossible("a snapshot without a head"));
    };
    if metadata.index == 0 || metadata.term == 0 || metadata.term > message.term {
        return Err(Malformed::Impossible("a snapshot of no state"));
    }
    let configuration: Configuration = serde_json::from_slice(&snapshot.data)
        .map_err(|error| Malformed::Undecodable(format!("snapshot configuration: {error}")))?;
    convert::check_configuration(&configuration).map_err(Malformed::Impossible)?;
    Ok(SnapshotHead { index: LogIndex(metadata.index), term: Term(metadata.term), configuration })
}

/// Fills raft's own configuration field, which panics in raft when wrong, from a checked head.
pub(crate) fn fill_conf_state(snapshot: &mut eraftpb::Snapshot, head: &SnapshotHead) {
    let metadata = snapshot.metadata.get_or_insert_with(Default::default);
    metadata.conf_state = Some(convert::conf_state(&head.configuration));
}

/// A word for a kind of message.
pub(crate) fn kind_name(kind: MessageType) -> &'static str {
    match kind {
        MessageType::MsgHup => "hup",
        MessageType::MsgBeat => "beat",
        MessageType::MsgPropose => "propose",
        MessageType::MsgAppend => "append",
        MessageType::MsgAppendResponse => "append-response",
        MessageType::MsgRequestVote => "vote",
        MessageType::MsgRequestVoteResponse => "vote-response",
        MessageType::MsgSnapshot => "snapshot",
        MessageType::MsgHeartbeat => "heartbeat",
        MessageType::MsgHeartbeatResponse => "heartbeat-response",
        MessageType::MsgUnreachable => "unreachable",
        MessageType::MsgSnapStatus => "snapshot-status",
        MessageType::MsgCheckQuorum => "check-quorum",
        MessageType::MsgTransferLeader => "transfer-leader",
        MessageType::MsgTimeoutNow => "timeout-now",
        MessageType::MsgReadIndex => "read-index",
        MessageType::MsgReadIndexResp => "read-index-response",
        MessageType::MsgRequestPreVote => "pre-vote",
        MessageType::MsgRequestPreVoteResponse => "pre-vote-response",
    }
}
