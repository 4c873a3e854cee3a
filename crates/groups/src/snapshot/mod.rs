//! The state of one group as frames: read from one view of an engine, staged beside another.
//!
//! The raft index in the head and the content agree, since both come from the same view ([`read`]). The receiver
//! checks count and checksum and makes the stage durable before raft sees the message: raft decides whether it
//! is wanted ([`staging`]).
//!
//! Connections break, and a state may be large: a transfer outlives its connection. Frames are numbered; the
//! receiver says how many it has staged, and the sender keeps those in between, within a limit, and goes on
//! behind what the receiver says it has ([`outgoing`], [`incoming`]). What identifies a transfer is the number
//! that its sender chose, the sender, and the raft message, never the connection. Both ends live in memory
//! only: after a restart of either a transfer begins anew.
//!
//! A receiver may be slow for as long as it takes a state to arrive at a least rate, and no longer
//! ([`patience`]).
//!
//! ```text
//! sender                                       receiver
//! head (transfer 7)          ───────────────>  begins a stage
//!                            <───────────────  taken 0
//! pairs 1, pairs 2, pairs 3  ───────────────>
//!                            <───────────────  taken 1
//!         ╳ the connection breaks; the sender keeps 2 and 3, the receiver its stage (it has 2)
//! head (transfer 7, resumed) ───────────────>
//!                            <───────────────  taken 2
//! pairs 3, pairs 4, end 5    ───────────────>
//!                            <───────────────  taken 3, 4, 5; decided, once raft has decided
//! ```

mod incoming;
mod outgoing;
mod patience;
mod read;
mod staging;

pub use incoming::{Identity, Incoming, Opening, Step, discard, opened};
pub use outgoing::{Misled, Outgoing, TransferId};
pub use patience::Patience;
pub use read::{Framing, ReadError, pair_bytes, read_frames};
pub(crate) use staging::stage_name;
pub use staging::{Progress, StageError, Staging, announced};

/// The version of the frames; a receiver refuses one it does not know.
pub const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    //! What the tests of both ends begin with.

    use bytes::Bytes;
    use flin_proto::peer::SnapshotFrame;
    use flin_replica::Message;
    use flin_state::ids::{GroupId, ReplicaId};
    use flin_state::keys::group_range;

    use super::read::Framing;

    /// The group whose state travels.
    pub(super) const GROUP: GroupId = GroupId(3);

    /// A message that announces a snapshot; `mark` tells it from others.
    pub(super) fn message(mark: u8) -> Message {
        // The version of the envelope and raft's number for the kind.
        let bytes = Bytes::copy_from_slice(&[1, 7, mark]);
        Message { group: GROUP, from: ReplicaId(1), to: ReplicaId(2), bytes }
    }

    /// The frames of a state of `count` values, each of which fills a frame: the head, one per value, one with no
    /// pairs, and the end.
    pub(super) fn frames(count: u8) -> Vec<SnapshotFrame> {
        let value = vec![b'x'; 256 << 10];
        let (mut framing, head) = Framing::begin(message(0));
        let mut frames = vec![head];
        for i in 0..count {
            frames.extend(framing.add(&key(i), &value));
        }
        frames.extend(framing.end());
        frames
    }

    /// A key of the group.
    pub(super) fn key(i: u8) -> Vec<u8> {
        let (mut key, _) = group_range(GROUP);
        key.push(i);
        key
    }
}
