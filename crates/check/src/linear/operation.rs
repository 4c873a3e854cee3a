//! What a client did to the keys of one object, and what it was told.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a key holds.
pub type Value = i64;

/// A key within its object.
pub type Key = u8;

/// One thing that a client did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Who sent it; one connection is one client.
    pub client: u32,
    /// The keys that operations touch together (a hash tag). Objects are judged one by one.
    pub object: u32,
    /// When the request was sent.
    pub from_us: u64,
    /// When the answer came. `None`: no answer, or the answer "outcome unknown"; it may take effect
    /// at any later time, or never.
    pub to_us: Option<u64>,
    /// What was asked.
    pub action: Action,
    /// What was answered; `None` exactly when `to_us` is. What surely failed is not recorded.
    pub answer: Option<Answer>,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// One atomic read of several keys of the object. Answer: [`Answer::Values`].
    Get(Vec<Key>),
    /// One atomic write; what it puts lives for ever (SET, MSET). Answer: [`Answer::Done`].
    Put {
        /// What goes where; of two pairs with one key the later counts.
        pairs: Vec<(Key, Value)>,
    },
    /// A write of a value that expires (SET PX). Answer: [`Answer::Done`].
    PutFor {
        /// Where.
        key: Key,
        /// What.
        value: Value,
        /// For how long, by the clock of the cluster.
        life_us: u64,
    },
    /// INCRBY: absent counts as 0, and a life goes on. Answer: [`Answer::Sum`].
    Add {
        /// Where.
        key: Key,
        /// How much.
        by: i64,
    },
    /// Puts `value` if `expected` is there; `None` stands for an absent key on both sides. What it
    /// puts lives for ever. Answer: [`Answer::Done`], or [`Answer::Found`] if something else was
    /// there.
    CompareAndSet {
        /// Where.
        key: Key,
        /// What must be there.
        expected: Option<Value>,
        /// What is there afterwards.
        value: Option<Value>,
    },
    /// DEL. Answer: [`Answer::Count`] of the keys that were there.
    Delete {
        /// Which.
        keys: Vec<Key>,
    },
    /// SET with GET, or GETDEL; what it puts lives for ever. Answer: [`Answer::Values`] with the
    /// old value.
    Swap {
        /// Where.
        key: Key,
        /// What is there afterwards.
        value: Option<Value>,
    },
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done.
    Done,
    /// What the key holds after an [`Action::Add`].
    Sum(i64),
    /// How many keys were there.
    Count(u64),
    /// What the keys held, in the order in which they were named.
    Values(Vec<Option<Value>>),
    /// What was there instead of the expected.
    Found(Option<Value>),
}

/// Why a history cannot be judged. `at` is the operation's index in it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// It ends before it begins.
    #[error("operation {at} ends at {to_us}, before it begins at {from_us}")]
    Backwards {
        /// The operation.
        at: usize,
        /// Its beginning.
        from_us: u64,
        /// Its end.
        to_us: u64,
    },
    /// It has an answer but no end, or an end but no answer.
    #[error("operation {at} has only one of an end and an answer")]
    HalfAnswered {
        /// The operation.
        at: usize,
    },
    /// The answer is not one that its action can have.
    #[error("operation {at} is answered {answer:?}, which is no answer to its action")]
    Mismatched {
        /// The operation.
        at: usize,
        /// The answer.
        answer: Answer,
    },
}

impl Operation {
    /// Says whether the operation is one that can be judged; `at` is its place in the history.
    pub(super) fn validate(&self, at: usize) -> Result<(), Malformed> {
        match (self.to_us, &self.answer) {
            (None, None) => Ok(()),
            (Some(to_us), Some(_)) if to_us < self.from_us => {
                Err(Malformed::Backwards { at, from_us: self.from_us, to_us })
            }
            (Some(_), Some(answer)) if self.action.can_have(answer) => Ok(()),
            (Some(_), Some(answer)) => Err(Malformed::Mismatched { at, answer: answer.clone() }),
            _ => Err(Malformed::HalfAnswered { at }),
        }
    }
}

impl Action {
    fn can_have(&self, answer: &Answer) -> bool {
        match (self, answer) {
            (Self::Get(keys), Answer::Values(values)) => keys.len() == values.len(),
            (Self::Swap { .. }, Answer::Values(values)) => values.len() == 1,
            (Self::Put { .. } | Self::PutFor { .. }, Answer::Done)
            | (Self::Add { .. }, Answer::Sum(_))
            | (Self::CompareAndSet { .. }, Answer::Done | Answer::Found(_))
            | (Self::Delete { .. }, Answer::Count(_)) => true,
            _ => false,
        }
    }
}
