//! What a process does when its turn comes, and what comes of it: one turn of its worker, some of its applier's work,
//! and everything that both want to say.

use flin_groups::clock::Clock;
use flin_groups::forward::Lost;
use flin_groups::{Fatal, Input};
use flin_state::engine::Engine;
use flin_state::ids::NodeId;

use crate::machine::Slot;
use crate::network::{Fate, Parcel};
use crate::world::{Event, World};

/// The pause between two looks of a node at what its background tasks look at.
pub(crate) const LOOK_US: u64 = 250_000;
/// The pause between two looks at the size of the log.
pub(crate) const UPKEEP_US: u64 = 1_000_000;
/// How long a worker thinks.
const THINK_US: u64 = 20;
/// The longest that work waits for the applier.
const APPLY_US: u64 = 3_000;
/// How long a broken connection takes to be noticed.
const BREAK_US: (u64, u64) = (1_000, 400_000);

impl World {
    pub(crate) fn turn(&mut self, slot: Slot, life: u32) {
        let now_us = self.time.now_us();
        let Some(process) = self.process(slot, life) else { return };
        // A turn that was planned and then brought forward is one too many.
        if process.turn_us.is_none_or(|planned| planned > now_us) {
            return;
        }
        process.turn_us = None;
        if process.busy_until_us > now_us {
            let wait_us = process.busy_until_us - now_us;
            process.turn_us = Some(process.busy_until_us);
            self.plan(wait_us, Event::Turn(slot, life));
            return;
        }
        let taken = process.stepper.turn();
        match taken {
            Ok(()) => self.settle(slot),
            Err(fatal) => {
                // What left before the failure is on its way.
                self.observe(slot);
                self.collect(slot);
                self.fail(slot, &fatal);
            }
        }
    }

    pub(crate) fn apply(&mut self, slot: Slot, life: u32) {
        let items = 1 + self.chance.below(64);
        let Some(process) = self.process(slot, life) else { return };
        process.apply_planned = false;
        let applied = process.stepper.apply(usize::try_from(items).unwrap_or(1));
        match applied {
            Ok(()) => self.settle(slot),
            Err(fatal) => self.fail(slot, &fatal),
        }
    }

    /// After something happened on a machine: takes what its process wants to say, and plans what it does next.
    pub(crate) fn settle(&mut self, slot: Slot) {
        // Before anybody hears of a replica, it is known where it lives.
        self.observe(slot);
        self.collect(slot);
        self.spread(slot);
        let now_us = self.time.now_us();
        let lag_us = self.chance.below(APPLY_US);
        let Some(machine) = self.machines.get_mut(&slot) else { return };
        let Some(process) = &mut machine.process else { return };
        let life = process.life;
        let due_ms = process.stepper.due_ms();
        let clock_us = machine.clock.monotonic_us();
        // Something may have come: the worker looks at once, unless it waits for the disk.
        let soon_us = now_us.max(process.busy_until_us) + THINK_US;
        let at_us = match process.stepper.has_inputs() || due_ms == 0 {
            true => soon_us,
            false => soon_us.max(now_us + (due_ms * 1_000).saturating_sub(clock_us)),
        };
        let planned = process.turn_us.is_some_and(|planned| planned <= at_us);
        if !planned {
            process.turn_us = Some(at_us);
        }
        let to_apply = process.stepper.to_apply() > 0 && !process.apply_planned;
        process.apply_planned |= to_apply;
        if !planned {
            self.plan_at(at_us, Event::Turn(slot, life));
        }
        if to_apply {
            self.plan_at(soon_us + lag_us, Event::Apply(slot, life));
        }
    }

