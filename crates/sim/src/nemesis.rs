//! Strikes the cluster with faults, and takes back what they did.
//!
//! Two things are never done, because no cluster survives them and none promises to: no group loses the disks of
//! so many of its voters that no majority of intact ones is left, and the last bytes of a log, which a power
//! failure may cut anyway, are not damaged ([`damage`](crate::damage)).

use std::collections::{BTreeMap, BTreeSet};

use flin_engine::disk::Crash;
use flin_groups::Input;
use flin_state::cluster::ClusterState;
use flin_state::ids::{GroupId, NodeId, ReplicaId};

use crate::fault::{Fault, Role};
use crate::machine::Slot;
use crate::network::Trouble;
use crate::plan::Planned;
use crate::world::{Event, World};

/// How long a role is waited for that nobody plays.
const PATIENCE_US: u64 = 3_000_000;
/// The pause between two looks for it.
const IMPATIENCE_US: u64 = 50_000;
/// How long a slow disk is slow.
const SLOW_US: u64 = 2_000_000;
/// The time between two hand-overs of a storm.
const STORM_STEP_US: u64 = 250_000;
/// How long a damaged disk stays in place if nobody notices.
const ROT_US: u64 = 4_000_000;

/// What ends a fault.
#[derive(Clone, Debug)]
pub(crate) enum Relief {
    /// Links carry again.
    Unblock(BTreeSet<(Slot, Slot)>),
    /// Links are good again.
    Calm(Trouble),
    /// A machine goes on, after its monotonic clock missed so much.
    Thaw { slot: Slot, missed_us: u64 },
    /// A disk has room again.
    Room(Slot),
    /// A disk is as fast as it was.
    Fast(Slot, u64),
    /// Snapshots arrive again.
    Snapshots,
    /// A node hands its leaderships over, or takes some back, so many times more.
    Storm { slot: Slot, steps: u64, away: bool },
    /// A damaged disk is replaced.
    NewDisk { slot: Slot, serial: u64 },
}

