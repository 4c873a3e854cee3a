//! Five nodes and what can happen to them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use flin_replica::{ProposeError, Role, Status, Step, StepError, next_step};
use flin_state::ids::{LogIndex, NodeId, ReplicaId, Term};
use flin_state::log::Log;
use flin_state::membership::{Configuration, ConfigurationChange};

use super::plan::{NODES, View};
use crate::chance::Chance;
use crate::cluster::{Cluster, Cut, Event, GROUP, Parcel};
use crate::witness::{Committed, Witness, check_logs};

const STEPS: usize = 1600;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub done: u64,
    pub undone: u64,
    pub handed_over: u64,
    pub steps: u64,
    pub snapshots: u64,
    pub crashes: u64,
    pub deaths: u64,
    pub writes: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Totals) {
        self.done += other.done;
        self.undone += other.undone;
        self.handed_over += other.handed_over;
        self.steps += other.steps;
        self.snapshots += other.snapshots;
        self.crashes += other.crashes;
        self.deaths += other.deaths;
        self.writes += other.writes;
    }
}

/// What a run leaves behind, to compare two.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    pub totals: Totals,
    committed: BTreeMap<LogIndex, Committed>,
    leaders: BTreeMap<Term, ReplicaId>,
    view: View,
}

pub struct World {
    pub chance: Chance,
    pub cluster: Cluster,
    pub witness: Witness,
    /// Every view of the meta group, the latest last.
    views: Vec<View>,
    /// The view that each node has seen.
    seen: BTreeMap<NodeId, usize>,
    /// The node of every replica that ever was.
    pub home: BTreeMap<ReplicaId, NodeId>,
    /// The side of the network each node is on.
    pub side: BTreeMap<NodeId, usize>,
    /// A node that never comes back.
    pub dead: Option<NodeId>,
    counter: u64,
    pub totals: Totals,
}

impl World {
    pub fn run(seed: u64) -> Run {
        let replicas = if seed.is_multiple_of(4) { 1 } else { 3 };
        let cluster = Cluster::new(replicas, seed);
        let home = |id: u64| (ReplicaId(id), NodeId(id));
        let configuration = Configuration::of_voters((1..=replicas).map(home));
        let mut world = World {
            chance: Chance(seed),
            cluster,
            witness: Witness::default(),
            views: vec![View::new(&configuration)],
            seen: (1..=NODES).map(|node| (NodeId(node), 0)).collect(),
            home: (1..=replicas).map(home).collect(),
            side: BTreeMap::new(),
            dead: None,
            counter: 0,
            totals: Totals::default(),
        };
        for step in 0..STEPS {
            world.step();
            if step % 50 == 0 {
                check_logs(&world.cluster);
            }
        }
        world.recover();
        check_logs(&world.cluster);
        let view = world.view().clone();
        let Witness { committed, leaders, .. } = world.witness;
        Run { totals: world.totals, committed, leaders, view }
    }

    /// The latest view of the meta group.
    pub fn view(&self) -> &View {
        self.views.last().unwrap()
    }

    pub fn decide(&mut self, next: Option<View>) {
        self.views.extend(next);
    }

    /// Whether every living node has seen the latest view.
    pub fn all_know(&self) -> bool {
        let mut living = self.seen.iter().filter(|(node, _)| Some(**node) != self.dead);
        living.all(|(_, seen)| *seen == self.views.len() - 1)
    }

    pub fn begin_move(&mut self) {
        let view = self.views.last().unwrap();
        let next = view.begin(&mut self.chance, self.dead);
        self.decide(next);
    }

    pub fn ids(&self) -> Vec<ReplicaId> {
        self.cluster.members.keys().copied().collect()
    }

    pub fn is_up(&self, id: ReplicaId) -> bool {
        self.cluster.members.get(&id).is_some_and(|member| member.replica.is_some())
    }

    fn step(&mut self) {
        let Some(id) = self.chance.one_of(&self.ids()) else { return };
        let node = NodeId(1 + self.chance.below(NODES as usize) as u64);
        match self.chance.below(1000) {
            0..620 => self.deliver(),
            620..740 => self.tick(),
            740..810 => self.propose(),
            810..860 => self.learn(node, false),
            860..888 => self.crash_or_start(id),
            888..895 => self.part_or_heal(),
            895..907 => self.transfer(id),
            907..935 if self.is_up(id) => {
                let left = self.chance.below(4) as u64;
                self.cluster.compact(id, left);
            }
            935..955 if self.is_up(id) => self.cluster.flush(id),
            955..985 => self.begin_move(),
            985..988 => {
                let next = self.view().undo();
                self.decide(next);
            }
            988..989 => self.die(node),
            989..992 if self.is_up(id) => {
                let change = ConfigurationChange::RemoveLearner { replica: ReplicaId(999) };
                assert!(self.cluster.replica(id).propose_configuration(&change).is_err());
            }
            _ => {}
        }
    }

