//! Raft messages as they cross the wire between nodes.

use flin_proto::peer::RaftMessage;
use flin_replica::Message;
use flin_state::ids::{GroupId, ReplicaId};

/// A raft message as it crosses the wire.
pub fn wire(message: Message) -> RaftMessage {
    RaftMessage {
        group: u32::from(message.group.0),
        from: message.from.0,
        to: message.to.0,
        message: message.bytes,
    }
}

/// The inverse of [`wire`]; `None` for a group that cannot be.
pub fn unwire(wire: RaftMessage) -> Option<Message> {
    Some(Message {
        group: GroupId(u16::try_from(wire.group).ok()?),
        from: ReplicaId(wire.from),
        to: ReplicaId(wire.to),
        bytes: wire.message,
    })
}
