//! Which groups this node hosts: found again at start, created when the meta state places them here.

use std::collections::BTreeMap;
use std::sync::Arc;

use flin_replica::{Options, Replica, reconcile};
use flin_state::cluster::ClusterState;
use flin_state::engine::{Edit, Engine, EngineError, WriteBatch};
use flin_state::ids::{GroupId, LogIndex, NodeId, ReplicaId};
use flin_state::keys::{GroupState, group_range};
use flin_state::log::{GroupRecord, HardState, Log, LogEdit, LogError};
use flin_state::membership::Configuration;

use crate::applier::Work;
use crate::bench::Bench;
use crate::group::{Confirmation, Group};
use crate::worker::{Fatal, Ground, Timing};

/// Why a group could not be hosted.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The log says that the group is hosted, the engine does not know it.
    #[error(
        "the log hosts replica {replica} of group {group}, but its state is gone: the data directory is \
         damaged; remove it only if the other members are healthy, and let this one join as a new node"
    )]
    StateGone {
        /// The group.
        group: GroupId,
        /// This node's replica.
        replica: ReplicaId,
    },
    /// Raft refuses what log and engine hold.
    #[error("restore group {group}")]
    Replica {
        /// The group.
        group: GroupId,
        /// Why.
        source: flin_replica::Error,
    },
    /// The engine failed.
    #[error("the engine failed")]
    Engine(#[from] EngineError),
    /// The log failed.
    #[error("the log failed")]
    Log(#[from] LogError),
}

/// A group to create.
pub struct Birth {
    /// The group.
    pub group: GroupId,
    /// Its replica here.
    pub replica: ReplicaId,
    /// What the group begins with; `None` for a replica that joins it, which knows nothing until its first
    /// snapshot.
    pub configuration: Option<Configuration>,
}

/// The groups that `state` places on `node` and that are not there yet. A replica that was removed already,
/// though `state` still names it, is not missed: its group has gone on without it.
pub(crate) fn missing(
    state: &ClusterState,
    node: NodeId,
    hosted: &BTreeMap<GroupId, Group>,
    log: &dyn Log,
) -> Vec<Birth> {
    let placed: Vec<(GroupId, ReplicaId)> =
        state.groups_on(node).filter(|(group, _)| !hosted.contains_key(group)).collect();
    if placed.is_empty() {
        return Vec::new();
    }
    let removed: BTreeMap<GroupId, ReplicaId> = log
        .groups()
        .into_iter()
        .filter_map(|(group, record)| match record {
            GroupRecord::Removed(replica) => Some((group, replica)),
            GroupRecord::Hosted(_) => None,
        })
        .collect();
    placed
        .into_iter()
        .filter(|(group, replica)| removed.get(group).is_none_or(|removed| replica > removed))
        .map(|(group, replica)| Birth {
            group,
            replica,
            configuration: state.birth_configuration(group, replica),
        })
        .collect()
}

/// Whether `replica` was minted and is part of its group no more. A state from before it was minted says
/// nothing: what a node finds on its disk may be newer than the state it finds beside it.
pub(crate) fn is_disowned(state: &ClusterState, group: GroupId, replica: ReplicaId) -> bool {
    replica < state.next_replica_id && !state.names_replica(group, replica)
}

/// The replica that should lead a group.
pub(crate) fn preferred(state: &ClusterState, group: GroupId) -> Option<ReplicaId> {
    state.replicas_of(group).first().map(|placement| placement.replica)
}

/// Writes the first state of new groups. That of a group that begins here is durable before the log knows the
/// group; repeating it after a crash is harmless until then. A blank replica has nothing to lose: [`restore`]
/// knows it by its log and makes its state anew, so the engine need not be flushed while groups are served.
///
/// # Errors
/// Those of engine and log.
pub fn establish(
    engine: &dyn Engine,
    log: &dyn Log,
    births: &[Birth],
) -> Result<Vec<GroupState>, HostError> {
    let mut batch = WriteBatch::default();
    let mut states = Vec::with_capacity(births.len());
    let mut edits = Vec::with_capacity(2 * births.len());
    for Birth { group, replica, configuration } in births {
        let (group, replica) = (*group, *replica);
        let state = match configuration {
            Some(configuration) => GroupState::initial(configuration.clone()),
            None => GroupState::blank(),
        };
        // An earlier replica of the group may have left something if a crash cut its removal short.
        batch.edits.append(&mut forgetting(group).edits);
        state.save(group, &mut batch);
        edits.push(LogEdit::Create {
            group,
            replica,
            index: state.applied,
            term: state.applied_term,
        });
        let (term, commit) = (state.applied_term, state.applied);
        let hard_state = HardState { term, vote: ReplicaId(0), commit };
        edits.push(LogEdit::HardState { group, state: hard_state });
        states.push(state);
    }
    engine.write(batch)?;
    if births.iter().any(|birth| birth.configuration.is_some()) {
        engine.flush()?;
    }
    log.write(&edits)?;
    log.sync()?;
    Ok(states)
}

/// Creates new groups while the node runs.
pub(crate) fn create(
    ground: &Ground,
    bench: &dyn Bench,
    births: &[Birth],
) -> Result<Vec<(GroupId, Group)>, Fatal> {
    let states = establish(&*ground.engine, &*ground.log, births)?;
    let mut created = Vec::with_capacity(births.len());
    for (birth, state) in births.iter().zip(states) {
        let mut group = restore_one(
            &ground.log,
            ground.timing,
            ground.seed,
            birth.group,
            birth.replica,
            &state,
        )?;
        if birth.configuration.is_none() {
            // It was not here when the node started, and cannot vote before its leader calls it caught up.
            group.confirmation = Confirmation::Done;
        }
        bench.put(Work::Host { group: birth.group, state })?;
        created.push((birth.group, group));
    }
    Ok(created)
}

/// What makes the engine forget everything of a group.
pub fn forgetting(group: GroupId) -> WriteBatch {
    let (from, to) = group_range(group);
    WriteBatch { edits: vec![Edit::DeleteRange { from: from.into(), to: to.into() }] }
}

/// What a node finds at start.
pub(crate) struct Found {
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) states: BTreeMap<GroupId, GroupState>,
}

