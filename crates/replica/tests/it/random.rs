//! Seeded random schedules: messages are dropped, doubled and reordered, replicas crash anywhere in a
//! round and lose what was not synced, networks part, leaderships move. What must hold always holds:
//! one leader per term, matching logs, no committed entry lost, linearizable reads; and once the faults
//! end, the group works again.
//!
//! A failure prints its seed; `FLIN_REPLICA_SEED=seed cargo test -p flin-replica random` runs it alone,
//! `FLIN_REPLICA_SEEDS=count` runs more of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use flin_replica::Role;
use flin_state::ids::{LogIndex, ReplicaId, Term};

use crate::chance::{Chance, Seeds};
use crate::cluster::{Cluster, Cut, Event, Parcel};
use crate::witness::{Committed, Witness, check_logs};

const SEEDS: u64 = 200;
const STEPS: usize = 800;

#[test]
fn three_replicas_keep_their_promises_under_random_faults() {
    run_seeds(3);
}

#[test]
fn five_replicas_keep_their_promises_under_random_faults() {
    run_seeds(5);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [1, 77] {
        assert_eq!(World::run(3, seed), World::run(3, seed));
    }
    assert_ne!(World::run(3, 1), World::run(3, 2));
}

fn run_seeds(replicas: u64) {
    let seeds = Seeds::from_environment(SEEDS);
    let mut totals = Totals::default();
    seeds.run(&format!("{replicas} replicas"), |seed| {
        totals.add(&World::run(replicas, seed).totals);
    });
    // A schedule in which nothing happens proves nothing.
    if !seeds.chosen {
        let count = seeds.count();
        println!("{replicas} replicas, {count} seeds: {totals:?}");
        let Totals { leaders, writes, reads, crashes, snapshots, transfers } = totals;
        assert!(leaders > 2 * count && writes > 20 * count && reads > 4 * count, "{totals:?}");
        assert!(crashes > 2 * count && snapshots > count / 4 && transfers > count, "{totals:?}");
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    leaders: u64,
    writes: u64,
    reads: u64,
    crashes: u64,
    snapshots: u64,
    transfers: u64,
}

impl Totals {
    fn add(&mut self, other: &Totals) {
        self.leaders += other.leaders;
        self.writes += other.writes;
        self.reads += other.reads;
        self.crashes += other.crashes;
        self.snapshots += other.snapshots;
        self.transfers += other.transfers;
    }
}

/// What a run leaves behind, to compare two.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    totals: Totals,
    committed: BTreeMap<LogIndex, Committed>,
    leaders: BTreeMap<Term, ReplicaId>,
}

struct Read {
    /// What was known applied somewhere when it was asked; it must be seen.
    floor: LogIndex,
    index: Option<LogIndex>,
}

struct World {
    chance: Chance,
    cluster: Cluster,
    /// The side of the network each replica is on.
    side: BTreeMap<ReplicaId, usize>,
    witness: Witness,
    reads: BTreeMap<(ReplicaId, u64), Read>,
    /// The last context used by each running replica.
    contexts: BTreeMap<ReplicaId, u64>,
    counter: u64,
    totals: Totals,
}

impl World {
    fn run(replicas: u64, seed: u64) -> Run {
        let mut world = World {
            chance: Chance(seed),
            cluster: Cluster::new(replicas, seed),
            side: BTreeMap::new(),
            witness: Witness::default(),
            reads: BTreeMap::new(),
            contexts: BTreeMap::new(),
            counter: 0,
            totals: Totals::default(),
        };
        for step in 0..STEPS {
            world.step();
            if step % 40 == 0 {
                check_logs(&world.cluster);
            }
        }
        world.recover();
        check_logs(&world.cluster);
        for member in world.cluster.members.values() {
            world.witness.check_state(member.id, &member.state);
        }
        let Witness { committed, leaders, .. } = world.witness;
        Run { totals: world.totals, committed, leaders }
    }

    fn any_replica(&mut self) -> ReplicaId {
        ReplicaId(1 + self.chance.below(self.cluster.members.len()) as u64)
    }

    fn step(&mut self) {
        let id = self.any_replica();
        let running = self.cluster.members[&id].replica.is_some();
        match self.chance.below(100) {
            0..66 => self.deliver(),
            66..76 => self.tick(),
            76..86 => self.propose(id),
            86..91 if running => self.read(id),
            91..94 => self.crash_or_start(id),
            94..95 => self.part_or_heal(),
            95..96 => self.transfer(),
            96..98 if running => {
                let left = self.chance.below(4) as u64;
                self.cluster.compact(id, left);
            }
            98..99 if running => {
                let peer = self.any_replica();
                self.cluster.replica(id).report_unreachable(peer);
            }
            _ => {}
        }
    }

