//! The groups of a node as one thing: found on its disk, then driven by two threads or step by step.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use flin_state::cluster::ClusterState;
use flin_state::ids::{GroupId, ReplicaId, Term};
use flin_state::log::Entry;
use flin_state::membership::Configuration;

use crate::applier::{Applier, Hosted, WORK_MAX};
use crate::bench::{Bench, Shared};
use crate::group::Group;
use crate::hosting;
use crate::mailbox::{Groups, Input, Mailbox};
use crate::marks::Marks;
use crate::worker::{Fatal, Ground, Worker};

/// The groups that a node hosts, found again and not yet driven.
pub struct Host {
    ground: Ground,
    groups: Groups,
    inputs: Receiver<Input>,
    found: hosting::Found,
    cluster: Option<ClusterState>,
}

impl Host {
    /// Finds the groups whose state is in `ground`; `mailbox` is where they are told what to do.
    ///
    /// # Errors
    /// [`Fatal`]: log and engine do not fit together, or cannot be read.
    pub fn open(ground: Ground, mailbox: Mailbox) -> Result<Host, Fatal> {
        let found = hosting::restore(&*ground.engine, &ground.log, ground.timing, ground.seed)?;
        let cluster = ClusterState::load(&*ground.engine)?;
        let Mailbox { groups, inputs } = mailbox;
        Ok(Host { ground, groups, inputs, found, cluster })
    }

    /// The state of the cluster as this node's replica of the meta group has it, if it has one.
    pub fn cluster(&self) -> Option<&ClusterState> {
        self.cluster.as_ref()
    }

    /// The work of two threads: of the worker, which ends when told to or on a failure, and of the applier, which
    /// ends after it.
    pub fn threads(
        self,
    ) -> (
        impl FnOnce() -> Result<(), Fatal> + Send + 'static,
        impl FnOnce() -> Result<(), Fatal> + Send + 'static,
    ) {
        let (work, to_apply) = sync_channel(WORK_MAX);
        let (worker, inputs, applier) = self.furnish(|applier| (Box::new(work), applier));
        (move || worker.run(&inputs), move || applier.run(&to_apply))
    }

    /// Both on the caller's thread, step by step.
    pub fn stepper(self) -> Stepper {
        let (worker, inputs, bench) = self.furnish(|applier| {
            let bench = Shared::new(applier);
            (Box::new(bench.clone()), bench)
        });
        Stepper { worker, inputs, waiting: VecDeque::new(), bench }
    }

    fn furnish<A>(
        self,
        arrange: impl FnOnce(Applier) -> (Box<dyn Bench>, A),
    ) -> (Worker, Receiver<Input>, A) {
        let Host { ground, groups, inputs, found, cluster } = self;
        let marks = Arc::new(Marks::default());
        let states = found.states.into_iter();
        let applier = Applier {
            engine: ground.engine.clone(),
            clock: ground.clock.clone(),
            board: ground.board.clone(),
            marks: marks.clone(),
            worker: groups,
            metrics: ground.metrics.clone(),
            groups: states.map(|(group, state)| (group, Hosted::new(state))).collect(),
            cluster,
            estimates: 0,
        };
        let (bench, applier) = arrange(applier);
        let worker = Worker::new(ground, marks, bench, found.groups);
        (worker, inputs, applier)
    }
}

/// The groups of a node, driven by whoever holds this: for a simulation, in which nothing happens by itself.
pub struct Stepper {
    worker: Worker,
    inputs: Receiver<Input>,
    /// Inputs that were looked at and not taken yet.
    waiting: VecDeque<Input>,
    bench: Shared,
}

impl Stepper {
    /// One turn of the worker, as its thread takes it whenever something comes or a tick is due.
    ///
    /// # Errors
    /// [`Fatal`]: the node has to end.
    pub fn turn(&mut self) -> Result<(), Fatal> {
        let waiting = std::mem::take(&mut self.waiting);
        self.worker.turn(waiting.into_iter().chain(self.inputs.try_iter()))
    }

    /// Whether something waits for the worker.
    pub fn has_inputs(&mut self) -> bool {
        self.waiting.extend(self.inputs.try_iter());
        !self.waiting.is_empty()
    }

    /// When the next turn is due even if nothing comes, in milliseconds of the monotonic clock; 0: at once.
    pub fn due_ms(&self) -> u64 {
        self.worker.due_ms()
    }

    /// Has the applier take up to `items` of the work that waits for it.
    ///
    /// # Errors
    /// [`Fatal`]: the node has to end.
    pub fn apply(&mut self, items: usize) -> Result<(), Fatal> {
        self.bench.work(items)
    }

    /// How much work waits for the applier.
    pub fn to_apply(&self) -> usize {
        self.bench.waiting()
    }

    /// The entries that were committed here since this was asked last.
    pub fn take_committed(&mut self) -> Vec<(GroupId, Entry)> {
        self.bench.take_committed()
    }

    /// Every replica here: its group, its id, its term, and whether it leads.
    pub fn replicas(&self) -> impl Iterator<Item = (GroupId, ReplicaId, Term, bool)> {
        let sight = |(group, hosted): (&GroupId, &Group)| {
            (*group, hosted.id, hosted.replica.term(), hosted.leads())
        };
        self.worker.groups.iter().map(sight)
    }

    /// What the replica of a group here thinks of itself, in words for people.
    pub fn told(&self, group: GroupId) -> String {
        self.worker
            .groups
            .get(&group)
            .map_or_else(String::new, |hosted| format!("{:?}", hosted.replica.status()))
    }

    /// The configuration of a group as its replica here has applied it.
    pub fn configuration(&self, group: GroupId) -> Option<&Configuration> {
        self.worker.groups.get(&group).map(|hosted| &hosted.configuration)
    }
}
