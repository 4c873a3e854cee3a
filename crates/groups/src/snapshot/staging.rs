//! A group's state as its receiver stages it: nothing of it counts before all of it is there, checked and
//! durable.

use flin_mutant::{Bug, is};
use flin_proto::peer::snapshot_frame::Frame;
use flin_proto::peer::{SnapshotEnd, SnapshotFrame, SnapshotPairs};
use flin_replica::Message;
use flin_state::engine::{Engine, EngineError, Stage};
use flin_state::ids::GroupId;
use flin_state::keys::group_range;

use super::FORMAT;
use crate::wire::unwire;

/// Why a snapshot is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The first frame is not a head.
    #[error("a snapshot begins with its head")]
    NoHead,
    /// A later version wrote it.
    #[error("snapshot format {0} is not known here, only {FORMAT}; upgrade this node first")]
    Format(u32),
    /// The head does not say what it is the head of.
    #[error("the head carries no snapshot message")]
    NoMessage,
    /// A frame is missing, or comes twice.
    #[error("frame {found} came where frame {wanted} was expected")]
    OutOfOrder {
        /// The one that would be next.
        wanted: u64,
        /// The one that came.
        found: u64,
    },
    /// A frame that cannot come here.
    #[error("a malformed snapshot frame")]
    Malformed,
    /// Content of another group.
    #[error("a key outside the group")]
    Foreign,
    /// Count or checksum differ.
    #[error("the snapshot arrived damaged")]
    Damaged,
    /// The engine failed.
    #[error("stage a snapshot")]
    Engine(#[from] EngineError),
}

/// The raft message of a snapshot's first frame.
///
/// # Errors
/// [`StageError`], for a first frame that is none or that this version cannot read.
pub fn announced(first: Option<SnapshotFrame>) -> Result<Message, StageError> {
    let Some(SnapshotFrame { frame: Some(Frame::Head(head)), .. }) = first else {
        return Err(StageError::NoHead);
    };
    if head.format != FORMAT {
        return Err(StageError::Format(head.format));
    }
    head.message.and_then(unwire).filter(Message::is_snapshot).ok_or(StageError::NoMessage)
}

/// A snapshot on its way into an engine's stage. Dropped before its end it leaves nothing that could be
/// installed.
pub struct Staging {
    /// The first key of the group and the first beyond it.
    range: (Vec<u8>, Vec<u8>),
    stage: Box<dyn Stage + Send>,
    count: u64,
    checksum: Checksum,
}

/// What became of a snapshot by one more frame.
pub enum Progress {
    /// There is more to come.
    More(Staging),
    /// It is complete and durable.
    Complete,
}

impl Staging {
    /// Begins to stage the state of `group`; what was staged of it before is discarded.
    ///
    /// # Errors
    /// That of the engine.
    pub fn begin(engine: &dyn Engine, group: GroupId) -> Result<Staging, StageError> {
        let stage = engine.stage(&stage_name(group))?;
        Ok(Staging { range: group_range(group), stage, count: 0, checksum: Checksum::default() })
    }

    /// Takes the next frame after the head.
    ///
    /// # Errors
    /// [`StageError`]; nothing of the snapshot can be installed then.
    pub fn take(mut self, frame: Frame) -> Result<Progress, StageError> {
        match frame {
            Frame::Pairs(SnapshotPairs { keys, values }) if keys.len() == values.len() => {
                let (from, to) = &self.range;
                for (key, value) in keys.iter().zip(&values) {
                    if **key < from[..] || **key >= to[..] {
                        return Err(StageError::Foreign);
                    }
                    self.checksum.add(key, value);
                    self.count += 1;
                    self.stage.put(key, value)?;
                }
                Ok(Progress::More(self))
            }
            Frame::End(end) if self.is_whole(&end) || is(Bug::TrustSnapshots) => {
                self.stage.finish()?;
                Ok(Progress::Complete)
            }
            Frame::End(_) => Err(StageError::Damaged),
            Frame::Pairs(_) | Frame::Head(_) => Err(StageError::Malformed),
        }
    }

    fn is_whole(&self, end: &SnapshotEnd) -> bool {
        end.pairs == self.count && end.checksum == self.checksum.value()
    }
}

/// The name under which a group's snapshot is staged in the engine.
pub(crate) fn stage_name(group: GroupId) -> String {
    format!("group-{group}")
}

/// CRC-32 over every key and value, each behind its length.
#[derive(Default)]
pub(super) struct Checksum(crc32fast::Hasher);

impl Checksum {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            let length = u32::try_from(part.len()).expect("keys and values are far below 4 GiB");
            self.0.update(&length.to_le_bytes());
            self.0.update(part);
        }
    }

    pub(super) fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}
