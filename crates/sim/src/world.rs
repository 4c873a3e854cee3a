//! The world: machines, the network between them, and the events that move the time.
//!
//! One event happens at a time, in the order of time and then of their making; after each of them the tasks that it
//! woke run until they wait again. Every choice is drawn from the seed, so a run is a function of its plan.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use flin_groups::router::Router;
use flin_state::cluster::{ClusterState, Genesis};
use flin_state::ids::{GroupId, NodeId};

use crate::chance::Chance;
use crate::keeper::Wishes;
use crate::kernel::{Owner, Spawner, Tasks, Time};
use crate::machine::{LogSize, Machine, Process, Slot};
use crate::nemesis::Coverage;
use crate::network::{Network, Parcel};
use crate::plan::Planned;
use crate::story::Story;
use crate::watch::Watch;

/// Something that happens.
pub(crate) enum Event {
    /// A parcel arrives.
    Arrive { to: Slot, parcel: Parcel, sender: (Slot, u32), leaves_us: u64 },
    /// A worker takes a turn.
    Turn(Slot, u32),
    /// An applier works.
    Apply(Slot, u32),
    /// A node looks around.
    Look(Slot, u32),
    /// A node looks at the size of its log.
    Upkeep(Slot, u32),
    /// A node notices that its connection to another broke.
    Break(Slot, u32, NodeId),
    /// A node begins to send a snapshot.
    BeginSnapshot(Slot, u32, NodeId, flin_replica::Message),
    /// A node gives up a snapshot that it sends.
    GiveUp(Slot, u32, u64),
    /// A node is started again.
    Restart(Slot),
    /// A fault of the plan strikes, after somebody to strike was waited for so long.
    Strike(usize, u64),
    /// Something that a fault did ends.
    Relief(crate::nemesis::Relief),
}

impl Event {
    /// Tells events apart, for the fingerprint of a run.
    fn number(&self) -> u64 {
        let (kind, slot) = match self {
            Event::Arrive { to, parcel, .. } => (parcel.to.0 << 8, *to),
            Event::Turn(slot, _) => (1, *slot),
            Event::Apply(slot, _) => (2, *slot),
            Event::Look(slot, _) => (3, *slot),
            Event::Upkeep(slot, _) => (4, *slot),
            Event::Break(slot, _, peer) => (5 + (peer.0 << 8), *slot),
            Event::BeginSnapshot(slot, ..) => (6, *slot),
            Event::GiveUp(slot, ..) => (7, *slot),
            Event::Restart(slot) => (8, *slot),
            Event::Strike(at, _) => (9 + ((*at as u64) << 8), Slot(0)),
            Event::Relief(_) => (10, Slot(0)),
        };
        (kind << 8) | u64::from(slot.0)
    }

    /// The machine that it happens on, if it waits while that stands still.
    fn stands_with(&self) -> Option<Slot> {
        match self {
            Event::Arrive { to: slot, .. }
            | Event::Turn(slot, _)
            | Event::Apply(slot, _)
            | Event::Look(slot, _)
            | Event::Upkeep(slot, _)
            | Event::Break(slot, ..)
            | Event::BeginSnapshot(slot, ..)
            | Event::GiveUp(slot, ..) => Some(*slot),
            Event::Restart(_) | Event::Strike(..) | Event::Relief(_) => None,
        }
    }
}

/// A way into the cluster for clients.
#[derive(Clone)]
pub struct Door {
    /// The node behind it.
    pub node: NodeId,
    /// The way from there.
    pub router: Router,
}

/// All ways in that there are. Clones are the same ones.
#[derive(Clone, Default)]
pub struct Doors(Rc<RefCell<BTreeMap<Slot, Door>>>);

impl Doors {
    /// A node runs from now on.
    pub(crate) fn open(&self, slot: Slot, door: Door) {
        self.0.borrow_mut().insert(slot, door);
    }