    /// Clocks drift: most tick, some do not. Leaders look at their job.
    fn tick(&mut self) {
        for id in self.ids() {
            if self.is_up(id) && self.chance.percent(75) {
                self.cluster.replica(id).tick();
                self.maybe_work(id);
                self.drive(id);
            }
        }
    }

    /// Delivers, loses or doubles one message, mostly the oldest. Bursts keep the group going.
    fn deliver(&mut self) {
        for _ in 0..=self.chance.below(8) {
            if self.cluster.network.is_empty() {
                return;
            }
            let at = match self.chance.percent(70) {
                true => 0,
                false => self.chance.below(self.cluster.network.len()),
            };
            let parcel = self.cluster.network.remove(at);
            if self.chance.percent(4) {
                self.cluster.network.push(parcel.clone());
            }
            let lost = self.chance.percent(4) || !self.connected(&parcel);
            let (to, snapshot) = (parcel.message.to, parcel.message.is_snapshot());
            if lost {
                self.cluster.lose(parcel);
                continue;
            }
            self.hand_over(parcel);
            if snapshot {
                self.work(to);
            } else {
                self.maybe_work(to);
            }
        }
    }

    pub fn hand_over(&mut self, parcel: Parcel) {
        let lost_log = matches!(self.cluster.deliver(parcel), Err(StepError::LostLog { .. }));
        assert!(!lost_log, "a log lost entries");
    }

    fn connected(&self, parcel: &Parcel) -> bool {
        let side = |id| self.side.get(self.home.get(&id)?);
        side(parcel.message.from) == side(parcel.message.to)
    }

    fn propose(&mut self) {
        let Some(id) = self.cluster.leader() else { return };
        for _ in 0..=self.chance.below(3) {
            self.counter += 1;
            let data = Bytes::from(self.counter.to_string());
            let replica = self.cluster.replica(id);
            if let Ok(index) = replica.propose(data.clone()) {
                let term = replica.status().term;
                self.witness.proposed(id, index, term, data);
            }
        }
        self.maybe_work(id);
    }

    fn crash_or_start(&mut self, id: ReplicaId) {
        if self.dead == Some(self.home[&id]) {
            return;
        }
        if self.is_up(id) {
            if self.chance.percent(25) {
                self.cluster.crash(id, 0);
                self.crashed(id);
            }
        } else {
            self.cluster.start(id);
            self.work(id);
        }
    }

    fn crashed(&mut self, id: ReplicaId) {
        self.totals.crashes += 1;
        let durable = self.cluster.members[&id].log.hard_state(GROUP);
        self.witness.crashed(id, durable.term);
    }

    fn part_or_heal(&mut self) {
        self.side.clear();
        if self.chance.percent(40) {
            for node in 1..=NODES {
                self.side.insert(NodeId(node), self.chance.below(2));
            }
        }
    }

    fn transfer(&mut self, to: ReplicaId) {
        if let Some(leader) = self.cluster.leader()
            && self.cluster.replica(leader).transfer_leader(to)
        {
            self.maybe_work(leader);
        }
    }

    /// A disk is lost for good, if the group can bear it now and once its job is done.
    fn die(&mut self, node: NodeId) {
        let bearable = |replicas: &BTreeSet<ReplicaId>| {
            let left = replicas.iter().filter(|id| self.home.get(id) != Some(&node)).count();
            replicas.is_empty() || left * 2 > replicas.len()
        };
        let goal = self.view().goal().iter().map(|placement| placement.replica).collect();
        let known = self.cluster.members.values();
        let bears = known
            .flat_map(|member| [&member.state.configuration, &member.durable.configuration])
            .all(|known| bearable(&known.voters) && bearable(&known.voters_outgoing));
        if self.dead.is_some() || !bears || !bearable(&goal) {
            return;
        }
        self.dead = Some(node);
        self.totals.deaths += 1;
        for id in self.ids() {
            if self.home[&id] == node && self.is_up(id) {
                self.cluster.crash(id, 0);
                self.crashed(id);
            }
        }
    }

