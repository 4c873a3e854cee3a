//! What has to be true at the end, when nothing goes wrong any more.

use std::collections::{BTreeMap, BTreeSet};

use flin_groups::rebalance::sight;
use flin_state::cluster::{ClusterState, MemberState, plan_moves};
use flin_state::engine::Reader;
use flin_state::ids::{GroupId, LogIndex, NodeId};
use flin_state::keys::{GroupState, group_range};
use flin_state::membership::Configuration;

use crate::machine::Slot;
use crate::world::World;

impl World {
    /// Why the cluster is not yet what it should become in peace; `None` once it is.
    ///
    /// Every wanted machine's node is a member and nobody else is; nothing moves and nothing is left to move; every
    /// group has its leader and exactly the replicas that it was given, each at the same index with the same state.
    pub(crate) fn unrest(&self) -> Option<String> {
        let Some(state) = self.newest_state() else {
            return Some("nobody knows the cluster".into());
        };
        if let Some(group) = state.groups().find(|group| self.leader_of(*group).is_none()) {
            let sights: Vec<_> = self.sights_of(group).collect();
            return Some(format!("group {group} has no leader\n{}", sights.join("\n")));
        }
        if let Some((group, job)) = state.jobs.first_key_value() {
            let sights: Vec<_> = self.sights_of(*group).collect();
            return Some(format!(
                "group {group} is still being moved: {job:?}\n{}",
                sights.join("\n")
            ));
        }
        if let Some(words) = self.wrong_members(&state) {
            return Some(words);
        }
        let leader = self.leader_of(GroupId::META).and_then(|slot| self.machines.get(&slot));
        let process = leader.and_then(|machine| machine.process.as_ref())?;
        let plan = plan_moves(&state, &sight(&process.board, &state));
        if !plan.moves.is_empty() {
            return Some(format!("{} replicas are to be moved", plan.moves.len()));
        }
        state.groups().find_map(|group| self.disagreement(group, &state))
    }

    /// What each of its replicas thinks of a group.
    fn sights_of(&self, group: GroupId) -> impl Iterator<Item = String> {
        self.machines.iter().filter_map(move |(slot, machine)| {
            let process = machine.process.as_ref()?;
            let (_, replica, term, leads) =
                process.stepper.replicas().find(|(hosted, ..)| *hosted == group)?;
            let known = process.stepper.configuration(group)?;
            let known = format!(
                "voters {:?} outgoing {:?} learners {:?}",
                known.voters, known.voters_outgoing, known.learners
            );
            let reported = process.board.leadership(group);
            Some(format!(
                "  machine {} node {} replica {replica} term {term} leads {leads}: {known}; {reported:?}; {}",
                slot.0,
                process.node,
                process.stepper.told(group)
            ))
        })
    }

    fn wrong_members(&self, state: &ClusterState) -> Option<String> {
        let home = |node: &NodeId| {
            let slot = self.slot_of(*node)?;
            self.machines[&slot].process.as_ref().map(|_| slot)
        };
        for (node, member) in &state.members {
            if member.state != MemberState::Serving {
                return Some(format!("node {node} is {:?}", member.state));
            }
            if home(node).is_none() {
                return Some(format!("node {node} does not run"));
            }
        }
        let members: BTreeSet<Slot> = state.members.keys().filter_map(home).collect();
        let wanted = self.wishes.members();
        (members != wanted).then(|| format!("members are {members:?}, wanted are {wanted:?}"))
    }

    /// Why the replicas of a group are not alike; `None` if they are.
    fn disagreement(&self, group: GroupId, state: &ClusterState) -> Option<String> {
        let placed = Configuration::of_voters(
            state.replicas_of(group).iter().map(|placed| (placed.replica, placed.node)),
        );
        if placed.voters.len() != usize::from(state.replication_factor) {
            return Some(format!("group {group} has {} replicas", placed.voters.len()));
        }
        let mut applied = BTreeMap::<NodeId, (LogIndex, u32)>::new();
        for (slot, machine) in &self.machines {
            let Some(process) = &machine.process else { continue };
            let hosts = process.stepper.replicas().any(|(hosted, ..)| hosted == group);
            let belongs = placed.replica_on(process.node).is_some();
            if hosts != belongs {
                let has = if hosts { "still has" } else { "lacks" };
                let sights: Vec<_> = self.sights_of(group).collect();
                let sights = sights.join("\n");
                return Some(format!(
                    "machine {} {has} a replica of group {group}\n{sights}",
                    slot.0
                ));
            }
            if !hosts {
                continue;
            }
            if process.stepper.configuration(group) != Some(&placed) {
                return Some(format!(
                    "machine {} has another configuration of group {group}",
                    slot.0
                ));
            }
            let known = GroupState::load(&machine.engine, group).ok().flatten()?;
            applied.insert(process.node, (known.applied, fingerprint(&machine.engine, group)));
        }
        let indices: BTreeSet<LogIndex> = applied.values().map(|(index, _)| *index).collect();
        if indices.len() > 1 {
            return Some(format!("the replicas of group {group} have applied up to {indices:?}"));
        }
        None
    }

    /// Accuses replicas that applied the same entries and hold something else. May be asked at any time.
    pub(crate) fn compare_replicas(&mut self) {
        let mut known = BTreeMap::<(GroupId, LogIndex), (Slot, u32)>::new();
        let mut accusations = Vec::new();
        for (slot, machine) in &self.machines {
            let Some(process) = &machine.process else { continue };
            for (group, ..) in process.stepper.replicas() {
                let Ok(Some(state)) = GroupState::load(&machine.engine, group) else { continue };
                if state.applied == LogIndex(0) {
                    continue;
                }
                let print = fingerprint(&machine.engine, group);
                let first = *known.entry((group, state.applied)).or_insert((*slot, print));
                if first.1 != print {
                    accusations.push(format!(
                        "group {group} at index {}: machines {} and {} hold different states",
                        state.applied, first.0.0, slot.0
                    ));
                }
            }
        }
        accusations.into_iter().for_each(|words| self.watch.accuse(words));
    }
}

/// A hash of everything that an engine holds of a group.
fn fingerprint(engine: &dyn Reader, group: GroupId) -> u32 {
    let (from, to) = group_range(group);
    let mut hasher = crc32fast::Hasher::new();
    let read = engine.scan(&from, &to, &mut |key, value| {
        hasher.update(&(key.len() as u64).to_le_bytes());
        hasher.update(key);
        hasher.update(&(value.len() as u64).to_le_bytes());
        hasher.update(value);
        std::ops::ControlFlow::Continue(())
    });
    read.expect("an engine in memory can be read");
    hasher.finalize()
}