/// Finds the groups that this node hosts. A crash between engine and log leaves at most the log behind an
/// installed snapshot, which is mended here; anything else that does not fit is refused. What the engine holds
/// of a replica that the log calls removed or blank is older than that, or was never acknowledged: it goes.
pub(crate) fn restore(
    engine: &dyn Engine,
    log: &Arc<dyn Log>,
    timing: Timing,
    seed: u64,
) -> Result<Found, HostError> {
    let mut found = Found { groups: BTreeMap::new(), states: BTreeMap::new() };
    for (group, record) in log.groups() {
        let GroupRecord::Hosted(replica) = record else {
            if GroupState::load(engine, group)?.is_some() {
                engine.write(forgetting(group))?;
            }
            continue;
        };
        let state = if is_blank(&**log, group) {
            let mut batch = forgetting(group);
            GroupState::blank().save(group, &mut batch);
            engine.write(batch)?;
            GroupState::blank()
        } else {
            GroupState::load(engine, group)?.ok_or(HostError::StateGone { group, replica })?
        };
        let mending = reconcile(&**log, group, state.applied, state.applied_term)
            .map_err(|source| HostError::Replica { group, source })?;
        if let Some(edit) = mending {
            log.write(&[edit])?;
            log.sync()?;
        }
        found.groups.insert(group, restore_one(log, timing, seed, group, replica, &state)?);
        found.states.insert(group, state);
    }
    Ok(found)
}

/// Whether a hosted replica has never got a snapshot: a group that begins here begins after index 0.
fn is_blank(log: &dyn Log, group: GroupId) -> bool {
    log.last_index(group) == LogIndex(0)
}

