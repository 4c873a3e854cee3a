//! Snapshots on their way between machines, frame by frame.

use flin_groups::snapshot::{Progress, StageError, Staging, announced, read_frames};
use flin_groups::{Fatal, Input};
use flin_proto::peer::SnapshotFrame;
use flin_proto::peer::snapshot_frame::Frame;
use flin_replica::Message;
use flin_state::ids::{GroupId, NodeId};
use tokio::sync::oneshot;

use crate::kernel::Owner;
use crate::machine::{Receiving, Slot};
use crate::network::{Body, Parcel, Sending};
use crate::world::{Event, World};

/// A snapshot that has not arrived after this is given up.
const GIVE_UP_US: u64 = 5_000_000;

impl World {
    /// A node begins to send the state that `message` announces.
    pub(crate) fn begin_snapshot(&mut self, slot: Slot, life: u32, to: NodeId, message: &Message) {
        let give_up_us = self.time.now_us() + GIVE_UP_US;
        self.transfers += 1;
        let transfer = self.transfers;
        let Some(machine) = self.machines.get_mut(&slot) else { return };
        let Some(process) = machine.process.as_mut().filter(|process| process.life == life) else {
            return;
        };
        let (group, replica) = (message.group, message.to);
        let mut frames = Vec::new();
        let read = read_frames(&machine.engine, message, &mut |frame| {
            frames.push(frame);
            true
        });
        if read.is_err() {
            process.groups.tell(Input::SnapshotSent { group, to: replica, delivered: false });
            return self.settle(slot);
        }
        frames.reverse();
        process.sending.insert(transfer, Sending { to, replica, group, frames, give_up_us });
        self.plan(GIVE_UP_US, Event::GiveUp(slot, life, transfer));
        self.send_frame(slot, transfer);
    }

    /// Sends the next frame of a transfer.
    pub(crate) fn send_frame(&mut self, slot: Slot, transfer: u64) {
        let cut = self.cut_snapshots > 0 && self.chance.percent(30);
        let spoilt = self.cut_snapshots > 0 && self.chance.percent(20);
        let now_us = self.time.now_us();
        let Some(process) = self.running(slot) else { return };
        let (node, life) = (process.node, process.life);
        let Some(sending) = process.sending.get_mut(&transfer) else { return };
        let (to, group) = (sending.to, sending.group);
        let Some(mut frame) = sending.frames.pop() else { return };
        if cut {
            self.watch.counts.snapshots_cut += 1;
            return self.give_up(slot, life, transfer);
        }
        if spoilt && let Some(Frame::Pairs(pairs)) = &mut frame.frame {
            spoil(&mut pairs.values);
        }
        let body = Body::Frame { transfer, group, frame };
        self.send((slot, life), Parcel { from: node, to, body }, now_us);
    }

    /// A frame arrives.
    pub(crate) fn take_frame(
        &mut self,
        slot: Slot,
        from: NodeId,
        transfer: u64,
        group: GroupId,
        frame: SnapshotFrame,
    ) {
        let taken = self.stage(slot, from, transfer, group, frame);
        let Some(process) = self.running(slot) else { return };
        let (node, life) = (process.node, process.life);
        let body = match taken {
            Ok(true) => return self.offer(slot, group),
            Ok(false) => Body::FrameTaken { transfer },
            Err(error) => {
                process.staging.retain(|_, receiving| receiving.transfer != transfer);
                if let StageError::Engine(error) = error {
                    return self.fail(slot, &Fatal::Engine(error));
                }
                self.watch.counts.snapshots_refused += 1;
                Body::Decided { transfer, delivered: false }
            }
        };
        self.send((slot, life), Parcel { from: node, to: from, body }, self.time.now_us());
    }

