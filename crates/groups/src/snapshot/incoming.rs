//! A transfer at its receiver: what of it is staged, and which frame goes on from there.

use flin_proto::peer::SnapshotFrame;
use flin_proto::peer::snapshot_frame::Frame;
use flin_replica::Message;
use flin_state::engine::Engine;
use flin_state::ids::{GroupId, NodeId};

use super::outgoing::TransferId;
use super::staging::{Progress, StageError, Staging, announced, stage_name};

/// Which transfer it is, over however many connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What the sender calls it.
    pub transfer: TransferId,
    /// The node that sends.
    pub sender: NodeId,
    /// The raft message that raft is shown in the end. It names the group, and the state by its index.
    pub message: Message,
}

/// How a connection begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The transfer that it carries.
    pub identity: Identity,
    /// Whether the sender counts on what the receiver has already.
    pub resumed: bool,
}

/// The first frame of a connection that `sender` made.
///
/// # Errors
/// [`StageError`], for a first frame that is none or that this version cannot read.
pub fn opened(sender: NodeId, first: Option<SnapshotFrame>) -> Result<Opening, StageError> {
    let (transfer, resumed) = match &first {
        Some(SnapshotFrame { frame: Some(Frame::Head(head)), .. }) => (head.transfer, head.resumed),
        _ => return Err(StageError::NoHead),
    };
    let message = announced(first)?;
    let identity = Identity { transfer: TransferId(transfer), sender, message };
    Ok(Opening { identity, resumed })
}

/// A transfer that is not complete. Connections come and go; dropped, it leaves nothing that could be installed.
pub struct Incoming {
    identity: Identity,
    staging: Staging,
    taken: u64,
}

/// What became of a transfer by one more frame.
pub enum Step {
    /// There is more to come.
    More(Incoming),
    /// All of it is staged and durable.
    Complete(Identity),
}

impl Incoming {
    /// Begins to stage a transfer; what was staged of its group before is discarded.
    ///
    /// # Errors
    /// That of the engine.
    pub fn begin(engine: &dyn Engine, identity: Identity) -> Result<Incoming, StageError> {
        let staging = Staging::begin(engine, identity.message.group)?;
        Ok(Incoming { identity, staging, taken: 0 })
    }

    /// Which transfer this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How many frames after the head are staged: the sender goes on behind them.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes the next frame after those that were [`taken`](Incoming::taken).
    ///
    /// # Errors
    /// [`StageError`]; nothing of the transfer can be installed then.
    pub fn take(self, frame: SnapshotFrame) -> Result<Step, StageError> {
        let wanted = self.taken + 1;
        if frame.sequence != wanted {
            return Err(StageError::OutOfOrder { wanted, found: frame.sequence });
        }
        let Incoming { identity, staging, .. } = self;
        Ok(match staging.take(frame.frame.ok_or(StageError::Malformed)?)? {
            Progress::More(staging) => Step::More(Incoming { identity, staging, taken: wanted }),
            Progress::Complete => Step::Complete(identity),
        })
    }
}

/// Frees what a transfer took on the disk that was given up. One that is complete is raft's to discard.
///
/// # Errors
/// That of the engine.
pub fn discard(engine: &dyn Engine, group: GroupId) -> Result<(), StageError> {
    Ok(engine.discard_stage(&stage_name(group))?)
}

#[cfg(test)]
mod tests {
    use flin_engine::memory::MemoryEngine;
    use flin_state::engine::Reader;
    use flin_state::keys::group_range;

    use super::super::tests::{GROUP, frames, key, message};
    use super::*;

    fn identity() -> Identity {
        Identity { transfer: TransferId(7), sender: NodeId(1), message: message(0) }
    }

    /// Takes frames for as long as the transfer is not complete.
    fn take_all(mut incoming: Incoming, frames: &[SnapshotFrame]) -> Result<Step, StageError> {
        for frame in frames {
            match incoming.take(frame.clone())? {
                Step::More(more) => incoming = more,
                Step::Complete(identity) => return Ok(Step::Complete(identity)),
            }
        }
        Ok(Step::More(incoming))
    }

    fn install(engine: &MemoryEngine) -> flin_state::engine::Result<()> {
        let (from, to) = group_range(GROUP);
        engine.install(&stage_name(GROUP), &from, &to)
    }

    #[test]
    fn transfer_in_two_parts_is_the_whole_state_under_one_checksum() {
        let engine = MemoryEngine::new();
        let frames = frames(4);
        let incoming = Incoming::begin(&engine, identity()).unwrap();
        let Ok(Step::More(half)) = take_all(incoming, &frames[1..3]) else { panic!("half of it") };
        assert_eq!((half.taken(), half.identity()), (2, &identity()));
        let Ok(Step::Complete(whole)) = take_all(half, &frames[3..]) else { panic!("all of it") };
        assert_eq!(whole, identity());
        install(&engine).unwrap();
        for i in 0..4 {
            assert_eq!(engine.get(&key(i)).unwrap().map(|value| value.len()), Some(256 << 10));
        }
    }

    #[test]
    fn damage_before_the_break_is_noticed_at_the_end() {
        let engine = MemoryEngine::new();
        let mut frames = frames(3);
        let Some(Frame::Pairs(pairs)) = &mut frames[1].frame else { panic!("pairs") };
        pairs.values[0] = vec![b'y'; 256 << 10].into();
        let incoming = Incoming::begin(&engine, identity()).unwrap();
        let Ok(Step::More(half)) = take_all(incoming, &frames[1..3]) else { panic!("half of it") };
        assert!(matches!(take_all(half, &frames[3..]), Err(StageError::Damaged)));
        assert!(install(&engine).is_err());
    }

    #[test]
    fn frame_that_is_missing_or_comes_twice_is_refused() {
        for (at, found) in [(1, 1), (3, 3)] {
            let engine = MemoryEngine::new();
            let frames = frames(3);
            let incoming = Incoming::begin(&engine, identity()).unwrap();
            let Ok(Step::More(incoming)) = take_all(incoming, &frames[1..2]) else {
                panic!("a frame")
            };
            let refused = incoming.take(frames[at].clone()).err().unwrap();
            let StageError::OutOfOrder { wanted: 2, found: came } = refused else {
                panic!("{refused}")
            };
            assert_eq!(came, found);
        }
    }

    #[test]
    fn transfer_given_up_leaves_nothing_to_install() {
        let engine = MemoryEngine::new();
        let incoming = Incoming::begin(&engine, identity()).unwrap();
        let Ok(Step::More(half)) = take_all(incoming, &frames(3)[1..3]) else {
            panic!("half of it")
        };
        drop(half);
        discard(&engine, GROUP).unwrap();
        assert!(install(&engine).is_err());
    }

    #[test]
    fn connection_says_which_transfer_it_carries() {
        let mut head = frames(1).remove(0);
        let Some(Frame::Head(said)) = &mut head.frame else { panic!("a head") };
        (said.transfer, said.resumed) = (7, true);
        let opening = opened(NodeId(1), Some(head)).unwrap();
        assert_eq!(opening, Opening { identity: identity(), resumed: true });
        assert!(matches!(opened(NodeId(1), None), Err(StageError::NoHead)));
        let pairs = frames(1).remove(1);
        assert!(matches!(opened(NodeId(1), Some(pairs)), Err(StageError::NoHead)));
    }
}
