//! What one entry of a replicated log holds, and what apply is given of it.

use bytes::Bytes;

use crate::codec::{Decoder, Malformed, put_all, put_varint};
use crate::ids::{LogIndex, Term, Timestamp};
use crate::membership::Configuration;
use crate::operation::Write;

/// The version of the envelope that this build writes and reads.
const VERSION: u8 = 1;

/// One entry of a partition's log: the writes of any number of clients, applied in order at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The leader's clock when it proposed this. Apply never goes back behind an earlier stamp.
    pub stamp: Timestamp,
    /// The writes, first to last.
    pub writes: Vec<Write>,
}

impl Command {
    /// The binary form.
    pub fn encode(&self) -> Bytes {
        let size: usize = self.writes.iter().map(Write::size_bytes).sum();
        let mut out = Vec::with_capacity(24 + size);
        out.push(VERSION);
        put_varint(&mut out, self.stamp.0);
        put_all(&mut out, &self.writes);
        Bytes::from(out)
    }

    /// The inverse of [`Command::encode`]; keys and values share the memory of `bytes`.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown version or operation and for damage. In a committed entry the node
    /// stops: a newer build wrote it, and to skip it would let replicas differ.
    pub fn decode(bytes: Bytes) -> Result<Command, Malformed> {
        let mut input = Decoder::new(bytes);
        input.version(VERSION)?;
        let stamp = Timestamp(input.varint()?);
        let writes = input.list(0)?;
        input.end()?;
        Ok(Command { stamp, writes })
    }
}

/// A committed entry as apply takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed<C> {
    /// Its position, one after the last one applied.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// What it does.
    pub content: Content<C>,
}

/// What a committed entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<C> {
    /// Nothing: the entry that a leader begins its term with.
    Nothing,
    /// A command of the group's state machine.
    Command(C),
    /// The group has this configuration from here on.
    Configuration(Configuration),
}