fn restore_one(
    log: &Arc<dyn Log>,
    timing: Timing,
    seed: u64,
    group: GroupId,
    replica: ReplicaId,
    state: &GroupState,
) -> Result<Group, HostError> {
    let options = Options {
        election_ticks: timing.election_ticks,
        heartbeat_ticks: timing.heartbeat_ticks,
        ..Options::new(group, replica, seed ^ replica.0.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    };
    let configuration = state.configuration.clone();
    let restored = Replica::restore(options, log.clone(), configuration.clone(), state.applied)
        .map_err(|source| HostError::Replica { group, source })?;
    Ok(Group::new(replica, restored, configuration, state.applied))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use flin_engine::disk::MemoryDisk;
    use flin_engine::log::{LogOptions, SharedLog};
    use flin_engine::memory::MemoryEngine;
    use flin_state::engine::Reader as _;
    use flin_state::ids::Term;

    use super::*;

    const GROUP: GroupId = GroupId(3);
    const TIMING: Timing = Timing {
        tick: std::time::Duration::from_millis(100),
        election_ticks: 8,
        heartbeat_ticks: 2,
    };

    fn log() -> Arc<dyn Log> {
        let options = LogOptions::default();
        Arc::new(SharedLog::open(MemoryDisk::new(), Path::new("/log"), options).unwrap())
    }

    fn birth(replica: u64, configuration: Option<Configuration>) -> Birth {
        Birth { group: GROUP, replica: ReplicaId(replica), configuration }
    }

    fn found(engine: &MemoryEngine, log: &Arc<dyn Log>) -> Option<GroupState> {
        restore(engine, log, TIMING, 7).unwrap().states.remove(&GROUP)
    }

    #[test]
    fn first_state_of_a_group_survives_a_crash_right_after_it() {
        let (engine, log) = (MemoryEngine::new(), log());
        let configuration = Configuration::of_voters([(ReplicaId(1), NodeId(1))]);
        establish(&engine, &*log, &[birth(1, Some(configuration.clone()))]).unwrap();
        engine.crash(0);
        assert_eq!(found(&engine, &log), Some(GroupState::initial(configuration)));
    }

    #[test]
    fn blank_replica_begins_anew_after_a_crash_whatever_an_earlier_one_left() {
        let (engine, log) = (MemoryEngine::new(), log());
        let configuration = Configuration::of_voters([(ReplicaId(1), NodeId(1))]);
        let left = GroupState {
            applied: LogIndex(90),
            applied_term: Term(9),
            ..GroupState::initial(configuration.clone())
        };
        establish(&engine, &*log, &[birth(1, Some(configuration))]).unwrap();
        let mut batch = WriteBatch::default();
        left.save(GROUP, &mut batch);
        engine.write(batch).unwrap();
        engine.flush().unwrap();
        log.write(&[LogEdit::Remove { group: GROUP, replica: ReplicaId(1) }]).unwrap();
        engine.write(forgetting(GROUP)).unwrap();
        establish(&engine, &*log, &[birth(9, None)]).unwrap();
        // The end of the earlier state and the new one are lost together.
        engine.crash(0);
        assert_eq!(GroupState::load(&engine, GROUP).unwrap(), Some(left));
        assert_eq!(found(&engine, &log), Some(GroupState::blank()));
    }

    #[test]
    fn removed_replica_leaves_nothing_even_if_a_crash_cut_its_end_short() {
        let (engine, log) = (MemoryEngine::new(), log());
        let configuration = Configuration::of_voters([(ReplicaId(1), NodeId(1))]);
        establish(&engine, &*log, &[birth(1, Some(configuration))]).unwrap();
        log.write(&[LogEdit::Remove { group: GROUP, replica: ReplicaId(1) }]).unwrap();
        engine.write(forgetting(GROUP)).unwrap();
        engine.crash(0);
        assert_eq!(found(&engine, &log), None);
        assert_eq!(engine.get(&GroupState::key(GROUP)).unwrap(), None);
    }
}
