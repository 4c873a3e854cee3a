//! Carrying out an order, at the start of a node and before any replica lives.
//!
//! The whole log of the chosen replica counts as committed: an entry that some client was told of may be
//! anywhere in it. It is applied to the end; only changes of the configuration in it are not, for they were
//! made by voters that are gone. Then the group begins after one entry that was never written, in a term above
//! all others, with the replica as its only voter. Nobody else's log can reach that entry, so every other
//! replica, whatever it holds, gets a snapshot and with it the new configuration.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use flin_groups::Fatal;
use flin_groups::hosting::forgetting;
use flin_groups::replay::replay;
use flin_replica::reconcile;
use flin_state::cluster::{ClusterState, Placement};
use flin_state::engine::{Edit, Engine, EngineError, WriteBatch};
use flin_state::ids::{GroupId, LogIndex, NodeId, ReplicaId, Term};
use flin_state::keys::GroupState;
use flin_state::log::{
    GroupRecord, HardState, INITIAL_INDEX, INITIAL_TERM, Log, LogEdit, LogError,
};
use flin_state::membership::Configuration;
use tracing::{info, warn};

use super::{Alone, forget, load};

/// How far the meta state leaps, so that nothing that the lost nodes may have agreed on meanwhile is meant by
/// a revision or replica id that is used again.
const LEAP: u64 = 1_000_000;
/// The same for node ids, which people read.
const NODE_LEAP: u64 = 1_000;