    /// Clocks drift: most tick, some do not.
    fn tick(&mut self) {
        let ids: Vec<_> = self.cluster.members.keys().copied().collect();
        for id in ids {
            let running = self.cluster.members[&id].replica.is_some();
            if running && self.chance.percent(75) {
                self.cluster.replica(id).tick();
                self.maybe_work(id);
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
            self.hand_over(parcel, lost);
        }
    }

    fn hand_over(&mut self, parcel: Parcel, lost: bool) {
        let (to, snapshot) = (parcel.message.to, parcel.message.is_snapshot());
        if lost {
            return self.cluster.lose(parcel);
        }
        self.cluster.deliver(parcel).ok();
        if snapshot {
            self.work(to);
        } else {
            self.maybe_work(to);
        }
    }

    fn connected(&self, parcel: &Parcel) -> bool {
        let side = |id| self.side.get(&id).copied().unwrap_or(0);
        side(parcel.message.from) == side(parcel.message.to)
    }

    fn propose(&mut self, id: ReplicaId) {
        // Mostly where it can succeed.
        let id = if self.chance.percent(80) { self.cluster.leader().unwrap_or(id) } else { id };
        if self.cluster.members[&id].replica.is_none() {
            return;
        }
        for _ in 0..=self.chance.below(3) {
            self.counter += 1;
            let length = 8 + self.chance.below(60);
            let data = Bytes::from(format!("{:0length$}", self.counter));
            let replica = self.cluster.replica(id);
            if let Ok(index) = replica.propose(data.clone()) {
                let term = replica.status().term;
                self.witness.proposed(id, index, term, data);
            }
        }
        self.maybe_work(id);
    }

    fn read(&mut self, id: ReplicaId) {
        // A node counts anew after each start, so contexts come back.
        let context = self.contexts.entry(id).or_default();
        *context += 1;
        let context = *context;
        if self.cluster.replica(id).read_index(context).is_ok() {
            self.reads.insert((id, context), Read { floor: self.witness.floor, index: None });
        }
        self.maybe_work(id);
    }

    fn crash_or_start(&mut self, id: ReplicaId) {
        if self.cluster.members[&id].replica.is_none() {
            self.cluster.start(id);
            self.work(id);
        } else if self.chance.percent(40) {
            self.cluster.crash(id, 0);
            self.crashed(id);
        }
    }

    fn crashed(&mut self, id: ReplicaId) {
        self.totals.crashes += 1;
        self.reads.retain(|(reader, _), _| *reader != id);
        self.contexts.remove(&id);
    }

    fn part_or_heal(&mut self) {
        if self.chance.percent(50) {
            self.side.clear();
            return;
        }
        let ids: Vec<_> = self.cluster.members.keys().copied().collect();
        for id in ids {
            let side = self.chance.below(2);
            self.side.insert(id, side);
        }
    }

    fn transfer(&mut self) {
        let to = self.any_replica();
        if let Some(leader) = self.cluster.leader()
            && self.cluster.replica(leader).transfer_leader(to)
        {
            self.totals.transfers += 1;
            self.maybe_work(leader);
        }
    }

    /// Works now, or leaves it for later so that several inputs share a round.
    fn maybe_work(&mut self, id: ReplicaId) {
        if self.chance.percent(80) {
            self.work(id);
        }
    }

    fn work(&mut self, id: ReplicaId) {
        if self.cluster.members.get(&id).is_none_or(|member| member.replica.is_none()) {
            return;
        }
        let cut = match self.chance.below(800) {
            0 => Some(Cut::BeforeInstall),
            1 => Some(Cut::AfterInstall),
            2 => Some(Cut::AfterWrite),
            3 => Some(Cut::AfterSync),
            _ => None,
        };
        let events = self.cluster.work(id, cut);
        let crashed = self.cluster.members[&id].replica.is_none();
        for event in events {
            self.see(id, event);
        }
        if crashed {
            self.crashed(id);
        }
        self.answer_reads(id);
    }

    fn see(&mut self, id: ReplicaId, event: Event) {
        match event {
            Event::Role(change) if change.role == Role::Leader => {
                self.witness.led(id, change);
                self.totals.leaders += 1;
            }
            Event::Role(_) => {}
            Event::Applied(entry, configuration) => {
                let write = self.witness.applied(id, entry, configuration);
                self.totals.writes += u64::from(write);
            }
            Event::Installed(index) => {
                assert!(index <= self.witness.floor, "{id} installed what nobody applied");
                self.totals.snapshots += 1;
            }
            Event::Read(read) => {
                // A doubled message answers twice; the first answer counts.
                if let Some(asked) = self.reads.get_mut(&(id, read.context)) {
                    asked.index.get_or_insert(read.index);
                }
            }
        }
    }

    fn answer_reads(&mut self, id: ReplicaId) {
        let applied = self.cluster.members[&id].state.index;
        let mut answered = 0;
        self.reads.retain(|(reader, context), read| {
            let due = *reader == id && read.index.is_some_and(|index| index <= applied);
            if due {
                let floor = read.floor;
                assert!(applied >= floor, "read {context} on {id} saw {applied} after {floor}");
                answered += 1;
            }
            !due
        });
        self.totals.reads += answered;
    }

    /// Ends all faults. The group must elect, commit, and bring everyone to the same state.
    fn recover(&mut self) {
        self.side.clear();
        let ids: Vec<_> = self.cluster.members.keys().copied().collect();
        for id in &ids {
            if self.cluster.members[id].replica.is_none() {
                self.cluster.start(*id);
            }
        }
        let last = Bytes::from_static(b"the last");
        for round in 0..400 {
            for id in &ids {
                self.cluster.replica(*id).tick();
                self.calm_work(*id);
            }
            for _ in 0..50 {
                let parcels = std::mem::take(&mut self.cluster.network);
                for parcel in parcels {
                    let to = parcel.message.to;
                    self.cluster.deliver(parcel).ok();
                    self.calm_work(to);
                }
            }
            if let Some(index) = self.witness.place_of(&last) {
                if self.cluster.members.values().all(|member| member.state.index >= index) {
                    return;
                }
            } else if let Some(leader) = self.cluster.leader()
                && round % 40 == 0
            {
                // The first of these may be proposed by a leader that lost its group already.
                self.cluster.replica(leader).propose(last.clone()).ok();
                self.calm_work(leader);
            }
        }
        let status = |id: &ReplicaId| self.cluster.members[id].replica.as_ref().map(|r| r.status());
        let all: BTreeMap<_, _> = ids.iter().map(|id| (id, status(id))).collect();
        panic!("the group did not recover: {all:#?}");
    }

    fn calm_work(&mut self, id: ReplicaId) {
        for event in self.cluster.work(id, None) {
            self.see(id, event);
        }
        self.answer_reads(id);
    }
}
