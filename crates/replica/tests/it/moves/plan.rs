//! The meta group, as far as a single group's moves go: who holds it, and the job under way.

use flin_state::cluster::{Job, Placement};
use flin_state::ids::{NodeId, ReplicaId};
use flin_state::membership::Configuration;

use crate::chance::Chance;

pub const NODES: u64 = 5;

/// The meta state at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub placement: Vec<Placement>,
    pub job: Option<Job>,
    next_replica: u64,
    next_job: u64,
}

impl View {
    pub fn new(configuration: &Configuration) -> Self {
        let placed = configuration.nodes.iter();
        let placement: Vec<_> =
            placed.map(|(replica, node)| Placement { replica: *replica, node: *node }).collect();
        let next_replica = placement.iter().map(|p| p.replica.0 + 1).max().unwrap();
        View { placement, job: None, next_replica, next_job: 1 }
    }

    /// The replicas that placement or job name.
    pub fn named(&self) -> impl Iterator<Item = Placement> + '_ {
        let added = self.job.iter().filter_map(|job| job.add);
        self.placement.iter().copied().chain(added)
    }

    /// The replicas once the job is done.
    pub fn goal(&self) -> Vec<Placement> {
        let removed = self.job.and_then(|job| job.remove);
        self.named().filter(|placement| Some(*placement) != removed).collect()
    }

    /// The view after a move of some kind has begun; `None` when there is a job, or nothing to move.
    pub fn begin(&self, chance: &mut Chance, dead: Option<NodeId>) -> Option<View> {
        if self.job.is_some() {
            return None;
        }
        let used = |node| self.placement.iter().any(|placement| placement.node == node);
        let free: Vec<NodeId> =
            (1..=NODES).map(NodeId).filter(|node| !used(*node) && Some(*node) != dead).collect();
        let lost = self.placement.iter().copied().find(|placement| Some(placement.node) == dead);
        let victim = lost.or_else(|| chance.one_of(&self.placement));
        let target = chance.one_of(&free);
        let (add, remove) = match chance.below(10) {
            _ if lost.is_some() => (target, victim),
            0..6 => (target, victim),
            6..8 => (target, None),
            _ if self.placement.len() > 1 => (None, victim),
            _ => (None, None),
        };
        let exchange = add.is_none() && remove.is_some() && self.placement.len() == 1;
        if exchange || (add.is_none() && remove.is_none()) {
            return None;
        }
        let mut next = self.clone();
        let add = add.map(|node| Placement { replica: ReplicaId(next.next_replica), node });
        next.job = Some(Job { id: next.next_job, add, remove, undo: false });
        next.next_replica += 1;
        next.next_job += 1;
        Some(next)
    }

    /// The view after the job was asked to be taken back.
    pub fn undo(&self) -> Option<View> {
        let job = self.job.filter(|job| !job.undo)?;
        Some(View { job: Some(Job { undo: true, ..job }), ..self.clone() })
    }

    /// The view after the job ended.
    pub fn finish(&self, undone: bool) -> View {
        let placement = if undone { self.placement.clone() } else { self.goal() };
        View { placement, job: None, ..self.clone() }
    }
}
