//! A cluster whose moves end one by one, in any order and as well undone as done.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::cluster::apply::apply_change;
use crate::cluster::genesis::tests::genesis;
use crate::cluster::{Change, Member, MemberState, Placement, RebalanceSettings, Rejected};
use crate::ids::NodeId;

/// Numbers that are the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % end
    }
}

/// A cluster, and what becomes of its moves.
pub(super) struct Simulation {
    pub(super) state: ClusterState,
    chance: Chance,
    /// Replicas that were added by moves that ended done.
    pub(super) added: usize,
}

impl Simulation {
    pub(super) fn new(partitions: u16, replication_factor: u8, zones: &[&str], seed: u64) -> Self {
        let mut state = genesis(partitions, replication_factor, zones).begin().expect("valid");
        state.formed = true;
        Simulation { state, chance: Chance(seed), added: 0 }
    }

    pub(super) fn change(&mut self, change: Change) -> Result<(), Rejected> {
        let mut cluster = Some(self.state.clone());
        let answer = apply_change(&mut cluster, &change);
        self.state = cluster.expect("begun");
        answer
    }

    pub(super) fn join(&mut self, zone: &str) {
        let id = self.state.next_node_id.0;
        let join = Change::Join {
            nonce: format!("00000000-0000-0000-0000-{id:012}"),
            name: format!("n{id}"),
            peer_address: format!("n{id}:6383"),
            client_address: format!("n{id}:6384"),
            zone: zone.to_owned(),
        };
        self.change(join).expect("joins");
    }

    pub(super) fn drain(&mut self, nodes: impl IntoIterator<Item = u64>) -> Result<(), Rejected> {
        self.change(Change::SetDraining { nodes: nodes.into_iter().map(NodeId).collect() })
    }

    pub(super) fn pause(&mut self, paused: bool) -> Result<(), Rejected> {
        let settings = RebalanceSettings { paused, ..self.state.rebalance };
        self.change(Change::SetRebalance { settings })
    }

    pub(super) fn remove_empty(&mut self) {
        let leaving = |(_, m): &(_, &Member)| m.state != MemberState::Serving;
        let nodes: Vec<_> = self.state.members.iter().filter(leaving).map(|(n, _)| *n).collect();
        for node in
            nodes.into_iter().filter(|node| self.state.holds(*node) == 0).collect::<Vec<_>>()
        {
            self.change(Change::RemoveMember { node }).expect("it holds nothing");
        }
    }

    pub(super) fn plan(&self) -> Plan {
        plan_moves(&self.state, &Sight::default())
    }

    /// Does what the plan says; the state machine's rules hold for it.
    pub(super) fn follow(&mut self) -> Plan {
        let plan = self.plan();
        let based_on = self.state.revision;
        self.change(Change::StartMoves { based_on, moves: plan.moves.clone() })
            .expect("a good plan");
        for (group, job) in plan.undo.clone() {
            self.change(Change::UndoMove { group, job }).expect("no error");
        }
        let (based_on, leaders) = (self.state.revision, plan.leaders.clone());
        self.change(Change::PreferLeaders { based_on, leaders }).expect("good leaders");
        let mut incoming = BTreeMap::new();
        let state = &self.state;
        let running = state.jobs.iter().filter(|(group, _)| state.can_decide(**group));
        for added in running.filter_map(|(_, job)| job.add) {
            *incoming.entry(added.node).or_insert(0) += 1;
        }
        let mut begun = plan.moves.iter().filter_map(|begun| begun.add);
        assert!(begun.all(|node| incoming[&node] <= ADDITIONS_PER_NODE_MAX), "{incoming:?}");
        plan
    }

