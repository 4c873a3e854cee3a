//! Where everything of a group lies in the engine. Persisted: what is written here stays readable.
//!
//! ```text
//! group (2 bytes, big endian) | space (1 byte) | rest
//!   C  the cluster's state, JSON; only in the meta group
//!   D  data:          user key                            -> record (tag, expiry, value)
//!   H  hash index:    hash (6 bytes, big endian) user key -> nothing; the order of SCAN
//!   M  the group's own record                             -> GroupState
//!   T  expiry index:  moment (8 bytes, big endian) user key -> nothing
//! ```
//!
//! Every `D` has exactly one `H`, and one `T` exactly if it has an expiry. A group is one contiguous range,
//! so that a snapshot is a range too.

mod group_state;
mod layout;
mod record;

pub use group_state::GroupState;
pub(crate) use layout::user_key_of_data;
pub use layout::{EngineKey, HASH_BITS, Space, group_range, hash_of, space_range};
pub use record::Record;
