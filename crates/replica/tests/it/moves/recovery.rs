//! The end of a run: no more faults, and everything comes to rest where the last job leads.

use std::collections::BTreeSet;

use bytes::Bytes;
use flin_state::ids::{NodeId, ReplicaId};

use super::plan::NODES;
use super::world::World;

const ROUNDS: usize = 800;

impl World {
    /// Ends all faults, and checks that the group comes to rest.
    pub fn recover(&mut self) {
        self.side.clear();
        let last = Bytes::from_static(b"the last");
        for round in 0..ROUNDS {
            self.conclude();
            for node in 1..=NODES {
                self.learn(NodeId(node), true);
            }
            for id in self.ids() {
                if self.dead == Some(self.home[&id]) {
                    continue;
                }
                if !self.is_up(id) {
                    self.cluster.start(id);
                }
                self.cluster.replica(id).tick();
                self.work_until(id, None);
                self.drive(id);
            }
            for _ in 0..50 {
                for parcel in std::mem::take(&mut self.cluster.network) {
                    let to = parcel.message.to;
                    self.hand_over(parcel);
                    self.work_until(to, None);
                }
            }
            if self.witness.place_of(&last).is_none()
                && round % 40 == 0
                && let Some(leader) = self.cluster.leader()
            {
                // The first of these may be proposed by a leader that lost its group already.
                self.cluster.replica(leader).propose(last.clone()).ok();
                self.work_until(leader, None);
            }
            if self.is_at_rest(&last) {
                return self.check_rest();
            }
        }
        let status = |id: &ReplicaId| {
            let replica = self.cluster.members[id].replica.as_ref()?;
            Some((replica.status(), replica.configuration().clone()))
        };
        let all: Vec<_> = self.ids().iter().map(|id| (*id, status(id))).collect();
        panic!("the group did not recover: {:#?} {:?} {all:#?}", self.view(), self.dead);
    }

    /// What the balancer does about a dead node: take back what leads there, replace what it held.
    fn conclude(&mut self) {
        let job = self.view().job;
        let added = job.and_then(|job| job.add).map(|placement| placement.node);
        let lost = self.dead.is_some();
        match job {
            Some(_) if lost && added == self.dead => {
                let next = self.view().undo();
                self.decide(next);
            }
            None if self.view().placement.iter().any(|p| Some(p.node) == self.dead) => {
                self.begin_move();
            }
            _ => {}
        }
    }

    fn is_at_rest(&self, last: &Bytes) -> bool {
        let Some(index) = self.witness.place_of(last) else { return false };
        let Some(leader) = self.cluster.leader() else { return false };
        let view = self.view();
        let leads = self.cluster.members[&leader].replica.as_ref().unwrap();
        let living = view.placement.iter().all(|placement| Some(placement.node) != self.dead);
        let alike = view.placement.iter().all(|placement| {
            self.cluster.members.get(&placement.replica).is_some_and(|m| m.state.index >= index)
        });
        view.job.is_none()
            && self.all_know()
            && living
            && alike
            && leads.status().configuration_settled
    }

    fn check_rest(&mut self) {
        let placed: BTreeSet<ReplicaId> =
            self.view().placement.iter().map(|placement| placement.replica).collect();
        let living: BTreeSet<ReplicaId> =
            self.ids().into_iter().filter(|id| Some(self.home[id]) != self.dead).collect();
        assert_eq!(placed, living, "the replicas are those that the meta group names");
        for id in placed.iter().copied() {
            let state = &self.cluster.members[&id].state;
            assert_eq!(state.configuration.voters, placed, "the voters, as {id} knows them");
            let others = state.configuration.nodes.len() - placed.len();
            assert_eq!(others, 0, "only voters are left in {:?}", state.configuration);
            self.witness.check_state(id, state);
        }
    }
}
