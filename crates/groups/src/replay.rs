//! Applying a group's log while no replica lives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flin_state::cluster::ClusterState;
use flin_state::engine::Engine;
use flin_state::ids::{GroupId, NodeId, Timestamp};
use flin_state::keys::GroupState;
use flin_state::log::Log;

use super::applier::{Applier, Hosted};
use super::board::Board;
use super::mailbox::Groups;
use super::marks::Marks;
use super::metrics::CoreMetrics;
use super::worker::Fatal;
use crate::clock::{Clock, Sleep};

/// Entries are read in pages of this size.
const PAGE_BYTES: u64 = 4 << 20;

/// Applies every entry after what `state` has applied, to the end of the log, and returns what the group then
/// is. The configuration stays what it was. Nothing is durable before the engine is flushed.
///
/// # Errors
/// Those of the log and the engine, and an entry that this version cannot read.
pub fn replay(
    engine: &Arc<dyn Engine>,
    log: &dyn Log,
    group: GroupId,
    state: GroupState,
) -> Result<GroupState, Fatal> {
    let configuration = state.configuration.clone();
    let (mut from, end) = (state.applied.next(), log.last_index(group).next());
    let mut applier = unheard(engine, group, state)?;
    while from < end {
        let entries = log.entries(group, from, end, PAGE_BYTES)?;
        let Some(last) = entries.last() else { break };
        from = last.index.next();
        applier.apply_unheard(group, entries)?;
    }
    let applied = applier.groups.remove(&group).expect("it was given this group");
    Ok(GroupState { configuration, ..applied.state })
}

/// An applier of one group that nobody waits for.
fn unheard(engine: &Arc<dyn Engine>, group: GroupId, state: GroupState) -> Result<Applier, Fatal> {
    Ok(Applier {
        engine: engine.clone(),
        clock: Arc::new(NoTime),
        board: Board::new(NodeId(0)),
        marks: Arc::new(Marks::default()),
        worker: Groups::nobody(),
        metrics: CoreMetrics::unseen(),
        cluster: ClusterState::load(&**engine)?,
        groups: BTreeMap::from([(group, Hosted::new(state))]),
        estimates: 0,
    })
}

/// What is replayed was stamped when it was proposed: nobody asks for the time.
struct NoTime;

impl Clock for NoTime {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn monotonic_us(&self) -> u64 {
        0
    }

    fn sleep(&self, _duration: Duration) -> Sleep {
        Box::pin(std::future::pending())
    }
}
