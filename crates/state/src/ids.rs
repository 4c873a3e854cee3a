//! The identities of Flin: small newtypes, so that two numbers side by side cannot be swapped.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A node: one process with one data directory. Minted once per cluster, stored with the data and
    /// never reused; an empty disk is a new node. Zero is no node.
    NodeId(u64)
}
number! {
    /// One copy of a raft group on a node. Minted by the meta group for each placement and never reused,
    /// so that a message to a removed replica cannot reach its successor. Zero is no replica.
    ReplicaId(u64)
}
number! {
    /// A range of hash slots, `0..partitions`; each is one raft group.
    PartitionId(u16)
}
number! {
    /// A raft group: [`GroupId::META`], or one per partition.
    GroupId(u16)
}
number! {
    /// The position of an entry in a group's replicated log; the first real entry has index 6
    /// (see [`crate::log::INITIAL_INDEX`]).
    LogIndex(u64)
}
number! {
    /// A raft term.
    Term(u64)
}
number! {
    /// Milliseconds since the Unix epoch. Inside a state machine it is always a stamp that a command
    /// carries, never a local clock.
    Timestamp(u64)
}

impl GroupId {
    /// The group that holds everything that is not data.
    pub const META: GroupId = GroupId(0);

    /// The partition that this group replicates; `None` for the meta group.
    pub fn partition(self) -> Option<PartitionId> {
        self.0.checked_sub(1).map(PartitionId)
    }
}

impl PartitionId {
    /// The raft group of this partition.
    pub fn group(self) -> GroupId {
        GroupId(self.0 + 1)
    }
}

impl LogIndex {
    /// The index after this one.
    pub fn next(self) -> LogIndex {
        LogIndex(self.0 + 1)
    }
}

impl Timestamp {
    /// This moment plus `ms` milliseconds, at most the end of time.
    pub fn plus_ms(self, ms: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }
}

/// A cluster's identity: 128 random bits, written like a UUID. It is stored with the data, and a node
/// of another cluster is turned away by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a cluster id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a cluster id: 32 hexadecimal digits, written like a UUID")]
pub struct BadClusterId(String);

impl FromStr for ClusterId {
    type Err = BadClusterId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let plain = digits.len() == 32 && digits.chars().all(|c| c.is_ascii_hexdigit());
        match u128::from_str_radix(&digits, 16) {
            Ok(id) if plain && id != 0 => Ok(ClusterId(id)),
            _ => Err(BadClusterId(text.to_owned())),
        }
    }
}

impl TryFrom<String> for ClusterId {
    type Error = BadClusterId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ClusterId> for String {
    fn from(id: ClusterId) -> String {
        id.to_string()
    }
}
