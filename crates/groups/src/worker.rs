//! The thread that owns the replicas and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use flin_replica::{Message, StepError};
use flin_state::cluster::ClusterState;
use flin_state::engine::{Engine, EngineError};
use flin_state::ids::{GroupId, LogIndex, NodeId, ReplicaId};
use flin_state::log::{Log, LogError};
use tracing::{debug, info};

use crate::bench::Bench;
use crate::board::Board;
use crate::clock::Clock;
use crate::group::{Group, ReadRun};
use crate::hosting::{self, HostError};
use crate::mailbox::Input;
use crate::marks::Marks;
use crate::metrics::CoreMetrics;
use crate::requests::RequestError;

/// Inputs taken before a round begins, so that a flood cannot starve the disk.
const INPUTS_PER_ROUND: usize = 4_096;

/// A failure that ends the node: it cannot promise anything any more.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The log failed.
    #[error("the log failed")]
    Log(#[from] LogError),
    /// The engine failed.
    #[error("the engine failed")]
    Engine(#[from] EngineError),
    /// A replica failed.
    #[error("raft of group {group} failed")]
    Replica {
        /// The group.
        group: GroupId,
        /// Why.
        source: flin_replica::Error,
    },
    /// Entries that this node had acknowledged are not in its log any more.
    #[error("the log of group {group} lost what it had acknowledged; the disk cannot be trusted")]
    LostLog {
        /// The group.
        group: GroupId,
        /// What the leader knows.
        source: StepError,
    },
    /// A group could not be hosted.
    #[error("host a group")]
    Host(#[from] HostError),
    /// The applier ended first, for a reason of its own.
    #[error("the applier ended")]
    ApplierGone,
    /// A committed entry cannot be read: a newer version wrote it, or it is damaged.
    #[error("entry {index} of group {group} cannot be applied: {what}")]
    Entry {
        /// The group.
        group: GroupId,
        /// The entry.
        index: LogIndex,
        /// What is wrong.
        what: String,
    },
}

/// Where the worker's messages go. Both are taken at once and may be lost.
pub trait Outbox: Send {
    /// Queues messages for one node; false when they are lost.
    fn post(&self, node: NodeId, messages: Vec<Message>) -> bool;

    /// Begins to send a group's state to the replica that `message` announces it to.
    fn send_snapshot(&self, node: NodeId, message: Message);
}

/// How the groups of a node run.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The length of a raft tick.
    pub tick: Duration,
    /// Ticks without a leader after which a replica campaigns, at least; at most twice as many.
    pub election_ticks: u32,
    /// Ticks between two heartbeats of a leader.
    pub heartbeat_ticks: u32,
}

/// What the groups of a node stand on: every one a seam.
pub struct Ground {
    /// The shared log.
    pub log: Arc<dyn Log>,
    /// Where the groups keep their state.
    pub engine: Arc<dyn Engine>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The way to the other nodes.
    pub outbox: Box<dyn Outbox>,
    /// What this node knows of groups and peers.
    pub board: Arc<Board>,
    /// What is counted.
    pub metrics: CoreMetrics,
    /// How the groups run.
    pub timing: Timing,
    /// Seeds the election timeouts.
    pub seed: u64,
}

/// The owner of all groups of a node.
pub(crate) struct Worker {
    pub(crate) ground: Ground,
    pub(crate) marks: Arc<Marks>,
    pub(crate) bench: Box<dyn Bench>,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    /// Groups that may have something to do in the next round.
    pub(crate) dirty: BTreeSet<GroupId>,
    pub(crate) cluster: Option<Arc<ClusterState>>,
    /// Peers that hand their leaderships over.
    pub(crate) leaving: BTreeSet<NodeId>,
    /// Whether this node does.
    pub(crate) stepping_down: bool,
    /// Messages of the round, by node.
    pub(crate) outgoing: BTreeMap<NodeId, Vec<Message>>,
    pub(crate) tick: u64,
    /// When the next tick is due, in milliseconds of the monotonic clock.
    next_tick_ms: u64,
    /// Whether to tell the peers what this node leads at the next tick.
    pub(crate) report_due: bool,
    next_context: u64,
    stopped: bool,
}

impl Worker {
    pub(crate) fn new(
        ground: Ground,
        marks: Arc<Marks>,
        bench: Box<dyn Bench>,
        groups: BTreeMap<GroupId, Group>,
    ) -> Self {
        let dirty = groups.keys().copied().collect();
        let next_tick_ms = ground.clock.monotonic_ms() + tick_ms(ground.timing);
        Worker {
            ground,
            marks,
            bench,
            groups,
            dirty,
            cluster: None,
            leaving: BTreeSet::new(),
            stepping_down: false,
            outgoing: BTreeMap::new(),
            tick: 0,
            next_tick_ms,
            report_due: true,
            next_context: 0,
            stopped: false,
        }
    }

    /// Works until told to stop or a failure that ends the node.
    pub(crate) fn run(mut self, inputs: &Receiver<Input>) -> Result<(), Fatal> {
        while !self.stopped {
            let idle_ms = self.due_ms().saturating_sub(self.ground.clock.monotonic_ms());
            match inputs.recv_timeout(Duration::from_millis(idle_ms)) {
                Ok(input) => self.take(input)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.turn(inputs.try_iter())?;
        }
        Ok(())
    }

    /// Takes some of what waits, ticks if that is due, and does one round.
    pub(crate) fn turn(&mut self, waiting: impl Iterator<Item = Input>) -> Result<(), Fatal> {
        waiting.take(INPUTS_PER_ROUND).try_for_each(|input| self.take(input))?;
        let now_ms = self.ground.clock.monotonic_ms();
        if now_ms >= self.next_tick_ms {
            // One tick per wake-up: after a pause, a burst of ticks would depose healthy leaders.
            self.next_tick_ms = now_ms + tick_ms(self.ground.timing);
            self.tick()?;
        }
        self.round()
    }

    /// When the next turn is due even if nothing comes: at once while there is something left to do.
    pub(crate) fn due_ms(&self) -> u64 {
        if self.dirty.is_empty() { self.next_tick_ms } else { 0 }
    }

    /// A context for a question to raft, greater than every one before.
    pub(crate) fn fresh_context(&mut self) -> u64 {
        self.next_context += 1;
        self.next_context
    }

    pub(crate) fn take(&mut self, input: Input) -> Result<(), Fatal> {
        match input {
            Input::Messages(messages) => {
                messages.into_iter().try_for_each(|message| self.step(message))?;
            }
            Input::Write { group, writes, answer } => match self.leading(group) {
                Ok(hosted) => hosted.writes.push((writes, answer)),
                Err(error) => drop(answer.send(Err(error))),
            },
            Input::Read { group, reads, answer } => {
                let since = self.tick;
                match self.leading(group) {
                    Ok(hosted) => hosted.reads.push(ReadRun { reads, answer, since }),
                    Err(error) => drop(answer.send(Err(error))),
                }
            }
            Input::Change { change, answer } => match self.leading(GroupId::META) {
                Ok(hosted) => hosted.changes.push((change, answer)),
                Err(error) => drop(answer.send(Err(error))),
            },
            Input::Applied => self.note_applied(),
            Input::Staged { message, done } => self.offer_snapshot(message, done)?,
            Input::SnapshotSent { group, to, delivered } => {
                if delivered {
                    self.ground.metrics.snapshots_sent.inc();
                }
                if let Some(hosted) = self.groups.get_mut(&group) {
                    hosted.replica.report_snapshot(to, delivered);
                    self.dirty.insert(group);
                }
            }
            Input::Unreachable(node) => self.report_unreachable(node),
            Input::Cluster(state) => self.adopt(state)?,
            Input::Leaving { node, leaving: true } => drop(self.leaving.insert(node)),
            Input::Leaving { node, leaving: false } => drop(self.leaving.remove(&node)),
            Input::Durable(durable) => self.compact(&durable)?,
            Input::StepDown { undo } => self.step_down(undo),
            Input::Stop => self.stopped = true,
        }
        Ok(())
    }

    fn step(&mut self, message: Message) -> Result<(), Fatal> {
        let group = message.group;
        let Some(hosted) = self.groups.get_mut(&group) else { return Ok(()) };
        self.dirty.insert(group);
        match hosted.replica.step(message) {
            Ok(()) => {}
            Err(error @ StepError::LostLog { .. }) => {
                return Err(Fatal::LostLog { group, source: error });
            }
            Err(error) => {
                self.ground.metrics.messages_refused.inc();
                debug!(%group, %error, "dropped a raft message");
            }
        }
        Ok(())
    }

    /// Where a replica of a group hosted here lives. A replica that waits for its first snapshot knows no
    /// nodes yet, but the meta state knows its leader's.
    pub(crate) fn node_of(&self, group: GroupId, replica: ReplicaId) -> Option<NodeId> {
        let known = self.groups.get(&group)?.configuration.nodes.get(&replica).copied();
        known.or_else(|| self.cluster.as_ref()?.node_of(group, replica))
    }

    /// The group, if this node leads it; it then has something to do.
    fn leading(&mut self, group: GroupId) -> Result<&mut Group, RequestError> {
        let Some(hosted) = self.groups.get_mut(&group) else {
            return Err(RequestError::NotHere {
                leader: self.ground.board.leadership(group).leader,
            });
        };
        if !hosted.leads() {
            return Err(hosted.not_here());
        }
        self.dirty.insert(group);
        Ok(hosted)
    }

    fn note_applied(&mut self) {
        for (group, mark) in self.marks.take() {
            let Some(hosted) = self.groups.get_mut(&group) else { continue };
            for (index, configuration) in mark.configurations {
                hosted.replica.apply_configuration(index, &configuration);
                hosted.configuration = configuration;
            }
            hosted.note_applied(mark.applied);
            hosted.replica.applied(mark.applied);
            self.dirty.insert(group);
        }
    }

    fn report_unreachable(&mut self, node: NodeId) {
        for (group, hosted) in &mut self.groups {
            if let Some(replica) = hosted.configuration.replica_on(node)
                && hosted.leads()
            {
                hosted.replica.report_unreachable(replica);
                self.dirty.insert(*group);
            }
        }
    }

    /// Takes a new meta state over.
    fn adopt(&mut self, state: Arc<ClusterState>) -> Result<(), Fatal> {
        for (group, hosted) in &mut self.groups {
            hosted.preferred = hosting::preferred(&state, *group);
        }
        self.cluster = Some(state);
        self.host_what_is_placed()
    }

    /// Ends what the meta state has removed from this node, and hosts what it places here.
    ///
    /// Both are asked again from time to time: a replica ends only once its group can spare it, and until then its
    /// successor on this node, of which the same meta state may speak already, has no place.
    pub(crate) fn host_what_is_placed(&mut self) -> Result<(), Fatal> {
        self.end_disowned()?;
        let Some(state) = self.cluster.clone() else { return Ok(()) };
        let missing =
            hosting::missing(&state, self.ground.board.node(), &self.groups, &*self.ground.log);
        if missing.is_empty() {
            return Ok(());
        }
        let hosted = hosting::create(&self.ground, &*self.bench, &missing)?;
        info!(groups = hosted.len(), "hosting the replicas placed on this node");
        for (group, mut hosted) in hosted {
            hosted.preferred = hosting::preferred(&state, group);
            // The preferred leader need not wait for an election timeout to pass.
            if hosted.preferred == Some(hosted.id) {
                hosted.replica.campaign();
            }
            self.dirty.insert(group);
            self.groups.insert(group, hosted);
        }
        Ok(())
    }
}

fn tick_ms(timing: Timing) -> u64 {
    u64::try_from(timing.tick.as_millis()).unwrap_or(u64::MAX)
}