    /// Ends one job of groups that can decide: one that is to be taken back is done at times all the same.
    pub(super) fn end_one_job(&mut self) -> bool {
        let state = &self.state;
        let able: Vec<_> =
            state.jobs.iter().filter(|(group, _)| state.can_decide(**group)).collect();
        if able.is_empty() {
            return false;
        }
        let (group, job) = able[self.chance.below(able.len())];
        let (group, job) = (*group, *job);
        let target_lives = job.add.is_none_or(|added| {
            matches!(
                self.state.members[&added.node].state,
                MemberState::Serving | MemberState::Draining
            )
        });
        if !target_lives && !job.undo {
            return true;
        }
        let undone = job.undo && (!target_lives || self.chance.below(5) > 0);
        self.added += usize::from(job.add.is_some() && !undone);
        let finish = Change::FinishMove { group, job: job.id, undone, bytes: 10 };
        self.change(finish).expect("no error");
        true
    }

    /// Follows plans and ends jobs until neither is left, and returns how many replicas were added meanwhile.
    pub(super) fn settle(&mut self) -> usize {
        let before = self.added;
        for _ in 0..20_000 {
            let plan = self.follow();
            let idle = plan.moves.is_empty() && plan.undo.is_empty() && plan.leaders.is_empty();
            let ends = 1 + self.chance.below(3);
            let ended = (0..ends).filter(|_| self.end_one_job()).count();
            if ended == 0 && idle {
                return self.added - before;
            }
        }
        panic!("never settles: {:?}", self.plan());
    }

    pub(super) fn serving(&self) -> Vec<NodeId> {
        self.state.members.keys().copied().filter(|node| self.state.serves(*node)).collect()
    }

    /// For each node that serves how many partitions satisfy `counts` for it.
    pub(super) fn count(&self, counts: impl Fn(&[Placement], NodeId) -> bool) -> Vec<usize> {
        let on = |node| self.state.placement.iter().filter(|p| counts(p, node)).count();
        self.serving().into_iter().map(on).collect()
    }

    pub(super) fn held(&self) -> Vec<usize> {
        self.count(|placed, node| placed.iter().any(|p| p.node == node))
    }

    /// The fewest additions that bring every node that serves to its share.
    pub(super) fn additions_needed(&self) -> usize {
        let mut held = self.held();
        held.sort_unstable_by(|a, b| b.cmp(a));
        let all = self.state.placement.len() * usize::from(self.state.replication_factor);
        let (share, more) = (all / held.len(), all % held.len());
        let target = |place| share + usize::from(place < more);
        held.iter().enumerate().map(|(place, held)| target(place).saturating_sub(*held)).sum()
    }

    /// How many replicas the plan wants added.
    pub(super) fn additions_planned(&self) -> usize {
        let bytes = self.state.groups().map(|group| (group, 1)).collect();
        plan_moves(&self.state, &Sight { bytes }).bytes_left as usize
    }

    /// Pairs of replicas of one group that share a zone.
    pub(super) fn crowded(&self) -> usize {
        let zone = |node: NodeId| match self.state.members[&node].zone.as_str() {
            "" => format!("node {node}"),
            zone => zone.to_owned(),
        };
        let groups = self.state.groups().map(|group| {
            let zones: Vec<_> =
                self.state.replicas_of(group).iter().map(|p| zone(p.node)).collect();
            (0..zones.len())
                .map(|at| zones[..at].iter().filter(|z| **z == zones[at]).count())
                .sum::<usize>()
        });
        groups.sum()
    }

    pub(super) fn assert_settled(&self) {
        let within_one = |counts: Vec<usize>, what: &str| {
            let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
            assert!(most <= least.map(|l| l + 1), "{what}: {counts:?}");
        };
        within_one(self.held(), "replicas");
        within_one(self.count(|placed, node| placed[0].node == node), "leaders");
        for group in self.state.groups() {
            let nodes: BTreeSet<_> = self.state.replicas_of(group).iter().map(|p| p.node).collect();
            assert_eq!(nodes.len(), usize::from(self.state.replication_factor), "group {group}");
            assert!(nodes.iter().all(|node| self.state.serves(*node)), "group {group}: {nodes:?}");
        }
        assert_eq!(self.plan(), Plan { balanced: true, ..Plan::default() });
    }
}