    /// A node runs no more.
    pub(crate) fn close(&self, slot: Slot) {
        self.0.borrow_mut().remove(&slot);
    }

    /// The nodes that run.
    pub fn all(&self) -> Vec<(Slot, Door)> {
        self.0.borrow().iter().map(|(slot, door)| (*slot, door.clone())).collect()
    }
}

/// Machines, network and time.
pub struct World {
    pub(crate) time: Time,
    pub(crate) tasks: Tasks,
    pub(crate) chance: Chance,
    pub(crate) network: Network,
    pub(crate) machines: BTreeMap<Slot, Machine>,
    pub(crate) doors: Doors,
    pub(crate) watch: Watch,
    pub(crate) story: Story,
    pub(crate) genesis: Genesis,
    pub(crate) size: LogSize,
    pub(crate) frozen: BTreeSet<Owner>,
    pub(crate) serials: u64,
    pub(crate) transfers: u64,
    /// How many faults interrupt snapshots at the moment.
    pub(crate) cut_snapshots: u32,
    /// What befalls the cluster.
    pub(crate) faults: Vec<Planned>,
    /// What was struck.
    pub(crate) coverage: Coverage,
    /// Whether nothing goes wrong any more.
    pub(crate) calm: bool,
    /// What those outside want of the machines.
    pub(crate) wishes: Wishes,
    pub(crate) events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    /// What waits on machines that stand still.
    pub(crate) held: BTreeMap<Slot, Vec<Event>>,
}

impl World {
    /// Machines without a cluster.
    pub(crate) fn new(chance: Chance, genesis: Genesis, size: LogSize, story: Story) -> Self {
        World {
            time: Time::default(),
            tasks: Tasks::default(),
            chance,
            network: Network::default(),
            machines: BTreeMap::new(),
            doors: Doors::default(),
            watch: Watch::default(),
            story,
            genesis,
            size,
            frozen: BTreeSet::new(),
            serials: 0,
            transfers: 0,
            cut_snapshots: 0,
            faults: Vec::new(),
            coverage: Coverage::new(),
            calm: false,
            wishes: Wishes::default(),
            events: BTreeMap::new(),
            next_event: 0,
            held: BTreeMap::new(),
        }
    }

    /// Adds a machine with an empty disk.
    pub(crate) fn add_machine(&mut self, slot: Slot, sync_us: u64) {
        self.serials += 1;
        self.machines.insert(slot, Machine::new(self.time.clone(), self.serials, sync_us));
        self.show_disks();
    }

    /// Says something in the story, at this moment.
    pub(crate) fn tell(&mut self, words: impl Into<String>) {
        self.story.tell(self.time.now_us(), words.into());
    }

    /// The way to begin tasks.
    pub(crate) fn spawner(&self) -> Spawner {
        self.tasks.spawner()
    }

    /// Lets `event` happen after `after_us`.
    pub(crate) fn plan(&mut self, after_us: u64, event: Event) {
        self.plan_at(self.time.now_us() + after_us, event);
    }

    pub(crate) fn plan_at(&mut self, at_us: u64, event: Event) {
        self.next_event += 1;
        self.events.insert((at_us, self.next_event), event);
    }

    /// Lets things happen until `done` says so or the time is `until_us`; returns whether it was done.
    pub(crate) fn run_until(
        &mut self,
        until_us: u64,
        mut done: impl FnMut(&mut World) -> bool,
    ) -> bool {
        loop {
            self.run_tasks();
            if done(self) {
                return true;
            }
            if self.watch.is_violated() {
                return false;
            }
            let event_us = self.events.first_key_value().map(|((at, _), _)| *at);
            let timer_us = self.time.next_us();
            let Some(next_us) = event_us.into_iter().chain(timer_us).min() else { return false };
            if next_us > until_us {
                self.time.advance(until_us);
                return false;
            }
            self.time.advance(next_us);
            self.time.wake();
            if event_us == Some(next_us)
                && let Some((_, event)) = self.events.pop_first()
            {
                self.happen(event);
            }
        }
    }

