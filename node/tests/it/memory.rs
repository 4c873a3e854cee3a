//! A cluster in memory: the real state machines of all partitions, without log, raft or network.

use std::sync::{Arc, Mutex};

use flin_engine::memory::MemoryEngine;
use flin_groups::requests::{RequestError, Requests, View};
use flin_state::apply::apply_partition;
use flin_state::cluster::{Genesis, GenesisMember};
use flin_state::command::{Command, Committed, Content};
use flin_state::engine::{Engine, WriteBatch};
use flin_state::ids::{ClusterId, GroupId, NodeId, PartitionId, Timestamp};
use flin_state::keys::GroupState;
use flin_state::membership::Configuration;
use flin_state::operation::{Read, Reply, Write};
use flin_state::read::{ReadOutcome, read_all};

/// The cluster. Clones are the same one.
#[derive(Clone)]
pub struct MemoryCluster(Arc<Inner>);

struct Inner {
    engine: MemoryEngine,
    state: Mutex<State>,
}

struct State {
    view: View,
    now: Timestamp,
    groups: Vec<GroupState>,
    /// What every request to a partition is answered with, if anything.
    failures: Vec<Option<RequestError>>,
}

impl MemoryCluster {
    /// A formed cluster of one node with `partitions`.
    pub fn new(partitions: u16) -> Self {
        let member = GenesisMember {
            name: "node-0".into(),
            node_id: NodeId(1),
            peer_address: "127.0.0.1:6383".into(),
            client_address: "127.0.0.1:6384".into(),
            zone: String::new(),
        };
        let cluster_id = ClusterId(7);
        let genesis =
            Genesis { cluster_id, partitions, replication_factor: 1, members: vec![member] };
        let mut cluster = genesis.begin().expect("the genesis is valid");
        cluster.formed = true;
        let all = usize::from(partitions);
        let view = View {
            node: NodeId(1),
            cluster: Some(Arc::new(cluster)),
            leaders: vec![Some(NodeId(1)); all],
            serving: Ok(()),
        };
        let state = State {
            view,
            now: Timestamp(1_000_000),
            groups: vec![GroupState::initial(Configuration::default()); all],
            failures: vec![None; all],
        };
        MemoryCluster(Arc::new(Inner { engine: MemoryEngine::new(), state: Mutex::new(state) }))
    }

    /// From now on clients are not served, for the reason given.
    pub fn close(&self, reason: &str) {
        self.0.state.lock().unwrap().view.serving = Err(reason.to_owned());
    }

    /// From now on `partition` answers every request with `error`.
    pub fn fail(&self, partition: PartitionId, error: RequestError) {
        self.0.state.lock().unwrap().failures[usize::from(partition.0)] = Some(error);
    }

    /// Moves the leaders' clock.
    pub fn pass_ms(&self, ms: u64) {
        let mut state = self.0.state.lock().unwrap();
        state.now = state.now.plus_ms(ms);
    }
}

impl State {
    fn check(&self, partition: PartitionId) -> Result<(), RequestError> {
        match &self.failures[usize::from(partition.0)] {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn apply(
        &mut self,
        engine: &MemoryEngine,
        group: GroupId,
        index: usize,
        writes: Vec<Write>,
    ) -> Vec<Reply> {
        let group_state = &mut self.groups[index];
        let entry = Committed {
            index: group_state.applied.next(),
            term: group_state.applied_term,
            content: Content::Command(Command { stamp: self.now, writes }),
        };
        let mut batch = WriteBatch::default();
        let replies = apply_partition(engine, group, group_state, [entry], &mut batch).unwrap();
        engine.write(batch).unwrap();
        replies.into_iter().next().expect("one entry gives one list of replies")
    }
}

impl Requests for MemoryCluster {
    async fn write(
        &self,
        partition: PartitionId,
        writes: Vec<Write>,
    ) -> Result<Vec<Reply>, RequestError> {
        let mut state = self.0.state.lock().unwrap();
        state.check(partition)?;
        Ok(state.apply(&self.0.engine, partition.group(), usize::from(partition.0), writes))
    }

    async fn read(
        &self,
        partition: PartitionId,
        reads: Vec<Read>,
    ) -> Result<Vec<Reply>, RequestError> {
        let mut state = self.0.state.lock().unwrap();
        state.check(partition)?;
        let (group, index) = (partition.group(), usize::from(partition.0));
        loop {
            let now = state.now;
            let engine = &self.0.engine;
            match read_all(engine, group, &state.groups[index], now, &reads).unwrap() {
                ReadOutcome::Reply(replies) => return Ok(replies),
                ReadOutcome::ExpireFirst => {
                    state.apply(engine, group, index, vec![Write::ExpireDue { limit: 100 }]);
                }
            }
        }
    }

    async fn write_here(
        &self,
        partition: PartitionId,
        writes: Vec<Write>,
    ) -> Result<Vec<Reply>, RequestError> {
        self.write(partition, writes).await
    }

    async fn read_here(
        &self,
        partition: PartitionId,
        reads: Vec<Read>,
    ) -> Result<Vec<Reply>, RequestError> {
        self.read(partition, reads).await
    }

    fn view(&self) -> Arc<View> {
        Arc::new(self.0.state.lock().unwrap().view.clone())
    }
}
