//! The contexts of read requests.
//!
//! raft-rs keeps waiting requests by their context, whoever asked, and drops a second one of the same
//! context: its asker would get the index of the first, which may be older than its question. So a
//! context names the replica and its incarnation, and ascends within it.
//!
//! ```text
//! 0   8 bytes  the incarnation, from the seed
//! 8   8 bytes  the replica
//! 16  8 bytes  the caller's context
//! ```
//! All big-endian.

use flin_state::ids::{LogIndex, ReplicaId};

use crate::admission::READ_CONTEXT_BYTES;
use crate::error::ReadIndexError;
use crate::ready::ReadState;
use crate::timeout::mix;

const MARK_BYTES: usize = 16;

/// Writes and recognizes this incarnation's contexts.
pub(super) struct Reads {
    mark: [u8; MARK_BYTES],
    last: Option<u64>,
}

impl Reads {
    pub fn new(replica: ReplicaId, seed: u64) -> Self {
        let mut mark = [0; MARK_BYTES];
        mark[..8].copy_from_slice(&mix(!seed).to_be_bytes());
        mark[8..].copy_from_slice(&replica.0.to_be_bytes());
        Reads { mark, last: None }
    }

    /// The context on the wire for the caller's.
    pub fn ask(&mut self, context: u64) -> Result<Vec<u8>, ReadIndexError> {
        if self.last.is_some_and(|last| context <= last) {
            return Err(ReadIndexError::ContextReused);
        }
        self.last = Some(context);
        let mut wire = Vec::with_capacity(READ_CONTEXT_BYTES);
        wire.extend_from_slice(&self.mark);
        wire.extend_from_slice(&context.to_be_bytes());
        Ok(wire)
    }

    /// The answer, if it is one to this incarnation.
    pub fn answer(&self, state: raft::ReadState) -> Option<ReadState> {
        let own = state.request_ctx.strip_prefix(&self.mark)?;
        let context = u64::from_be_bytes(own.try_into().ok()?);
        Some(ReadState { context, index: LogIndex(state.index) })
    }
}
