//! A transfer at its sender: the frames that the receiver may still ask for again.

use std::collections::VecDeque;

use flin_proto::peer::snapshot_frame::Frame;
use flin_proto::peer::{SnapshotFrame, SnapshotHead};

use super::read::pair_bytes;

/// What each pair costs in memory beside its bytes: two handles and two allocations.
const PAIR_OVERHEAD_BYTES: usize = 128;

/// What a sender calls one transfer, drawn at random, so that a restart does not repeat one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferId(pub u64);

/// The receiver acknowledges what it was not sent, or takes an acknowledgement back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the receiver says it has {taken} frames; {known} were acknowledged and {sent} sent")]
pub struct Misled {
    taken: u64,
    known: u64,
    sent: u64,
}

/// A transfer that the receiver has not decided about. It begins with [`Outgoing::open`] on each connection.
pub struct Outgoing {
    head: SnapshotHead,
    /// The frames after those that are acknowledged, in order: first those sent, then those to be sent.
    kept: VecDeque<SnapshotFrame>,
    kept_bytes: usize,
    kept_bytes_max: usize,
    /// Frames that are acknowledged.
    taken: u64,
    /// Frames sent, over all connections.
    sent: u64,
    /// Where this connection is, once the receiver has said where it begins.
    at: Option<u64>,
    /// Whether the receiver has ever said so.
    begun: bool,
    ended: bool,
}

impl Outgoing {
    /// A transfer that begins with `head`, and keeps at most about `kept_bytes_max` of memory and one frame
    /// beyond. `None` if that is no head.
    pub fn new(id: TransferId, head: SnapshotFrame, kept_bytes_max: usize) -> Option<Self> {
        let Some(Frame::Head(head)) = head.frame else { return None };
        Some(Outgoing {
            head: SnapshotHead { transfer: id.0, ..head },
            kept: VecDeque::new(),
            kept_bytes: 0,
            kept_bytes_max,
            taken: 0,
            sent: 0,
            at: None,
            begun: false,
            ended: false,
        })
    }

    /// The first frame of a new connection. Nothing follows it before the receiver has said what it has.
    pub fn open(&mut self) -> SnapshotFrame {
        self.at = None;
        let head = SnapshotHead { resumed: self.begun, ..self.head.clone() };
        SnapshotFrame { frame: Some(Frame::Head(head)), sequence: 0 }
    }

    /// Whether the receiver knows the transfer, so that it can go on over another connection.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether one more frame may be kept.
    pub fn has_room(&self) -> bool {
        self.kept_bytes < self.kept_bytes_max && !self.ended
    }

    /// Keeps the next frame until it is acknowledged.
    pub fn push(&mut self, frame: SnapshotFrame) {
        assert_eq!(frame.sequence, self.taken + self.kept.len() as u64 + 1, "frames come in order");
        self.ended = matches!(frame.frame, Some(Frame::End(_)));
        self.kept_bytes += memory_bytes(&frame);
        self.kept.push_back(frame);
    }

    /// The frame to be sent next on this connection, if there is one.
    pub fn next(&self) -> Option<&SnapshotFrame> {
        let behind = usize::try_from(self.at? - self.taken).ok()?;
        self.kept.get(behind)
    }

    /// Takes the frame to be sent next, and how many bytes of it leave for the first time.
    pub fn send(&mut self) -> Option<(SnapshotFrame, u64)> {
        let frame = self.next()?.clone();
        let at = self.at.as_mut()?;
        *at += 1;
        let fresh = *at > self.sent;
        self.sent = self.sent.max(*at);
        let bytes = if fresh { pair_bytes(&frame) } else { 0 };
        Some((frame, bytes))
    }

    /// The receiver has `taken` frames: forgets them, and returns how many bytes of them were not known to have
    /// arrived. The first answer on a connection says where it goes on.
    ///
    /// # Errors
    /// [`Misled`], and nothing has changed.
    pub fn acknowledge(&mut self, taken: u64) -> Result<u64, Misled> {
        let sent = self.at.unwrap_or(self.sent);
        if taken < self.taken || taken > sent {
            return Err(Misled { taken, known: self.taken, sent });
        }
        self.begun = true;
        self.at.get_or_insert(taken);
        let mut bytes = 0;
        while self.taken < taken {
            let frame = self.kept.pop_front().expect("every frame that was sent is kept");
            self.kept_bytes -= memory_bytes(&frame);
            bytes += pair_bytes(&frame);
            self.taken += 1;
        }
        Ok(bytes)
    }

    /// Frames that are acknowledged.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether the receiver owes an answer on this connection: what it has, or once it has everything, the decision.
    pub fn awaits_answer(&self) -> bool {
        self.at.is_none_or(|at| at > self.taken) || self.is_all_taken()
    }

    /// Whether the receiver has everything, up to the end.
    pub fn is_all_taken(&self) -> bool {
        self.ended && self.kept.is_empty()
    }

    /// Whether there is nothing left to send on this connection, up to the end.
    pub fn is_all_sent(&self) -> bool {
        self.ended && self.at.is_some() && self.next().is_none()
    }
}

