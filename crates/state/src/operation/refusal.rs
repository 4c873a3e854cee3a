//! Why an operation did nothing.

use crate::codec::{Decoder, Malformed};
use crate::operation::{
    COMMAND_BYTES_MAX, KEY_BYTES_MAX, PATTERN_BYTES_MAX, REPLY_BYTES_MAX, VALUE_BYTES_MAX,
};

/// A deterministic answer to an operation that cannot be done; nothing was changed by it.
///
/// Displayed as the words that follow `ERR ` in Redis, where Redis has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A counter's value is not a decimal integer of 64 bits.
    #[error("value is not an integer or out of range")]
    NotAnInteger,
    /// The sum of a counter leaves 64 bits.
    #[error("increment or decrement would overflow")]
    Overflow,
    /// A key is longer than [`KEY_BYTES_MAX`].
    #[error("key exceeds maximum allowed size ({KEY_BYTES_MAX} bytes)")]
    KeyTooLong,
    /// A value is, or would become, longer than [`VALUE_BYTES_MAX`].
    #[error("string exceeds maximum allowed size ({VALUE_BYTES_MAX} bytes)")]
    ValueTooLong,
    /// A pattern is longer than [`PATTERN_BYTES_MAX`].
    #[error("pattern exceeds maximum allowed size ({PATTERN_BYTES_MAX} bytes)")]
    PatternTooLong,
    /// A negative offset.
    #[error("offset is out of range")]
    OffsetOutOfRange,
    /// A life that is not positive where it must be, or ends beyond the end of time.
    #[error("invalid expire time")]
    InvalidExpire,
    /// A batch inside a batch.
    #[error("a batch cannot hold another batch")]
    NestedBatch,
    /// The writes of one command touch more than [`COMMAND_BYTES_MAX`] bytes of values.
    #[error("too much data in one batch (limit {COMMAND_BYTES_MAX} bytes), use smaller ones")]
    BatchTooLarge,
    /// The answer is larger than [`REPLY_BYTES_MAX`].
    #[error("reply exceeds maximum allowed size ({REPLY_BYTES_MAX} bytes), ask for fewer keys")]
    ReplyTooLarge,
}

impl Refusal {
    /// The words as Redis says them to the command `name` (in lower case): some name the command.
    pub fn words_for(&self, name: &str) -> String {
        match self {
            Refusal::InvalidExpire => format!("{self} in '{name}' command"),
            _ => self.to_string(),
        }
    }

    pub(super) fn number(self) -> u8 {
        match self {
            Refusal::NotAnInteger => 1,
            Refusal::Overflow => 2,
            Refusal::KeyTooLong => 3,
            Refusal::ValueTooLong => 4,
            Refusal::PatternTooLong => 5,
            Refusal::OffsetOutOfRange => 6,
            Refusal::InvalidExpire => 7,
            Refusal::NestedBatch => 8,
            Refusal::BatchTooLarge => 9,
            Refusal::ReplyTooLarge => 10,
        }
    }

    pub(super) fn take(input: &mut Decoder) -> Result<Self, Malformed> {
        let error = input.expected("refusal");
        Ok(match input.byte()? {
            1 => Refusal::NotAnInteger,
            2 => Refusal::Overflow,
            3 => Refusal::KeyTooLong,
            4 => Refusal::ValueTooLong,
            5 => Refusal::PatternTooLong,
            6 => Refusal::OffsetOutOfRange,
            7 => Refusal::InvalidExpire,
            8 => Refusal::NestedBatch,
            9 => Refusal::BatchTooLarge,
            10 => Refusal::ReplyTooLarge,
            _ => return Err(error),
        })
    }
}