/// Why an order could not be carried out. It stays, and is tried again at the next start.
#[derive(Debug, thiserror::Error)]
pub enum EnactError {
    /// The file cannot be read or removed.
    #[error("the recovery order in the data directory cannot be used")]
    File(#[from] io::Error),
    /// Log and state of the replica do not fit.
    #[error("replica {replica} of group {group} cannot go on alone")]
    Replica {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
        /// Why.
        source: flin_replica::Error,
    },
    /// An entry of its log cannot be applied.
    #[error("the log cannot be applied to its end")]
    Replay(#[from] Fatal),
    /// The engine failed.
    #[error("the engine failed")]
    Engine(#[from] EngineError),
    /// The log failed.
    #[error("the log failed")]
    Log(#[from] LogError),
}

/// Carries out the order in `directory`, if there is one. A crash on the way is harmless: what is done already
/// is found so.
pub(crate) fn enact(
    directory: &Path,
    node: NodeId,
    engine: &Arc<dyn Engine>,
    log: &Arc<dyn Log>,
) -> Result<(), EnactError> {
    let Some(order) = load(directory)? else { return Ok(()) };
    if order.node == node {
        for (group, alone) in &order.alone {
            let meta = order.meta.as_ref().filter(|_| *group == GroupId::META);
            go_on(engine, log, node, *group, alone, meta)?;
        }
        if let Some(state) =
            order.meta.as_ref().filter(|_| !order.alone.contains_key(&GroupId::META))
        {
            begin_meta(&**engine, &**log, node, state)?;
        }
        info!(groups = order.alone.len(), "the recovery is carried out here");
    }
    Ok(forget(directory)?)
}

fn go_on(
    engine: &Arc<dyn Engine>,
    log: &Arc<dyn Log>,
    node: NodeId,
    group: GroupId,
    alone: &Alone,
    newest: Option<&ClusterState>,
) -> Result<(), EnactError> {
    let Alone { replica, term, .. } = *alone;
    if hosted(&**log, group) != Some(replica) {
        warn!(%group, %replica, "the replica that was to go on alone is not here any more");
        return Ok(());
    }
    let Some(state) = GroupState::load(&**engine, group)? else {
        warn!(%group, %replica, "the replica that was to go on alone has nothing");
        return Ok(());
    };
    let state = if state.applied_term == term {
        state
    } else {
        finish_history(engine, log, group, replica, state)?
    };
    let index = if state.applied_term == term { state.applied } else { state.applied.next() };
    let state = GroupState {
        applied: index,
        applied_term: term,
        configuration: Configuration::of_voters([(replica, node)]),
        ..state
    };
    let mut batch = WriteBatch::default();
    state.save(group, &mut batch);
    if let Some(newest) = newest {
        let own = ClusterState::load(&**engine)?.filter(|own| own.revision > newest.revision);
        let base = own.unwrap_or_else(|| newest.clone());
        let placed = Placement { replica, node };
        if !is_leapt(&base, placed) {
            save_cluster(&leap(base, placed), &mut batch);
        }
    }
    engine.write(batch)?;
    // The log must not forget what only it has before the engine keeps it.
    engine.flush()?;
    begin_after(&**log, group, index, term)?;
    info!(%group, %replica, %index, "goes on alone");
    Ok(())
}

/// Applies the log to its end.
fn finish_history(
    engine: &Arc<dyn Engine>,
    log: &Arc<dyn Log>,
    group: GroupId,
    replica: ReplicaId,
    state: GroupState,
) -> Result<GroupState, EnactError> {
    let mending = reconcile(&**log, group, state.applied, state.applied_term)
        .map_err(|source| EnactError::Replica { group, replica, source })?;
    if let Some(edit) = mending {
        log.write(&[edit])?;
        log.sync()?;
    }
    Ok(replay(engine, &**log, group, state)?)
}

/// Begins the meta group anew from what is known of the cluster.
fn begin_meta(
    engine: &dyn Engine,
    log: &dyn Log,
    node: NodeId,
    newest: &ClusterState,
) -> Result<(), EnactError> {
    let group = GroupId::META;
    let replica = ReplicaId(newest.next_replica_id.0 + LEAP);
    if hosted(log, group) == Some(replica) {
        return Ok(());
    }
    let placed = Placement { replica, node };
    let configuration = Configuration::of_voters([(replica, node)]);
    let mut batch = forgetting(group);
    GroupState::initial(configuration).save(group, &mut batch);
    save_cluster(&leap(newest.clone(), placed), &mut batch);
    engine.write(batch)?;
    engine.flush()?;
    let mut edits = Vec::new();
    if let Some(earlier) = hosted(log, group) {
        edits.push(LogEdit::Remove { group, replica: earlier });
    }
    edits.push(LogEdit::Create { group, replica, index: INITIAL_INDEX, term: INITIAL_TERM });
    let state = HardState { term: INITIAL_TERM, vote: ReplicaId(0), commit: INITIAL_INDEX };
    edits.push(LogEdit::HardState { group, state });
    log.write(&edits)?;
    log.sync()?;
    info!(%replica, "the meta group begins anew");
    Ok(())
}

/// The state of a cluster whose meta group is `placed` alone.
fn leap(state: ClusterState, placed: Placement) -> ClusterState {
    let mut next = ClusterState {
        revision: state.revision + LEAP,
        next_node_id: NodeId(state.next_node_id.0 + NODE_LEAP),
        next_replica_id: ReplicaId(state.next_replica_id.0.max(placed.replica.0) + LEAP),
        next_job_id: state.next_job_id + LEAP,
        meta: vec![placed],
        ..state
    };
    next.jobs.remove(&GroupId::META);
    next
}

/// Whether a state was made by [`leap`] already, before a crash.
fn is_leapt(state: &ClusterState, placed: Placement) -> bool {
    state.meta == [placed] && !state.jobs.contains_key(&GroupId::META)
}

fn save_cluster(state: &ClusterState, out: &mut WriteBatch) {
    out.edits.push(Edit::Put { key: ClusterState::key(), value: Bytes::from(state.to_json()) });
}

/// Leaves a log that is empty after `index`, all of it committed.
fn begin_after(log: &dyn Log, group: GroupId, index: LogIndex, term: Term) -> Result<(), LogError> {
    let state = HardState { term, vote: ReplicaId(0), commit: index };
    log.write(&[LogEdit::Reset { group, index, term }, LogEdit::HardState { group, state }])?;
    log.sync()
}

fn hosted(log: &dyn Log, group: GroupId) -> Option<ReplicaId> {
    log.groups().into_iter().find(|(id, _)| *id == group).and_then(|(_, record)| match record {
        GroupRecord::Hosted(replica) => Some(replica),
        GroupRecord::Removed(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use flin_engine::disk::MemoryDisk;
    use flin_engine::log::{LogOptions, SharedLog};
    use flin_engine::memory::MemoryEngine;
    use flin_groups::hosting::{Birth, establish};
    use flin_replica::{Options, Replica};
    use flin_state::cluster::{Genesis, GenesisMember};
    use flin_state::command::Command;
    use flin_state::engine::Reader as _;
    use flin_state::ids::{ClusterId, Timestamp};
    use flin_state::log::{Entry, EntryKind};
    use flin_state::operation::Write;

    use super::*;
    use crate::recovery::{Order, store};

    const GROUP: GroupId = GroupId(1);
    const OWN: NodeId = NodeId(1);
    /// The disk of node 1 of three.
    struct Node {
        directory: tempfile::TempDir,
        engine: MemoryEngine,
        log: Arc<dyn Log>,
    }

    fn cluster() -> ClusterState {
        let members = (1..=3).map(|id| GenesisMember {
            name: format!("n{id}"),
            node_id: NodeId(id),
            peer_address: format!("n{id}:6383"),
            client_address: format!("n{id}:6384"),
            zone: String::new(),
        });
        let genesis = Genesis {
            cluster_id: ClusterId(7),
            partitions: 1,
            replication_factor: 3,
            members: members.collect(),
        };
        ClusterState { formed: true, ..genesis.begin().unwrap() }
    }

    fn own_replica(group: GroupId) -> ReplicaId {
        cluster().first_configuration(group).replica_on(OWN).unwrap()
    }

    impl Node {
        /// Hosts its replicas of both groups, which have applied nothing yet.
        fn new() -> Node {
            let options = LogOptions::default();
            let log = SharedLog::open(MemoryDisk::new(), Path::new("/log"), options).unwrap();
            let node = Node {
                directory: tempfile::tempdir().unwrap(),
                engine: MemoryEngine::new(),
                log: Arc::new(log),
            };
            let births = [GroupId::META, GROUP].map(|group| Birth {
                group,
                replica: own_replica(group),
                configuration: Some(cluster().first_configuration(group)),
            });
            establish(&node.engine, &*node.log, &births).unwrap();
            node
        }

        /// Appends entries of term 6 that nobody knows to be committed.
        fn append(&self, group: GroupId, entries: Vec<(EntryKind, Bytes)>) {
            let first = self.log.last_index(group).next();
            let entries = entries.into_iter().zip(first.0..).map(|((kind, data), index)| Entry {
                index: LogIndex(index),
                term: Term(6),
                kind,
                data,
            });
            let entries = entries.collect();
            self.log.write(&[LogEdit::Append { group, entries }]).unwrap();
            self.log.sync().unwrap();
        }

        fn order(&self, groups: &[GroupId], meta: Option<ClusterState>) -> Order {
            let alone = groups.iter().map(|group| {
                let last = self.log.last_index(*group);
                (*group, Alone { replica: own_replica(*group), last, term: Term(9) })
            });
            let alone = alone.collect();
            Order { cluster_id: ClusterId(7), node: OWN, alone, meta }
        }

        fn carry_out(&self, order: &Order) {
            store(self.directory.path(), order).unwrap();
            let engine: Arc<dyn Engine> = Arc::new(self.engine.clone());
            enact(self.directory.path(), OWN, &engine, &self.log).unwrap();
            assert_eq!(load(self.directory.path()).unwrap(), None);
        }

        fn state(&self, group: GroupId) -> GroupState {
            GroupState::load(&self.engine, group).unwrap().unwrap()
        }

        fn cluster(&self) -> ClusterState {
            ClusterState::load(&self.engine).unwrap().unwrap()
        }

        /// Whether the replica leads its group as soon as it may.
        fn leads_at_once(&self, group: GroupId) -> bool {
            let hosted = self.log.groups().into_iter().find_map(|(id, record)| match record {
                GroupRecord::Hosted(replica) if id == group => Some(replica),
                GroupRecord::Hosted(_) | GroupRecord::Removed(_) => None,
            });
            let GroupState { configuration, applied, .. } = self.state(group);
            let options = Options::new(group, hosted.unwrap(), 7);
            let mut replica =
                Replica::restore(options, self.log.clone(), configuration, applied).unwrap();
            replica.campaign();
            replica.leading()
        }
    }

    fn set(key: &'static str) -> (EntryKind, Bytes) {
        let pairs = vec![(key.into(), Bytes::from_static(b"value"))];
        let writes = vec![Write::SetMany { pairs }];
        (EntryKind::Command, Command { stamp: Timestamp(1), writes }.encode())
    }

    /// Replica 3 of the partition is on its way out: `{1 2}` and `{1 2 3}`, to speak of nodes.
    fn remove(replica: ReplicaId) -> (EntryKind, Bytes) {
        let id = u8::try_from(replica.0).unwrap();
        let number = |n: u8| [0, 0, 0, 0, 0, 0, 0, n];
        let envelope = [&[1, 3][..], &number(0), &number(1), &number(id)].concat();
        let raft = [&[8, 2, 18, 4, 8, 1, 16, id, 26, 26][..], &envelope].concat();
        (EntryKind::Configuration, raft.into())
    }

    fn alone(group: GroupId) -> Configuration {
        Configuration::of_voters([(own_replica(group), OWN)])
    }

    #[test]
    fn all_that_the_log_holds_is_kept_but_for_changes_of_the_configuration() {
        let node = Node::new();
        let third = cluster().first_configuration(GROUP).replica_on(NodeId(3)).unwrap();
        node.append(GROUP, vec![set("a"), remove(third), set("b"), set("c")]);
        let last = node.log.last_index(GROUP);
        assert!(!node.leads_at_once(GROUP));
        node.carry_out(&node.order(&[GROUP], None));
        let expected = GroupState {
            applied: last.next(),
            applied_term: Term(9),
            keys: 3,
            last_time: Timestamp(1),
            ..GroupState::initial(alone(GROUP))
        };
        assert_eq!(node.state(GROUP), expected);
        // Nobody else's log reaches where the group begins, so everybody else gets a snapshot.
        assert_eq!(node.log.first_index(GROUP), last.next().next());
        assert!(node.leads_at_once(GROUP));
        node.engine.crash(0);
        assert_eq!(node.state(GROUP), expected);
    }

    #[test]
    fn a_crash_on_the_way_ends_in_the_same_state() {
        let node = Node::new();
        node.append(GROUP, vec![set("a"), set("b")]);
        let order = node.order(&[GROUP, GroupId::META], Some(cluster()));
        node.carry_out(&order);
        let (state, meta) = (node.state(GROUP), node.cluster());
        // The order was not forgotten in time.
        node.carry_out(&order);
        assert_eq!((node.state(GROUP), node.cluster()), (state.clone(), meta.clone()));

        // The engine had it, the log did not.
        let late = Node::new();
        late.append(GROUP, vec![set("a"), set("b")]);
        for group in [GROUP, GroupId::META] {
            let mut batch = WriteBatch::default();
            node.state(group).save(group, &mut batch);
            save_cluster(&meta, &mut batch);
            late.engine.write(batch).unwrap();
        }
        late.carry_out(&order);
        assert_eq!((late.state(GROUP), late.cluster()), (state, meta));
        assert!(late.leads_at_once(GROUP) && late.leads_at_once(GroupId::META));
    }

    #[test]
    fn the_meta_group_goes_on_with_the_newest_state_and_never_uses_an_id_again() {
        let node = Node::new();
        let mut newest = cluster();
        newest.revision += 70;
        newest.next_replica_id = ReplicaId(500);
        node.carry_out(&node.order(&[GroupId::META], Some(newest.clone())));
        let now = node.cluster();
        assert_eq!(node.state(GroupId::META).configuration, alone(GroupId::META));
        let placed = Placement { replica: own_replica(GroupId::META), node: OWN };
        assert_eq!(now.meta, [placed]);
        assert_eq!(now.placement, newest.placement);
        assert!(now.revision > newest.revision && now.next_node_id > newest.next_node_id);
        assert!(
            now.next_replica_id > newest.next_replica_id && now.next_job_id > newest.next_job_id
        );
        assert!(node.leads_at_once(GroupId::META));
    }

    #[test]
    fn a_meta_group_that_is_lost_whole_begins_anew() {
        let node = Node::new();
        let earlier = own_replica(GroupId::META);
        node.log.write(&[LogEdit::Remove { group: GroupId::META, replica: earlier }]).unwrap();
        let newest = ClusterState { revision: 90, ..cluster() };
        let order = Order { alone: BTreeMap::new(), ..node.order(&[], Some(newest.clone())) };
        for _ in 0..2 {
            node.carry_out(&order);
            node.engine.crash(0);
            let now = node.cluster();
            assert!(now.meta[0].replica >= newest.next_replica_id && now.meta.len() == 1);
            assert!(now.next_replica_id > now.meta[0].replica);
            assert!(node.leads_at_once(GroupId::META));
        }
    }

    #[test]
    fn an_order_for_another_replica_changes_nothing() {
        let node = Node::new();
        node.append(GROUP, vec![set("a")]);
        let before = node.state(GROUP);
        let mut order = node.order(&[GROUP], None);
        order.alone.get_mut(&GROUP).unwrap().replica = ReplicaId(77);
        node.carry_out(&order);
        assert_eq!(node.state(GROUP), before);
        assert_eq!(node.engine.get(b"nothing").unwrap(), None);
    }
}
