//! A group's state as its sender reads it: frames out of one view of the engine.

use std::ops::ControlFlow;

use bytes::Bytes;
use flin_proto::peer::snapshot_frame::Frame;
use flin_proto::peer::{SnapshotEnd, SnapshotFrame, SnapshotHead, SnapshotPairs};
use flin_replica::{Message, snapshot_message};
use flin_state::engine::{Engine, EngineError, Reader};
use flin_state::ids::GroupId;
use flin_state::keys::{GroupState, group_range};

use super::FORMAT;
use super::staging::Checksum;
use crate::wire::wire;

/// Pairs are sent in frames of about this size.
const FRAME_BYTES: usize = 256 << 10;

/// Why the state of a group could not be read for a follower.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The engine failed.
    #[error("read the state")]
    Engine(#[from] EngineError),
    /// There is no such group here.
    #[error("group {0} has no state here")]
    NoState(GroupId),
    /// The message that announces the snapshot is not one of raft's.
    #[error("rewrite the message: {0}")]
    Message(String),
}

/// Gives every frame of the state of the group that `message` is about to `take`, until that answers false. The
/// view of the engine stays open until then.
///
/// # Errors
/// [`ReadError`]; the frames taken until then are worthless.
pub fn read_frames(
    engine: &dyn Engine,
    message: &Message,
    take: &mut dyn FnMut(SnapshotFrame) -> bool,
) -> Result<(), ReadError> {
    let mut outcome = Ok(());
    engine.with_snapshot(&mut |reader| {
        outcome = read_view(reader, message, take);
        Ok(())
    })?;
    outcome
}

fn read_view(
    reader: &dyn Reader,
    message: &Message,
    take: &mut dyn FnMut(SnapshotFrame) -> bool,
) -> Result<(), ReadError> {
    let group = message.group;
    let state = GroupState::load(reader, group)?.ok_or(ReadError::NoState(group))?;
    let head = flin_replica::SnapshotHead {
        index: state.applied,
        term: state.applied_term,
        configuration: state.configuration,
    };
    let message =
        snapshot_message(message, &head).map_err(|error| ReadError::Message(error.to_string()))?;
    let (mut framing, head) = Framing::begin(message);
    if !take(head) {
        return Ok(());
    }
    let (from, to) = group_range(group);
    let mut gone = false;
    reader.scan(&from, &to, &mut |key, value| {
        if let Some(frame) = framing.add(key, value) {
            gone = !take(frame);
        }
        if gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if !gone {
        // Whoever takes no more has no use for the end either.
        let _ = framing.end().into_iter().all(take);
    }
    Ok(())
}

/// Pairs on their way into frames, numbered and summed up.
pub struct Framing {
    pairs: SnapshotPairs,
    bytes: usize,
    count: u64,
    checksum: Checksum,
    sequence: u64,
}

impl Framing {
    /// Begins the state that `message` announces, with its head.
    pub fn begin(message: Message) -> (Framing, SnapshotFrame) {
        let head =
            SnapshotHead { message: Some(wire(message)), format: FORMAT, ..Default::default() };
        let framing = Framing {
            pairs: SnapshotPairs::default(),
            bytes: 0,
            count: 0,
            checksum: Checksum::default(),
            sequence: 0,
        };
        (framing, SnapshotFrame { frame: Some(Frame::Head(head)), sequence: 0 })
    }

    /// Adds a pair, in ascending order of keys, and returns the frame that it fills.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> Option<SnapshotFrame> {
        self.checksum.add(key, value);
        self.count += 1;
        self.bytes += key.len() + value.len();
        self.pairs.keys.push(Bytes::copy_from_slice(key));
        self.pairs.values.push(Bytes::copy_from_slice(value));
        (self.bytes >= FRAME_BYTES).then(|| self.filled())
    }

    /// The last pairs and the end.
    pub fn end(mut self) -> [SnapshotFrame; 2] {
        let end = SnapshotEnd { pairs: self.count, checksum: self.checksum.value() };
        let pairs = self.filled();
        [pairs, self.numbered(Frame::End(end))]
    }

    fn filled(&mut self) -> SnapshotFrame {
        self.bytes = 0;
        let pairs = std::mem::take(&mut self.pairs);
        self.numbered(Frame::Pairs(pairs))
    }

    fn numbered(&mut self, frame: Frame) -> SnapshotFrame {
        self.sequence += 1;
        SnapshotFrame { frame: Some(frame), sequence: self.sequence }
    }
}

/// The keys and values of a frame, in bytes.
pub fn pair_bytes(frame: &SnapshotFrame) -> u64 {
    let Some(Frame::Pairs(pairs)) = &frame.frame else { return 0 };
    pairs.keys.iter().chain(&pairs.values).map(|part| part.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::super::tests::frames;
    use super::*;

    #[test]
    fn frames_are_numbered_from_the_head_without_gaps() {
        let frames = frames(3);
        let sequences: Vec<u64> = frames.iter().map(|frame| frame.sequence).collect();
        assert_eq!(sequences, [0, 1, 2, 3, 4, 5]);
        assert!(matches!(frames[0].frame, Some(Frame::Head(_))));
        assert!(matches!(frames[5].frame, Some(Frame::End(_))));
    }
}