    /// Stages a frame; returns whether the snapshot is complete.
    fn stage(
        &mut self,
        slot: Slot,
        from: NodeId,
        transfer: u64,
        group: GroupId,
        frame: SnapshotFrame,
    ) -> Result<bool, StageError> {
        let machine = self.machines.get_mut(&slot).expect("a frame arrived there");
        let process = machine.process.as_mut().expect("a frame arrived there");
        let head = matches!(frame.frame, Some(Frame::Head(_)));
        if head {
            // One at a time for each group: a newer one replaces what is not complete, whose sender may be gone, and
            // waits while raft decides about what is.
            let known = process.staging.get(&group);
            if known.is_some_and(|receiving| receiving.staging.is_none()) {
                return Err(StageError::Malformed);
            }
            let message = Some(announced(Some(frame))?);
            let staging = Some(Staging::begin(&machine.engine, group)?);
            process.staging.insert(group, Receiving { from, transfer, message, staging });
            return Ok(false);
        }
        let receiving = process.staging.get_mut(&group).filter(|r| r.transfer == transfer);
        let receiving = receiving.ok_or(StageError::NoHead)?;
        let staging = receiving.staging.take().ok_or(StageError::Malformed)?;
        match staging.take(frame.frame.ok_or(StageError::Malformed)?)? {
            Progress::More(more) => {
                receiving.staging = Some(more);
                Ok(false)
            }
            Progress::Complete => Ok(true),
        }
    }

    /// Shows raft the message of a complete snapshot, and tells the sender once it has decided.
    fn offer(&mut self, slot: Slot, group: GroupId) {
        let spawner = self.spawner();
        let Some(process) = self.running(slot) else { return };
        let Some(receiving) = process.staging.get_mut(&group) else { return };
        let Some(message) = receiving.message.take() else { return };
        let (from, transfer, node) = (receiving.from, receiving.transfer, process.node);
        let (done, decided) = oneshot::channel();
        process.groups.tell(Input::Staged { message, done });
        let exit = process.exit.clone();
        spawner.spawn(Owner::Process(slot), async move {
            let delivered = decided.await.is_ok();
            let body = Body::Decided { transfer, delivered };
            let parcel = Parcel { from: node, to: from, body };
            let mut exit = exit.lock().expect("one thread alone simulates");
            exit.parcels.push((parcel, false));
            exit.decided.push(transfer);
        });
        self.settle(slot);
    }

    /// A transfer ended, and raft is told.
    pub(crate) fn end_sending(&mut self, slot: Slot, transfer: u64, delivered: bool) {
        let Some(process) = self.running(slot) else { return };
        let Some(Sending { to, replica, group, .. }) = process.sending.remove(&transfer) else {
            return;
        };
        process.groups.tell(Input::SnapshotSent { group, to: replica, delivered });
        if delivered {
            self.watch.counts.snapshots += 1;
        }
        if let Some(receiver) = self.slot_of(to)
            && let Some(process) = self.running(receiver)
        {
            // What is complete is raft's to decide about.
            process.staging.retain(|_, receiving| {
                receiving.transfer != transfer || receiving.staging.is_none()
            });
        }
        self.settle(slot);
    }

    /// The sender gives a transfer up: its connection closes.
    pub(crate) fn give_up(&mut self, slot: Slot, life: u32, transfer: u64) {
        if self.process(slot, life).is_some() {
            self.end_sending(slot, transfer, false);
        }
    }

    /// The connections of a node that is gone are closed.
    pub(crate) fn forget_transfers_of(&mut self, node: NodeId) {
        for machine in self.machines.values_mut() {
            let Some(process) = &mut machine.process else { continue };
            // What is complete is raft's to decide about.
            process
                .staging
                .retain(|_, receiving| receiving.from != node || receiving.staging.is_none());
        }
    }
}

/// Flips a bit of the last value that has one.
fn spoil(values: &mut [bytes::Bytes]) {
    if let Some(value) = values.iter_mut().rev().find(|value| !value.is_empty()) {
        let mut spoilt = value.to_vec();
        spoilt[0] ^= 1;
        *value = spoilt.into();
    }
}