/// What was struck, and how often: by kind and role.
pub type Coverage = BTreeMap<(&'static str, Role), u64>;

impl World {
    /// Has the faults of the plan happen from now on.
    pub(crate) fn unleash(&mut self, faults: &[Planned]) {
        for (at, planned) in faults.iter().enumerate() {
            self.plan(planned.at_us, Event::Strike(at, 0));
        }
        self.faults = faults.to_vec();
    }

    /// A fault strikes, or waits for somebody to strike.
    pub(crate) fn strike(&mut self, at: usize, waited_us: u64) {
        let Planned { fault, role, choice, .. } = self.faults[at];
        if self.calm {
            return;
        }
        let Some((slot, role)) = self.victim(role, choice, waited_us >= PATIENCE_US) else {
            if waited_us == 0 && role == Role::Learner {
                self.shuffle_members(choice);
            }
            return self.plan(IMPATIENCE_US, Event::Strike(at, waited_us + IMPATIENCE_US));
        };
        if self.inflict(fault, slot, choice) {
            self.tell(format!("machine {} ({role}): {fault:?}", slot.0));
            let roles = if fault.is_global() { self.roles() } else { BTreeSet::from([role]) };
            for role in roles {
                *self.coverage.entry((fault.kind(), role)).or_default() += 1;
            }
        }
    }

    /// Who plays a role. Once nobody did for too long, somebody else is struck.
    fn victim(&self, role: Role, choice: u64, anyone: bool) -> Option<(Slot, Role)> {
        let mut candidates: Vec<Slot> = match role {
            Role::MetaLeader => self.leader_of(GroupId::META).into_iter().collect(),
            Role::Leader => self.partitions().filter_map(|group| self.leader_of(group)).collect(),
            Role::Follower => self.followers(),
            Role::Learner => self.learners(),
        };
        candidates.sort_unstable();
        candidates.dedup();
        let pick = |slots: &[Slot]| {
            let at = usize::try_from(choice % slots.len().max(1) as u64).unwrap_or(0);
            slots.get(at).copied()
        };
        if let Some(slot) = pick(&candidates) {
            return Some((slot, role));
        }
        let running: Vec<Slot> = self.lives().map(|(slot, _)| slot).collect();
        pick(&running).filter(|_| anyone).map(|slot| (slot, Role::Follower))
    }

    /// The roles that anybody plays.
    fn roles(&self) -> BTreeSet<Role> {
        Role::ALL.into_iter().filter(|role| self.victim(*role, 0, false).is_some()).collect()
    }

    fn partitions(&self) -> impl Iterator<Item = GroupId> + use<> {
        (1..=self.genesis.partitions).map(GroupId)
    }

    fn followers(&self) -> Vec<Slot> {
        let follows = |(slot, process): (&Slot, &crate::machine::Machine)| {
            let stepper = &process.process.as_ref()?.stepper;
            stepper.replicas().any(|(_, _, _, leads)| !leads).then_some(*slot)
        };
        self.machines.iter().filter_map(follows).collect()
    }

    /// The machines that hold a replica that does not vote yet.
    fn learners(&self) -> Vec<Slot> {
        let learns = |slot: &Slot| {
            let process = self.machines[slot].process.as_ref()?;
            let learner = process.stepper.replicas().any(|(group, replica, _, _)| {
                let leader = self.leader_of(group).and_then(|l| self.machines[&l].process.as_ref());
                let known = leader.and_then(|leader| leader.stepper.configuration(group));
                known.is_some_and(|configuration| configuration.learners.contains(&replica))
            });
            learner.then_some(*slot)
        };
        self.machines.keys().filter_map(learns).collect()
    }

    /// Does what a fault does; returns whether it did anything.
    fn inflict(&mut self, fault: Fault, slot: Slot, choice: u64) -> bool {
        match fault {
            Fault::Kill => self.end(slot, Crash::Kill),
            Fault::PowerLoss => {
                let how = self.torn();
                self.end(slot, how);
            }
            Fault::Blackout => {
                for (slot, _) in self.lives().collect::<Vec<_>>() {
                    let how = self.torn();
                    self.end(slot, how);
                }
            }
            Fault::KillMajority => {
                let mut lives: Vec<_> = self.lives().map(|(slot, _)| slot).collect();
                self.chance.shuffle(&mut lives);
                for slot in &lives[..=lives.len() / 2] {
                    self.end(*slot, Crash::Kill);
                }
            }
            Fault::PowerLossInRound(operations) => {
                self.hurt(slot).disk.halt_after(u64::from(operations));
            }
            Fault::SyncError => self.hurt(slot).disk.fail_next_sync(),
            Fault::WriteError => self.hurt(slot).disk.fail_next_write(),
            Fault::EngineError => self.hurt(slot).engine.set_failing(true),
            Fault::FullDisk(ms) => {
                let machine = self.hurt(slot);
                machine.full = true;
                machine.disk.set_full(true);
                self.relief(ms, Relief::Room(slot));
            }
            Fault::SlowDisk(ms) => {
                let machine = self.machine(slot);
                let usual_us = machine.sync_us;
                machine.sync_us = u64::from(ms) * 1_000;
                self.plan(SLOW_US, Event::Relief(Relief::Fast(slot, usual_us)));
            }
            Fault::Pause(ms) => {
                self.freeze(slot);
                self.relief(ms, Relief::Thaw { slot, missed_us: 0 });
            }
            Fault::Suspend(ms) => {
                self.freeze(slot);
                self.relief(ms, Relief::Thaw { slot, missed_us: u64::from(ms) * 1_000 });
            }
            Fault::ClockJump(ms) => self.machine(slot).clock.jump(i64::from(ms) * 1_000),
            Fault::ClockDrift(ppm) => self.machine(slot).clock.drift(i64::from(ppm)),
            Fault::Lossy(ms) => self.trouble(ms, Trouble { lost: 30, ..Trouble::default() }),
            Fault::Jumbled(ms) => {
                self.trouble(ms, Trouble { doubled: 30, jumbled: true, ..Trouble::default() });
            }
            Fault::Late(ms) => {
                self.trouble(ms, Trouble { late_us: 300_000, ..Trouble::default() });
            }
            Fault::BadSnapshots(ms) => {
                self.cut_snapshots += 1;
                self.relief(ms, Relief::Snapshots);
            }
            Fault::Isolate(ms)
            | Fault::Deaf(ms)
            | Fault::Mute(ms)
            | Fault::Bridge(ms)
            | Fault::Ring(ms) => self.cut(ms, slot, fault),
            Fault::TransferStorm(ms) => {
                let steps = 1 + u64::from(ms) * 1_000 / STORM_STEP_US;
                self.relieve(Relief::Storm { slot, steps, away: true });
            }
            Fault::LostDisk => return self.lose_disk(slot),
            Fault::Rot => return self.rot(slot),
            Fault::Join | Fault::Leave => return self.change_members(fault == Fault::Join, choice),
        }
        true
    }

    /// Takes back what a fault did.
    pub(crate) fn relieve(&mut self, relief: Relief) {
        match relief {
            Relief::Unblock(links) => self.network.unblock(&links),
            Relief::Calm(trouble) => self.network.calm(trouble),
            Relief::Thaw { slot, missed_us } => {
                self.machine(slot).clock.miss(missed_us);
                self.thaw(slot);
            }
            Relief::Room(slot) => {
                let machine = self.machine(slot);
                machine.full = false;
                machine.disk.set_full(false);
            }
            Relief::Fast(slot, usual_us) => self.machine(slot).sync_us = usual_us,
            Relief::Snapshots => self.cut_snapshots = self.cut_snapshots.saturating_sub(1),
            Relief::Storm { slot, steps, away } => {
                let away = away && !self.calm && steps > 0;
                if let Some(process) = self.running(slot) {
                    process.groups.tell(Input::StepDown { undo: !away });
                    self.settle(slot);
                }
                if steps > 0 && !self.calm {
                    let next = Relief::Storm { slot, steps: steps - 1, away: !away };
                    self.plan(STORM_STEP_US, Event::Relief(next));
                }
            }
            Relief::NewDisk { slot, serial } => {
                if self.machines[&slot].serial == serial {
                    self.tell(format!("machine {} gets a new disk", slot.0));
                    self.empty(slot);
                }
            }
        }
    }

    /// Ends every fault: from now on nothing goes wrong.
    pub(crate) fn make_peace(&mut self) {
        self.calm = true;
        self.cut_snapshots = 0;
        self.network.heal();
        for slot in self.machines.keys().copied().collect::<Vec<_>>() {
            let machine = self.machine(slot);
            machine.clock.mend();
            machine.disk.set_full(false);
            machine.disk.mend();
            machine.engine.set_failing(false);
            machine.full = false;
            self.thaw(slot);
            self.relieve(Relief::Storm { slot, steps: 0, away: false });
            self.restart(slot);
        }
        self.tell("peace");
    }

    fn machine(&mut self, slot: Slot) -> &mut crate::machine::Machine {
        self.machines.get_mut(&slot).expect("a slot of the plan")
    }

    /// The machine, of which something may fail from now on.
    fn hurt(&mut self, slot: Slot) -> &mut crate::machine::Machine {
        let machine = self.machine(slot);
        machine.hurt = true;
        machine
    }

    /// The process on a machine ends, and comes back some time later.
    fn end(&mut self, slot: Slot, how: Crash) {
        self.crash(slot, how);
        let after_us = self.chance.between(20_000, 3_000_000);
        self.plan(after_us, Event::Restart(slot));
    }

    fn relief(&mut self, ms: u16, relief: Relief) {
        self.plan(u64::from(ms) * 1_000, Event::Relief(relief));
    }

    fn trouble(&mut self, ms: u16, trouble: Trouble) {
        self.network.trouble(trouble);
        self.relief(ms, Relief::Calm(trouble));
    }

    /// Blocks links as `fault` has it, around `slot`.
    fn cut(&mut self, ms: u16, slot: Slot, fault: Fault) {
        let mut slots: Vec<Slot> = self.machines.keys().copied().collect();
        self.chance.shuffle(&mut slots);
        let place = |slot: Slot| slots.iter().position(|s| *s == slot).unwrap_or(0);
        let half = slots.len() / 2;
        let blocked = |from: Slot, to: Slot| match fault {
            Fault::Isolate(_) => from == slot || to == slot,
            Fault::Deaf(_) => to == slot,
            Fault::Mute(_) => from == slot,
            // The one at `half` reaches both sides.
            Fault::Bridge(_) => {
                let (from, to) = (place(from), place(to));
                from != half && to != half && (from < half) != (to < half)
            }
            _ => {
                let apart = place(from).abs_diff(place(to));
                apart != 1 && apart != slots.len() - 1
            }
        };
        let pairs = slots.iter().flat_map(|from| slots.iter().map(move |to| (*from, *to)));
        let links: BTreeSet<_> =
            pairs.filter(|(from, to)| from != to && blocked(*from, *to)).collect();
        self.network.block(&links);
        // What was on its way stays away, and whoever waits for it notices in time.
        for (from, to) in &links {
            let life = self.running(*from).map(|process| process.life);
            let peer = self.running(*to).map(|process| process.node);
            if let (Some(life), Some(peer)) = (life, peer) {
                self.plan_break(*from, life, peer);
            }
        }
        self.relief(ms, Relief::Unblock(links));
    }

    fn lose_disk(&mut self, slot: Slot) -> bool {
        if !self.can_lose(slot) {
            return false;
        }
        self.empty(slot);
        true
    }

    /// Damages the log of a machine while its node is down.
    fn rot(&mut self, slot: Slot) -> bool {
        if !self.can_lose(slot) {
            return false;
        }
        self.machine(slot).remember_log();
        self.crash(slot, Crash::Kill);
        let seed = self.chance.number();
        let machine = self.machine(slot);
        let serial = machine.serial;
        let damaged = crate::damage::damage(&machine.disk, seed);
        machine.rotten = damaged;
        if damaged {
            self.plan(ROT_US, Event::Relief(Relief::NewDisk { slot, serial }));
        }
        let after_us = self.chance.between(20_000, 1_000_000);
        self.plan(after_us, Event::Restart(slot));
        damaged
    }

    /// Ends what runs on a machine and gives it an empty disk.
    pub(crate) fn empty(&mut self, slot: Slot) {
        self.crash(slot, Crash::Kill);
        self.serials += 1;
        let serial = self.serials;
        self.machine(slot).replace_disk(serial);
        self.show_disks();
    }

    /// Whether every group keeps a majority of intact voters without the disk of `slot`, in every configuration that
    /// any replica knows or that a move leads to.
    fn can_lose(&self, slot: Slot) -> bool {
        let Some(state) = self.newest_state() else { return false };
        let intact = |node: NodeId| {
            let home = self.slot_of(node).filter(|home| *home != slot);
            home.is_some_and(|home| self.machines[&home].is_intact())
        };
        let decides = |voters: &[(ReplicaId, NodeId)]| {
            let left = voters.iter().filter(|(_, node)| intact(*node)).count();
            voters.is_empty() || left * 2 > voters.len()
        };
        self.machines[&slot].identity.is_some()
            && state
                .groups()
                .all(|group| self.electorates(group, &state).iter().all(|e| decides(e)))
    }

    /// The sets of voters that decide in a group, or are about to.
    fn electorates(&self, group: GroupId, state: &ClusterState) -> Vec<Vec<(ReplicaId, NodeId)>> {
        let mut electorates = Vec::new();
        for machine in self.machines.values() {
            let process = machine.process.as_ref();
            let known = process.and_then(|process| process.stepper.configuration(group));
            let Some(known) = known else { continue };
            let named = |voters: &BTreeSet<ReplicaId>| {
                let node = |replica: &ReplicaId| Some((*replica, *known.nodes.get(replica)?));
                voters.iter().filter_map(node).collect()
            };
            electorates.push(named(&known.voters));
            electorates.push(named(&known.voters_outgoing));
        }
        let placed = state.replicas_of(group).iter().map(|p| (p.replica, p.node));
        let placed: Vec<_> = placed.collect();
        if let Some(job) = state.jobs.get(&group) {
            let removed = job.remove.map(|placement| placement.replica);
            let added = job.add.map(|placement| (placement.replica, placement.node));
            let kept = placed.iter().copied().filter(|(replica, _)| Some(*replica) != removed);
            electorates.push(kept.chain(added).collect());
        }
        electorates.push(placed);
        electorates
    }

    /// A machine is asked to join, or to leave.
    fn change_members(&mut self, join: bool, choice: u64) -> bool {
        let factor = usize::from(self.replication_factor());
        let mut wanted = self.wishes.members();
        let able: Vec<Slot> = match join {
            true => self.machines.keys().copied().filter(|slot| !wanted.contains(slot)).collect(),
            false if wanted.len() <= factor => Vec::new(),
            false => wanted.iter().copied().collect(),
        };
        if able.is_empty() {
            return false;
        }
        let slot = able[usize::try_from(choice % able.len() as u64).unwrap_or(0)];
        if join {
            wanted.insert(slot);
        } else {
            wanted.remove(&slot);
        }
        let numbers: Vec<u8> = wanted.iter().map(|slot| slot.0).collect();
        self.tell(format!("members shall be on machines {numbers:?}"));
        self.wishes.want(wanted);
        true
    }

    /// Has replicas move, so that there are learners to strike.
    fn shuffle_members(&mut self, choice: u64) {
        let changed = self.change_members(choice & 1 == 0, choice >> 1);
        if !changed {
            self.change_members(choice & 1 != 0, choice >> 1);
        }
    }

    fn replication_factor(&self) -> u8 {
        self.newest_state().map_or(self.genesis.replication_factor, |s| s.replication_factor)
    }
}
