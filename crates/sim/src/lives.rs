//! How processes begin and end.

use std::sync::Arc;

use flin_engine::disk::Crash;
use flin_groups::Fatal;
use flin_groups::clock::Clock;
use flin_groups::form::form;
use flin_groups::rebalance::{RebalanceMetrics, rebalance};
use flin_state::ids::NodeId;
use prometheus_client::registry::Registry;

use crate::kernel::Owner;
use crate::machine::{Slot, StartError};
use crate::turns::{LOOK_US, UPKEEP_US};
use crate::world::{Door, Event, World};

impl World {
    /// A process ended by itself, which it may only after something was done to its disk.
    pub(crate) fn fail(&mut self, slot: Slot, fatal: &Fatal) {
        let machine = self.machines.get_mut(&slot).expect("it has just worked");
        let words = told(fatal);
        if machine.hurt || machine.rotten {
            self.tell(format!("machine {} ends: {words}", slot.0));
        } else {
            self.watch.accuse(format!("machine {} ended without a fault: {words}", slot.0));
        }
        // A disk whose power failed half way loses what was not synced; else only the process is gone.
        let off = self.machines[&slot].disk.is_halted();
        let how = if off { self.torn() } else { Crash::Kill };
        self.crash(slot, how);
        let after_us = self.chance.between(50_000, 2_000_000);
        self.plan(after_us, Event::Restart(slot));
    }

    /// A power failure that loses an arbitrary part of what was not synced, or all of it.
    pub(crate) fn torn(&mut self) -> Crash {
        match self.chance.percent(70) {
            true => Crash::Torn { seed: self.chance.number() },
            false => Crash::LoseUnsynced,
        }
    }

    /// Ends the process on a machine at once.
    pub(crate) fn crash(&mut self, slot: Slot, how: Crash) {
        let now_us = self.time.now_us();
        let Some(machine) = self.machines.get_mut(&slot) else { return };
        // The engine's write-ahead log is off: a killed process loses what was in its memory.
        let kept = self.chance.below(machine.engine.unflushed_batches() as u64 + 1);
        machine.engine.crash(usize::try_from(kept).unwrap_or(0));
        machine.disk.crash(how);
        if how != Crash::Kill && self.chance.percent(30) {
            machine.cache = None;
        }
        let Some(process) = machine.process.take() else { return };
        let (node, life) = (process.node, process.life);
        drop(process);
        self.tasks.end(Owner::Process(slot));
        self.doors.close(slot);
        // What had yet to leave never does.
        self.events.retain(|_, event| match event {
            Event::Arrive { sender, leaves_us, .. } => {
                *sender != (slot, life) || *leaves_us <= now_us
            }
            _ => true,
        });
        self.thaw(slot);
        self.forget_transfers_of(node);
        let others: Vec<(Slot, u32)> = self.lives().filter(|(other, _)| *other != slot).collect();
        for (other, life) in others {
            self.plan_break(other, life, node);
        }
    }

    /// Has a machine stand still: nothing on it moves, and what comes to it waits.
    pub(crate) fn freeze(&mut self, slot: Slot) {
        self.frozen.insert(Owner::Process(slot));
    }

    /// Lets a machine go on.
    pub(crate) fn thaw(&mut self, slot: Slot) {
        self.frozen.remove(&Owner::Process(slot));
        for event in self.held.remove(&slot).unwrap_or_default() {
            self.plan(1, event);
        }
    }

    /// Starts the node whose data a machine's disk holds, if nothing runs there.
    pub(crate) fn restart(&mut self, slot: Slot) {
        let Some(machine) = self.machines.get(&slot) else { return };
        if let (None, Some(node)) = (&machine.process, machine.identity) {
            self.start(slot, node);
        }
    }

    /// Starts `node` on a machine.
    pub(crate) fn start(&mut self, slot: Slot, node: NodeId) {
        let seed = self.chance.number();
        let (genesis, size) = (self.genesis.clone(), self.size);
        let machine = self.machines.get_mut(&slot).expect("a slot of the plan");
        let started = machine.start(node, &genesis, size, seed);
        let (hurt, rotten) = (machine.hurt, machine.rotten);
        if let Err(error) = started {
            return self.not_started(slot, &error, hurt, rotten);
        }
        machine.hurt = machine.full;
        let lost = machine.lost_log();
        machine.held.clear();
        if let Some(words) = lost {
            self.watch.accuse(format!("machine {} cut damage out of its log: {words}", slot.0));
        }
        self.show_disks();
        let machine = &self.machines[&slot];
        let process = machine.process.as_ref().expect("it has just started");
        let door = Door { node, router: process.router.clone() };
        let life = process.life;
        self.doors.open(slot, door);
        self.watch.sees_started();
        self.tell(format!("machine {} runs node {node}", slot.0));
        self.spawn_tasks(slot);
        self.plan(LOOK_US, Event::Look(slot, life));
        self.plan(UPKEEP_US, Event::Upkeep(slot, life));
        self.settle(slot);
    }

    fn not_started(&mut self, slot: Slot, error: &StartError, hurt: bool, rotten: bool) {
        let words = match error {
            StartError::Log(error) => told(error),
            StartError::Host(error) => told(error),
        };
        if rotten {
            // It refuses for good; whoever keeps the cluster replaces its disk.
            self.tell(format!("machine {} refuses its disk: {words}", slot.0));
            self.watch.counts.refused_disks += 1;
            return;
        }
        if !hurt {
            self.watch.accuse(format!("machine {} does not start: {words}", slot.0));
            return;
        }
        self.tell(format!("machine {} cannot start yet: {words}", slot.0));
        self.crash(slot, Crash::Kill);
        self.plan(500_000, Event::Restart(slot));
    }

    /// The tasks that every node runs beside its groups.
    fn spawn_tasks(&mut self, slot: Slot) {
        let spawner = self.spawner();
        let machine = &self.machines[&slot];
        let process = machine.process.as_ref().expect("it has just started");
        let clock = || -> Arc<dyn Clock> { machine.clock.clone() };
        let forming = form(
            self.genesis.clone(),
            process.groups.clone(),
            process.board.clone(),
            clock(),
            process.stop.clone(),
        );
        spawner.spawn(Owner::Process(slot), forming);
        let mut registry = Registry::default();
        let balancing = rebalance(
            process.board.clone(),
            process.router.clone(),
            clock(),
            RebalanceMetrics::register(&mut registry),
            process.stop.clone(),
        );
        spawner.spawn(Owner::Process(slot), balancing);
    }
}

/// An error with all its causes.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
