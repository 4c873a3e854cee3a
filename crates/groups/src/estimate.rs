//! How large a group is, without counting.

use std::ops::ControlFlow;

use flin_state::engine::Engine;
use flin_state::ids::GroupId;
use flin_state::keys::{Space, space_range};

use super::worker::Fatal;

/// Records that an estimate looks at, and how much of them.
const ESTIMATE_RECORDS: u64 = 64;
const ESTIMATE_BYTES: u64 = 256 << 10;

/// What `keys` records of a group take, if they are like its first ones.
pub(super) fn estimate_bytes(engine: &dyn Engine, group: GroupId, keys: u64) -> Result<u64, Fatal> {
    let (from, to) = space_range(group, Space::Data);
    let (mut records, mut bytes) = (0_u64, 0_u64);
    engine.scan(&from, &to, &mut |key, value| {
        records += 1;
        bytes += (key.len() + value.len()) as u64;
        let enough = records == ESTIMATE_RECORDS || bytes >= ESTIMATE_BYTES;
        if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(bytes.saturating_mul(keys).checked_div(records).unwrap_or(0))
}