fn memory_bytes(frame: &SnapshotFrame) -> usize {
    let pairs = match &frame.frame {
        Some(Frame::Pairs(pairs)) => pairs.keys.len(),
        _ => 0,
    };
    usize::try_from(pair_bytes(frame)).unwrap_or(usize::MAX) + pairs * PAIR_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::super::tests::frames;
    use super::*;

    const FRAME: u64 = 256 << 10;

    /// A transfer of `count` full frames with room for all of them, and the frames after the head.
    fn outgoing(count: u8) -> (Outgoing, Vec<SnapshotFrame>) {
        let mut frames = frames(count);
        let head = frames.remove(0);
        (Outgoing::new(TransferId(7), head, 64 << 20).unwrap(), frames)
    }

    fn resumed(frame: &SnapshotFrame) -> bool {
        let Some(Frame::Head(head)) = &frame.frame else {
            panic!("a connection begins with a head")
        };
        assert_eq!((head.transfer, frame.sequence), (7, 0));
        head.resumed
    }

    /// Sends all that can be sent; returns the numbers of the frames.
    fn send_all(outgoing: &mut Outgoing) -> Vec<u64> {
        std::iter::from_fn(|| outgoing.send().map(|(frame, _)| frame.sequence)).collect()
    }

    #[test]
    fn nothing_leaves_before_the_receiver_has_said_what_it_has() {
        let (mut outgoing, frames) = outgoing(2);
        assert!(!resumed(&outgoing.open()));
        frames.into_iter().for_each(|frame| outgoing.push(frame));
        assert!(outgoing.send().is_none() && outgoing.awaits_answer());
        outgoing.acknowledge(0).unwrap();
        assert!(!outgoing.awaits_answer());
        assert_eq!(send_all(&mut outgoing), [1, 2, 3, 4]);
        assert!(outgoing.is_all_sent() && outgoing.awaits_answer());
        outgoing.acknowledge(3).unwrap();
        assert!(!outgoing.is_all_taken());
        // Everything is there, but for the decision.
        outgoing.acknowledge(4).unwrap();
        assert!(outgoing.is_all_taken() && outgoing.awaits_answer());
    }

    #[test]
    fn next_connection_goes_on_behind_what_the_receiver_has() {
        let (mut outgoing, frames) = outgoing(4);
        frames.into_iter().for_each(|frame| outgoing.push(frame));
        outgoing.open();
        outgoing.acknowledge(0).unwrap();
        assert_eq!(send_all(&mut outgoing), [1, 2, 3, 4, 5, 6]);
        outgoing.acknowledge(2).unwrap();
        // The receiver had taken one more, whose acknowledgement was lost with the connection.
        assert!(resumed(&outgoing.open()));
        assert!(outgoing.send().is_none());
        assert_eq!(outgoing.acknowledge(3), Ok(FRAME + key_bytes()));
        assert_eq!(send_all(&mut outgoing), [4, 5, 6]);
    }

    #[test]
    fn transfer_that_the_receiver_never_answered_begins_at_the_beginning() {
        let (mut outgoing, frames) = outgoing(1);
        frames.into_iter().for_each(|frame| outgoing.push(frame));
        outgoing.open();
        assert!(!outgoing.has_begun());
        assert!(!resumed(&outgoing.open()));
        outgoing.acknowledge(0).unwrap();
        assert!(outgoing.has_begun());
        assert_eq!(send_all(&mut outgoing), [1, 2, 3]);
    }

    #[test]
    fn frames_sent_again_count_once() {
        let (mut outgoing, frames) = outgoing(2);
        frames.into_iter().for_each(|frame| outgoing.push(frame));
        let mut fresh = 0;
        for _ in 0..3 {
            outgoing.open();
            outgoing.acknowledge(0).unwrap();
            fresh += std::iter::from_fn(|| outgoing.send()).map(|(_, bytes)| bytes).sum::<u64>();
        }
        assert_eq!(fresh, 2 * (FRAME + key_bytes()));
    }

    #[test]
    fn what_is_kept_is_bounded_and_acknowledging_makes_room() {
        let mut frames = frames(8).into_iter();
        let head = frames.next().unwrap();
        let max = 1 << 20;
        let mut outgoing = Outgoing::new(TransferId(7), head, max).unwrap();
        outgoing.open();
        outgoing.acknowledge(0).unwrap();
        let mut pushed = 0;
        while outgoing.has_room() {
            outgoing.push(frames.next().unwrap());
            pushed += 1;
        }
        assert_eq!(pushed, 4);
        send_all(&mut outgoing);
        outgoing.acknowledge(1).unwrap();
        assert!(outgoing.has_room());
        // A value larger than all that may be kept passes too.
        let (mut small, frames) = self::outgoing(1);
        small.kept_bytes_max = 1;
        assert!(small.has_room());
        small.push(frames[0].clone());
        assert!(!small.has_room());
    }

    #[test]
    fn receiver_that_has_what_it_was_not_sent_is_not_believed() {
        let (mut outgoing, frames) = outgoing(3);
        frames.into_iter().for_each(|frame| outgoing.push(frame));
        outgoing.open();
        assert!(outgoing.acknowledge(1).is_err());
        outgoing.acknowledge(0).unwrap();
        outgoing.send();
        outgoing.send();
        assert!(outgoing.acknowledge(3).is_err());
        outgoing.acknowledge(2).unwrap();
        assert_eq!(outgoing.acknowledge(1), Err(Misled { taken: 1, known: 2, sent: 2 }));
        // Nor one that lost what it had.
        outgoing.open();
        assert!(outgoing.acknowledge(1).is_err());
    }

    fn key_bytes() -> u64 {
        super::super::tests::key(0).len() as u64
    }
}
