//! What processes do with what arrives, as the transport of the product does it.

use flin_groups::Input;
use flin_groups::forward::{self, Lost};
use flin_proto::peer::LeaderReport;
use flin_state::cluster::{ClusterState, Farewell, MemberState};
use flin_state::ids::NodeId;

use flin_engine::disk::Crash;
use flin_groups::clock::Clock;

use crate::kernel::Owner;
use crate::machine::Slot;
use crate::network::{Body, Parcel};
use crate::world::World;

impl World {
    /// A parcel arrives at a machine.
    pub(crate) fn arrive(&mut self, slot: Slot, parcel: Parcel) {
        let Parcel { from, to, body } = parcel;
        let spawner = self.spawner();
        let Some(machine) = self.machines.get_mut(&slot) else { return };
        let clock_ms = machine.clock.monotonic_ms();
        let Some(process) = machine.process.as_mut().filter(|process| process.node == to) else {
            // Nobody listens, or somebody else.
            if let (Body::Request { .. }, Some(sender)) = (&body, self.slot_of(from))
                && let Some(life) = self.life_on(sender)
            {
                self.plan_break(sender, life, to);
            }
            return;
        };
        match body {
            Body::Raft(messages) => drop(process.groups.tell(Input::Messages(messages))),
            Body::Report(report) => {
                process.board.hear(&report, clock_ms);
                let leaving = report.leaving;
                process.groups.tell(Input::Leaving { node: from, leaving });
            }
            Body::Request { id, group, operations } => {
                let (groups, exit) = (process.groups.clone(), process.exit.clone());
                spawner.spawn(Owner::Process(slot), async move {
                    let outcome = forward::serve(&groups, group, Some(operations)).await;
                    let body = Body::Answer { id, outcome };
                    let parcel = Parcel { from: to, to: from, body };
                    exit.lock().expect("one thread alone simulates").parcels.push((parcel, false));
                });
            }
            Body::Answer { id, outcome } => {
                let waiting =
                    process.exit.lock().expect("one thread alone simulates").waiting.remove(&id);
                if let Some((_, answer)) = waiting {
                    let _ = answer.send(Ok(outcome));
                }
            }
            Body::State(state) => drop(process.board.set_cluster(state)),
            Body::Frame { transfer, group, frame } => {
                return self.take_frame(slot, from, transfer, group, frame);
            }
            Body::FrameTaken { transfer } => return self.send_frame(slot, transfer),
            Body::Decided { transfer, delivered } => {
                return self.end_sending(slot, transfer, delivered);
            }
        }
        self.settle(slot);
    }

    /// A parcel that never arrives. What it was part of ends as it does with a broken connection.
    pub(crate) fn lost(&mut self, sender: (Slot, u32), parcel: Parcel) {
        let (slot, life) = sender;
        match parcel.body {
            Body::Raft(_) if self.chance.percent(10) => self.plan_break(slot, life, parcel.to),
            Body::Raft(_) | Body::Report(_) | Body::State(_) => {}
            Body::Request { id, .. } => {
                // It surely never arrived; whether its node knows that is another matter.
                let knows = self.chance.percent(50);
                if knows && let Some(process) = self.process(slot, life) {
                    let mut exit = process.exit.lock().expect("one thread alone simulates");
                    let waiting = exit.waiting.remove(&id);
                    drop(exit);
                    if let Some((_, answer)) = waiting {
                        let _ = answer.send(Err(Lost::NotSent));
                    }
                }
                self.plan_break(slot, life, parcel.to);
            }
            // Whoever waits for it notices.
            Body::Answer { .. } => {
                if let Some(waits) = self.slot_of(parcel.to)
                    && let Some(life) = self.life_on(waits)
                {
                    self.plan_break(waits, life, parcel.from);
                }
            }
            Body::Frame { .. } | Body::FrameTaken { .. } | Body::Decided { .. } => {}
        }
    }

    /// Brings news of a process to everybody whom they concern: the meta state to its worker and to the others, its
    /// report to the others.
    pub(crate) fn spread(&mut self, slot: Slot) {
        let Some(machine) = self.machines.get_mut(&slot) else { return };
        let Some(process) = &mut machine.process else { return };
        let (node, life) = (process.node, process.life);
        let fresh = process.states.has_changed().unwrap_or(false);
        let state = process.states.borrow_and_update().clone().filter(|_| fresh);
        if let Some(state) = state {
            machine.cache = Some(state.clone());
            if let Some(farewell) = state.farewell(node) {
                return self.retire(slot, node, farewell);
            }
            process.groups.tell(Input::Cluster(state.clone()));
            if state.meta.iter().any(|placement| placement.node == node) {
                let now_us = self.time.now_us();
                for to in others(&state, node) {
                    let body = Body::State(state.clone());
                    self.send((slot, life), Parcel { from: node, to, body }, now_us);
                }
            }
        }
        self.spread_report(slot);
    }

    fn spread_report(&mut self, slot: Slot) {
        let (genesis, now_us) = (self.genesis.clone(), self.time.now_us());
        let Some(process) = self.running(slot) else { return };
        if !process.reports.has_changed().unwrap_or(false) {
            return;
        }
        let (node, life) = (process.node, process.life);
        let report: LeaderReport = process.reports.borrow_and_update().clone();
        let peers: Vec<NodeId> = match &process.board.view().cluster {
            Some(state) => others(state, node).collect(),
            None => {
                let members = genesis.members.iter().map(|member| member.node_id);
                members.filter(|member| *member != node).collect()
            }
        };
        for to in peers {
            let body = Body::Report(report.clone());
            self.send((slot, life), Parcel { from: node, to, body }, now_us);
        }
    }

    /// A node asks another, any, what it knows of the cluster.
    pub(crate) fn compare_states(&mut self, slot: Slot) {
        let others: Vec<(Slot, u32)> = self.lives().filter(|(other, _)| *other != slot).collect();
        let Some((other, other_life)) = self.chance.pick(&others).copied() else { return };
        let Some(own) = self.running(slot).map(|process| process.node) else { return };
        if self.network.is_blocked(slot, other) {
            return;
        }
        let Some(process) = self.running(other) else { return };
        let (node, state) = (process.node, process.board.view().cluster.clone());
        if let Some(state) = state {
            let parcel = Parcel { from: node, to: own, body: Body::State(state) };
            self.send((other, other_life), parcel, self.time.now_us());
        }
    }

    /// A node learns that it is a member no longer. One that was let go empties its disk.
    fn retire(&mut self, slot: Slot, node: NodeId, farewell: Farewell) {
        self.tell(format!("machine {}: node {node} is a member no longer ({farewell:?})", slot.0));
        self.crash(slot, Crash::Kill);
        if farewell == Farewell::Removed {
            self.empty(slot);
        }
    }
}

/// The members that `node` talks to.
fn others(state: &ClusterState, node: NodeId) -> impl Iterator<Item = NodeId> {
    let members = state.members.iter();
    let stays = members.filter(|(_, member)| member.state != MemberState::Replaced);
    stays.map(|(id, _)| *id).filter(move |id| *id != node)
}