    /// A node hears of the meta group, of its latest state if `all`: it ends the replicas that are named no
    /// more, and begins those that are named and never were.
    pub fn learn(&mut self, node: NodeId, all: bool) {
        if self.dead == Some(node) {
            return;
        }
        let latest = self.views.len() - 1;
        let seen = self.seen[&node];
        let next = if all { latest } else { seen + self.chance.below(latest - seen + 1) };
        self.seen.insert(node, next);
        let view = self.views[next].clone();
        let here: Vec<_> = view.named().filter(|placement| placement.node == node).collect();
        for id in self.ids() {
            let named = here.iter().any(|placement| placement.replica == id);
            if self.home[&id] == node && !named {
                self.cluster.destroy(id);
            }
        }
        for placement in here {
            let known = self.home.insert(placement.replica, node);
            if known.is_none() {
                let (index, term) = (LogIndex(0), Term(0));
                self.cluster.add(placement.replica, index, term, Configuration::default());
            }
        }
    }

    /// What the worker of a node does for a group that it leads.
    pub fn drive(&mut self, id: ReplicaId) {
        if !self.is_up(id) {
            return;
        }
        let view = self.views[self.seen[&self.home[&id]]].clone();
        let replica = self.cluster.replica(id);
        let (status, configuration) = (replica.status(), replica.configuration().clone());
        match next_step(&status, &configuration, id, view.job.as_ref()) {
            Step::Wait => {}
            Step::Propose(change) => match replica.propose_configuration(&change) {
                Ok(_) => {
                    self.totals.steps += 1;
                    self.maybe_work(id);
                }
                Err(error) => assert_eq!(error, ProposeError::Busy, "{change:?}"),
            },
            Step::HandOver => self.pass_on(id, &status, &configuration, &view),
            Step::Finished { undone } => {
                let latest = self.witness.leaders.last_key_value().map(|(term, _)| *term);
                if latest == Some(status.term) && self.view().job == view.job {
                    let next = self.view().finish(undone);
                    self.decide(Some(next));
                    *(if undone { &mut self.totals.undone } else { &mut self.totals.done }) += 1;
                }
            }
        }
    }

    fn pass_on(&mut self, id: ReplicaId, status: &Status, of: &Configuration, view: &View) {
        let goes = view.job.and_then(|job| job.remove).map(|placement| placement.replica);
        let able: Vec<ReplicaId> = status
            .peers
            .iter()
            .filter(|peer| of.voters.contains(&peer.replica) && Some(peer.replica) != goes)
            .filter(|peer| peer.active && peer.caught_up)
            .map(|peer| peer.replica)
            .collect();
        if let Some(to) = self.chance.one_of(&able)
            && self.cluster.replica(id).transfer_leader(to)
        {
            self.totals.handed_over += 1;
            self.maybe_work(id);
        }
    }

    /// Works now, or leaves it for later so that several inputs share a round.
    fn maybe_work(&mut self, id: ReplicaId) {
        if self.chance.percent(80) {
            self.work(id);
        }
    }

    pub fn work(&mut self, id: ReplicaId) {
        let cut = match self.chance.below(600) {
            0 => Some(Cut::BeforeInstall),
            1 => Some(Cut::AfterInstall),
            2 => Some(Cut::AfterWrite),
            3 => Some(Cut::AfterSync),
            _ => None,
        };
        self.work_until(id, cut);
    }

    pub fn work_until(&mut self, id: ReplicaId, cut: Option<Cut>) {
        if !self.is_up(id) {
            return;
        }
        let events = self.cluster.work(id, cut);
        if !self.is_up(id) {
            self.crashed(id);
        }
        for event in events {
            self.see(id, event);
        }
        if let Some(replica) = self.cluster.members.get(&id).and_then(|m| m.replica.as_ref())
            && replica.status().role != Role::Follower
        {
            let Configuration { voters, voters_outgoing, .. } = replica.configuration();
            let votes = voters.contains(&id) || voters_outgoing.contains(&id);
            assert!(votes, "{id} campaigns without a vote");
        }
    }

    fn see(&mut self, id: ReplicaId, event: Event) {
        match event {
            Event::Role(change) if change.role == Role::Leader => {
                self.witness.led(id, change);
                self.learn(self.home[&id], true);
            }
            Event::Role(_) | Event::Read(_) => {}
            Event::Applied(entry, configuration) => {
                let write = self.witness.applied(id, entry, configuration);
                self.totals.writes += u64::from(write);
            }
            Event::Installed(index) => {
                assert!(index <= self.witness.floor, "{id} installed what nobody applied");
                self.totals.snapshots += 1;
            }
        }
    }
}