    /// Takes what a process wants to say.
    fn collect(&mut self, slot: Slot) {
        let now_us = self.time.now_us();
        let Some(machine) = self.machines.get_mut(&slot) else { return };
        let sync_us = machine.sync_us;
        let Some(process) = &mut machine.process else { return };
        let mut exit = process.exit.lock().expect("one thread alone simulates");
        let parcels = std::mem::take(&mut exit.parcels);
        let snapshots = std::mem::take(&mut exit.snapshots);
        if std::mem::take(&mut exit.synced) {
            process.busy_until_us = process.busy_until_us.max(now_us + sync_us);
        }
        for transfer in std::mem::take(&mut exit.decided) {
            process.staging.retain(|_, receiving| receiving.transfer != transfer);
        }
        drop(exit);
        let life = process.life;
        for (parcel, after_sync) in parcels {
            let leaves_us = now_us + if after_sync { sync_us } else { 0 };
            self.send((slot, life), parcel, leaves_us);
        }
        for (to, message) in snapshots {
            let after_us = self.chance.below(50_000);
            self.plan(after_us, Event::BeginSnapshot(slot, life, to, message));
        }
    }

    /// Sends a parcel over the network.
    pub(crate) fn send(&mut self, sender: (Slot, u32), parcel: Parcel, leaves_us: u64) {
        self.watch.sees_sent(&parcel);
        let to = self.slot_of(parcel.to);
        let fate = match to {
            Some(to) => {
                self.network.fate((sender.0, to), &parcel.body, leaves_us, &mut self.chance)
            }
            None => Fate::Lost,
        };
        match (fate, to) {
            (Fate::Arrives(times), Some(to)) => {
                for at_us in times {
                    let parcel = parcel.clone();
                    self.plan_at(at_us, Event::Arrive { to, parcel, sender, leaves_us });
                }
            }
            (Fate::Lost, _) | (_, None) => self.lost(sender, parcel),
        }
    }

    /// What a process forwarded to a node is lost with the connection to it.
    pub(crate) fn break_connection(&mut self, slot: Slot, life: u32, peer: NodeId) {
        let Some(process) = self.process(slot, life) else { return };
        let mut exit = process.exit.lock().expect("one thread alone simulates");
        let waiting = std::mem::take(&mut exit.waiting).into_iter();
        let (broken, waiting): (Vec<_>, Vec<_>) = waiting.partition(|(_, (node, _))| *node == peer);
        exit.waiting = waiting.into_iter().collect();
        drop(exit);
        for (_, (_, answer)) in broken {
            let _ = answer.send(Err(Lost::Sent));
        }
        process.groups.tell(Input::Unreachable(peer));
        self.settle(slot);
    }

    /// Has a process notice that its connection to `peer` is broken, after a while.
    pub(crate) fn plan_break(&mut self, slot: Slot, life: u32, peer: NodeId) {
        let after_us = self.chance.between(BREAK_US.0, BREAK_US.1);
        self.plan(after_us, Event::Break(slot, life, peer));
    }

    pub(crate) fn look(&mut self, slot: Slot, life: u32) {
        if self.process(slot, life).is_none() {
            return;
        }
        self.compare_states(slot);
        self.settle(slot);
        let after_us = LOOK_US + self.chance.below(LOOK_US);
        self.plan(after_us, Event::Look(slot, life));
    }

    pub(crate) fn keep_up(&mut self, slot: Slot, life: u32) {
        let (size, after_us) = (self.size, UPKEEP_US + self.chance.below(100_000));
        let Some(machine) = self.machines.get_mut(&slot) else { return };
        let Some(process) = machine.process.as_mut().filter(|p| p.life == life) else { return };
        if process.log.size_bytes() > size.budget_bytes {
            let engine: &dyn Engine = &machine.engine;
            match flin_groups::upkeep::flush(engine, &*process.log) {
                Ok(durable) => drop(process.groups.tell(Input::Durable(durable))),
                Err(error) => return self.fail(slot, &Fatal::Engine(error)),
            }
        }
        self.settle(slot);
        self.plan(after_us, Event::Upkeep(slot, life));
    }

    /// Looks at the groups of a process for what must never be.
    fn observe(&mut self, slot: Slot) {
        let Some(machine) = self.machines.get_mut(&slot) else { return };
        let serial = machine.serial;
        let Some(process) = &mut machine.process else { return };
        let committed = process.stepper.take_committed();
        let replicas: Vec<_> = process.stepper.replicas().collect();
        for (group, replica, term, leads) in replicas {
            self.watch.sees_replica(slot, serial, group, replica);
            if leads {
                self.watch.sees_leader(group, term, replica);
            }
        }
        for entry in committed {
            self.watch.sees_committed(entry);
        }
    }
}
