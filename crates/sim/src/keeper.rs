//! Whoever keeps the cluster from outside, as the operator does: confirms that it was founded, has machines join
//! and leave, and starts nodes on new disks.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use flin_groups::requests::{RequestError, Requests};
use flin_state::cluster::{Change, ClusterState, MemberState};
use flin_state::ids::{ClusterId, NodeId};
use tokio::sync::oneshot;

use crate::chance::Chance;
use crate::kernel::{Owner, Spawner, Time};
use crate::machine::Slot;
use crate::plan::name;
use crate::world::{Door, Doors, World};

/// The pause between two looks at the cluster.
const LOOK_US: u64 = 300_000;

/// What those outside want of the machines, and what they ask the world to do. Clones are the same one.
#[derive(Clone, Default)]
pub struct Wishes(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    members: BTreeSet<Slot>,
    starts: Vec<(Slot, NodeId, u64)>,
    disks: Vec<(Slot, u64, Option<NodeId>)>,
    said: Vec<String>,
    /// What was said last, which is not repeated.
    last: Option<String>,
}

impl Wishes {
    /// The machines whose nodes should be members.
    pub fn members(&self) -> BTreeSet<Slot> {
        self.0.borrow().members.clone()
    }

    /// Says which machines' nodes should be members.
    pub fn want(&self, members: BTreeSet<Slot>) {
        self.0.borrow_mut().members = members;
    }

    fn start(&self, slot: Slot, node: NodeId, serial: u64) {
        self.0.borrow_mut().starts.push((slot, node, serial));
    }

    fn disks(&self) -> Vec<(Slot, u64, Option<NodeId>)> {
        self.0.borrow().disks.clone()
    }
}

impl World {
    /// Shows the keeper the disks.
    pub(crate) fn show_disks(&self) {
        let disks = self.machines.iter().map(|(slot, m)| (*slot, m.serial, m.identity));
        self.wishes.0.borrow_mut().disks = disks.collect();
    }

    /// Does what the keeper asked for.
    pub(crate) fn serve_keeper(&mut self) {
        let mut inner = self.wishes.0.borrow_mut();
        let starts = std::mem::take(&mut inner.starts);
        let said = std::mem::take(&mut inner.said);
        drop(inner);
        said.into_iter().for_each(|words| self.tell(words));
        for (slot, node, serial) in starts {
            let machine = &self.machines[&slot];
            if machine.serial == serial && machine.identity.is_none() {
                self.start(slot, node);
            }
        }
    }
}

/// What the keeper works with.
pub struct Keeper {
    /// The cluster it keeps.
    pub cluster_id: ClusterId,
    /// The time.
    pub time: Time,
    /// The ways in.
    pub doors: Doors,
    /// What is wanted.
    pub wishes: Wishes,
    /// To ask a node by a task of its own.
    pub spawner: Spawner,
    /// Chooses whom to ask.
    pub chance: Chance,
}

impl Keeper {
    /// Keeps the cluster for ever.
    pub async fn keep(mut self) {
        loop {
            self.time.sleep(LOOK_US).await;
            let doors = self.doors.all();
            let Some((slot, door)) = self.chance.pick(&doors).cloned() else { continue };
            let Some(state) = door.router.view().cluster.clone() else { continue };
            if !state.formed {
                let change = Change::ConfirmFormed { cluster_id: self.cluster_id };
                self.ask(slot, &door, change).await;
                continue;
            }
            self.settle_members(slot, &door, &state).await;
        }
    }

    async fn settle_members(&mut self, slot: Slot, door: &Door, state: &ClusterState) {
        let wanted = self.wishes.members();
        let disks = self.wishes.disks();
        for (empty, serial, _) in
            disks.iter().filter(|(s, _, id)| id.is_none() && wanted.contains(s))
        {
            let nonce = format!("00000000-0000-4000-8000-{serial:012x}");
            match state.member_of_nonce(&nonce) {
                Some(node) if state.serves(node) => self.wishes.start(*empty, node, *serial),
                // Its predecessor was asked to leave while it was on its way in.
                Some(_) => {}
                None => {
                    self.ask(slot, door, join(*empty, nonce)).await;
                }
            }
        }
        let leaves = |node: &NodeId| {
            let home = disks.iter().find(|(_, _, identity)| *identity == Some(*node));
            let named = |slot: &Slot| name(*slot) == state.members[node].name;
            let home = home.map(|(slot, _, _)| *slot).filter(named);
            let home = home.or_else(|| disks.iter().map(|(slot, ..)| *slot).find(named));
            home.is_none_or(|slot| !wanted.contains(&slot))
        };
        let member = |node: &NodeId| state.members[node].state;
        let stays = |node: &NodeId| member(node) != MemberState::Replaced;
        let leavers: BTreeSet<NodeId> =
            state.members.keys().copied().filter(stays).filter(leaves).collect();
        let draining = |node: &NodeId| member(node) == MemberState::Draining;
        let drained: BTreeSet<NodeId> = state.members.keys().copied().filter(draining).collect();
        if drained != leavers {
            self.ask(slot, door, Change::SetDraining { nodes: leavers }).await;
            return;
        }
        for node in leavers.into_iter().filter(|node| state.holds(*node) == 0) {
            self.ask(slot, door, Change::RemoveMember { node }).await;
        }
    }

    /// Asks through a node, which may end meanwhile.
    async fn ask(&self, slot: Slot, door: &Door, change: Change) {
        let (answer, outcome) = oneshot::channel();
        let router = door.router.clone();
        let words = format!("{change:?}");
        self.spawner.spawn(Owner::Process(slot), async move {
            let _ = answer.send(router.change(change).await);
        });
        let outcome = outcome.await.unwrap_or(Err(RequestError::Unknown("the node ended".into())));
        let outcome = outcome.map_or_else(|error| error.to_string(), |()| "done".to_owned());
        let words = format!("keeper: {words}: {outcome}");
        let mut inner = self.wishes.0.borrow_mut();
        if inner.last.as_ref() != Some(&words) {
            inner.last = Some(words.clone());
            inner.said.push(words);
        }
    }
}

fn join(slot: Slot, nonce: String) -> Change {
    Change::Join {
        nonce,
        name: name(slot),
        peer_address: format!("{}:6383", name(slot)),
        client_address: format!("{}:6384", name(slot)),
        zone: String::new(),
    }
}