    fn run_tasks(&mut self) {
        for owner in self.tasks.run(&mut self.chance, &self.frozen) {
            match owner {
                Owner::Process(slot) => self.settle(slot),
                Owner::Outside => self.serve_keeper(),
            }
        }
    }

    fn happen(&mut self, event: Event) {
        self.story.note(self.time.now_us(), event.number());
        if let Some(slot) = event.stands_with()
            && self.frozen.contains(&Owner::Process(slot))
        {
            self.held.entry(slot).or_default().push(event);
            return;
        }
        match event {
            Event::Arrive { to, parcel, .. } => self.arrive(to, parcel),
            Event::Turn(slot, life) => self.turn(slot, life),
            Event::Apply(slot, life) => self.apply(slot, life),
            Event::Look(slot, life) => self.look(slot, life),
            Event::Upkeep(slot, life) => self.keep_up(slot, life),
            Event::Break(slot, life, peer) => self.break_connection(slot, life, peer),
            Event::BeginSnapshot(slot, life, to, message) => {
                self.begin_snapshot(slot, life, to, &message);
            }
            Event::GiveUp(slot, life, transfer) => self.give_up(slot, life, transfer),
            Event::Restart(slot) => self.restart(slot),
            Event::Strike(fault, waited_us) => self.strike(fault, waited_us),
            Event::Relief(relief) => self.relieve(relief),
        }
    }

    /// The process on a machine, if it is still the one that is meant.
    pub(crate) fn process(&mut self, slot: Slot, life: u32) -> Option<&mut Process> {
        let process = self.machines.get_mut(&slot)?.process.as_mut()?;
        (process.life == life).then_some(process)
    }

    /// The process on a machine.
    pub(crate) fn running(&mut self, slot: Slot) -> Option<&mut Process> {
        self.machines.get_mut(&slot)?.process.as_mut()
    }

    /// Where a node runs, or would run.
    pub(crate) fn slot_of(&self, node: NodeId) -> Option<Slot> {
        let mut machines = self.machines.iter();
        machines.find(|(_, machine)| machine.identity == Some(node)).map(|(slot, _)| *slot)
    }

    /// Which of its processes runs on a machine.
    pub(crate) fn life_on(&self, slot: Slot) -> Option<u32> {
        self.machines.get(&slot)?.process.as_ref().map(|process| process.life)
    }

    /// The processes that run.
    pub(crate) fn lives(&self) -> impl Iterator<Item = (Slot, u32)> {
        let life = |(slot, machine): (&Slot, &Machine)| {
            machine.process.as_ref().map(|process| (*slot, process.life))
        };
        self.machines.iter().filter_map(life)
    }

    /// Whether clients are served.
    pub(crate) fn serves(&self) -> bool {
        let groups = self.genesis.partitions;
        self.newest_state().is_some_and(|state| state.formed)
            && (0..=groups).all(|group| self.leader_of(GroupId(group)).is_some())
    }

    /// The newest state of the cluster that any node knows.
    pub(crate) fn newest_state(&self) -> Option<Arc<ClusterState>> {
        let processes = self.machines.values().filter_map(|machine| machine.process.as_ref());
        let states = processes.filter_map(|process| process.board.view().cluster.clone());
        states.max_by_key(|state| state.revision)
    }

    /// The machine that leads a group by what its own process says, in the highest term.
    pub(crate) fn leader_of(&self, group: GroupId) -> Option<Slot> {
        let leads = |(slot, machine): (&Slot, &Machine)| {
            let stepper = &machine.process.as_ref()?.stepper;
            let mut replicas = stepper.replicas();
            let (_, _, term, _) = replicas.find(|(of, _, _, leads)| *of == group && *leads)?;
            Some((term, *slot))
        };
        self.machines.iter().filter_map(leads).max().map(|(_, slot)| slot)
    }
}
