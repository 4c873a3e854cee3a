//! What the balancer changes next: a pure function of the meta state, what is known of groups and nodes,
//! and the plan.

use std::collections::BTreeMap;

use flin_proto::peer::JobReport;
use flin_state::cluster::{Change, ClusterState, Job, MemberState, Placement, Plan};
use flin_state::ids::{GroupId, NodeId};

use crate::board::SILENCE_MS_MAX;

/// What the balancer knows beyond the meta state.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// For how long this node has balanced.
    pub(super) tenure_ms: u64,
    /// What is known of each group.
    pub(super) groups: BTreeMap<GroupId, GroupFacts>,
    /// For how long each node was not heard of; absent if it never was.
    pub(super) silence_ms: BTreeMap<NodeId, u64>,
}

/// What is known of one group.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupFacts {
    /// Its live data, estimated.
    pub(super) bytes: u64,
    /// What its leader has made of its job.
    pub(super) job: Option<JobReport>,
    /// Whether the leader said so a moment ago.
    pub(super) fresh: bool,
    /// Its voters, if its leader said a moment ago that they are settled.
    pub(super) voters: Option<Vec<Placement>>,
}

impl Facts {
    /// The live data of a group, 0 if unknown.
    pub(super) fn bytes(&self, group: GroupId) -> u64 {
        self.groups.get(&group).map_or(0, |known| known.bytes)
    }

    /// For how long a node is surely silent. What was not heard before this node balanced does not count:
    /// perhaps it was this node that was cut off.
    pub(super) fn silence_ms(&self, node: NodeId) -> u64 {
        self.silence_ms.get(&node).map_or(self.tenure_ms, |silence| self.tenure_ms.min(*silence))
    }

    fn is_heard(&self, node: NodeId) -> bool {
        self.silence_ms.get(&node).is_some_and(|silence| *silence <= SILENCE_MS_MAX)
    }

    /// The report of a group's leader that job `job` has ended.
    fn ended(&self, group: GroupId, job: u64) -> Option<JobReport> {
        let known = self.groups.get(&group).filter(|known| known.fresh)?;
        known.job.filter(|report| report.finished && report.job == job)
    }
}

/// The changes to propose, in order. First what is true already (moves that ended, nodes lost, found or
/// empty), then what is wanted from here on, of `plan`, which was made for this very state.
pub(super) fn decide(state: &ClusterState, facts: &Facts, plan: Plan) -> Vec<Change> {
    let mut changes = finished_moves(state, facts);
    changes.extend(strayed_groups(state, facts));
    changes.extend(strayed_jobs(state, facts));
    changes.extend(lost_and_found(state, facts));
    changes.extend(empty_members(state));
    let undo = plan.undo.into_iter();
    let undo = undo.filter(|(group, job)| facts.ended(*group, *job).is_none());
    changes.extend(undo.map(|(group, job)| Change::UndoMove { group, job }));
    let based_on = state.revision;
    if !plan.moves.is_empty() {
        changes.push(Change::StartMoves { based_on, moves: plan.moves });
    }
    if !plan.leaders.is_empty() {
        changes.push(Change::PreferLeaders { based_on, leaders: plan.leaders });
    }
    changes
}

fn finished_moves(state: &ClusterState, facts: &Facts) -> Vec<Change> {
    let finish = |(group, job): (&GroupId, &Job)| {
        let report = facts.ended(*group, job.id)?;
        let bytes = facts.bytes(*group);
        Some(Change::FinishMove { group: *group, job: job.id, undone: report.undone, bytes })
    };
    state.jobs.iter().filter_map(finish).collect()
}

/// Groups without a job whose voters are not those of the placement.
fn strayed_groups(state: &ClusterState, facts: &Facts) -> Vec<Change> {
    let stray = |(group, known): (&GroupId, &GroupFacts)| {
        let voters = known.voters.clone().filter(|_| !state.jobs.contains_key(group))?;
        let placed = state.replicas_of(*group);
        let alike = placed.len() == voters.len() && placed.iter().all(|p| voters.contains(p));
        (!alike).then_some(Change::AdoptVoters { group: *group, voters })
    };
    facts.groups.iter().filter_map(stray).collect()
}

/// Jobs of groups whose voters are neither those of the placement nor those that the job leads to. They were planned
/// for a group that there is not (a leader that had not heard of the end of the job before went on with it), and may
/// never end: the node that is to get a replica may have one. Once they are taken back, the placement is corrected.
fn strayed_jobs(state: &ClusterState, facts: &Facts) -> Vec<Change> {
    let stray = |(group, job): (&GroupId, &Job)| {
        let voters = facts.groups.get(group)?.voters.as_ref().filter(|_| !job.undo)?;
        let placed = state.replicas_of(*group);
        let foreign = voters.iter().any(|voter| !placed.contains(voter) && job.add != Some(*voter));
        let gone =
            |replica: &&Placement| !voters.contains(replica) && job.remove != Some(**replica);
        let fits = !foreign && !placed.iter().any(|replica| gone(&replica));
        (!fits).then_some(Change::UndoMove { group: *group, job: job.id })
    };
    state.jobs.iter().filter_map(stray).collect()
}

/// Nodes are lost together or not at all: as long as those that are heard cannot hold all replicas, there
/// is nowhere to copy to, and giving a node up would only make it move more when it is back.
fn lost_and_found(state: &ClusterState, facts: &Facts) -> Vec<Change> {
    let of = |wanted| {
        let members = state.members.iter();
        members.filter(move |(_, member)| member.state == wanted).map(|(node, _)| *node)
    };
    let found = of(MemberState::Lost).filter(|node| facts.is_heard(*node));
    let found: Vec<NodeId> = found.collect();
    let after_ms = state.rebalance.replace_after_seconds.saturating_mul(1_000);
    let is_lost = |node: &NodeId| after_ms > 0 && facts.silence_ms(*node) > after_ms;
    let (mut lost, serving): (Vec<_>, Vec<_>) = of(MemberState::Serving).partition(is_lost);
    if serving.len() + found.len() < usize::from(state.replication_factor) {
        lost.clear();
    }
    let set = |lost| move |node| Change::SetLost { node, lost };
    found.into_iter().map(set(false)).chain(lost.into_iter().map(set(true))).collect()
}

/// Members that never come back and hold nothing any more.
fn empty_members(state: &ClusterState) -> Vec<Change> {
    let gone = state
        .members
        .iter()
        .filter(|(node, member)| member.state == MemberState::Replaced && state.holds(**node) == 0);
    gone.map(|(node, _)| Change::RemoveMember { node: *node }).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use flin_state::cluster::{Genesis, GenesisMember, Move, RebalanceSettings};
    use flin_state::ids::{ClusterId, ReplicaId};

    use super::*;

    /// So many serving nodes, numbered from 1, with 8 partitions of 3 replicas; lost after 10 s.
    pub(in crate::rebalance) fn cluster(nodes: u64) -> ClusterState {
        let member = |id: u64| GenesisMember {
            name: format!("n{id}"),
            node_id: NodeId(id),
            peer_address: format!("n{id}:1"),
            client_address: format!("n{id}:2"),
            zone: String::new(),
        };
        let genesis = Genesis {
            cluster_id: ClusterId(7),
            partitions: 8,
            replication_factor: 3,
            members: (1..=nodes).map(member).collect(),
        };
        let rebalance = RebalanceSettings { replace_after_seconds: 10, ..Default::default() };
        ClusterState { formed: true, rebalance, ..genesis.begin().expect("a valid genesis") }
    }

    fn plan() -> Plan {
        Plan::default()
    }

    const GROUP: GroupId = GroupId(3);

    fn with_job(mut state: ClusterState) -> ClusterState {
        let remove = state.replicas_of(GROUP).first().copied();
        let add = Some(Placement { replica: ReplicaId(99), node: NodeId(4) });
        state.jobs.insert(GROUP, Job { id: 5, add, remove, undo: false });
        state
    }

    fn reported(job: u64, finished: bool, fresh: bool) -> Facts {
        let report = JobReport { job, finished, undone: true };
        let known = GroupFacts { bytes: 123, job: Some(report), fresh, voters: None };
        Facts { groups: BTreeMap::from([(GROUP, known)]), ..all_heard(4) }
    }

    fn all_heard(nodes: u64) -> Facts {
        let silence_ms = (1..=nodes).map(|node| (NodeId(node), 0)).collect();
        Facts { tenure_ms: 1_000_000, silence_ms, ..Facts::default() }
    }

    #[test]
    fn a_move_is_finished_by_its_own_fresh_report_only() {
        let state = with_job(cluster(4));
        let finish = Change::FinishMove { group: GROUP, job: 5, undone: true, bytes: 123 };
        let finish = [finish];
        assert_eq!(decide(&state, &reported(5, true, true), plan()), finish);
        for facts in [reported(5, false, true), reported(4, true, true), reported(5, true, false)] {
            assert_eq!(decide(&state, &facts, plan()), [], "{facts:?}");
        }
        // What has ended is not taken back any more.
        let undo = || Plan { undo: vec![(GROUP, 5)], ..plan() };
        assert_eq!(decide(&state, &reported(5, true, true), undo()), finish);
        let wanted = [Change::UndoMove { group: GROUP, job: 5 }];
        assert_eq!(decide(&state, &reported(5, false, true), undo()), wanted);
    }

    #[test]
    fn voters_that_the_placement_does_not_know_are_adopted_once_no_job_says_otherwise() {
        let state = cluster(4);
        let placed = state.replicas_of(GROUP).to_vec();
        let facts = |voters| {
            let known = GroupFacts { fresh: true, voters, ..GroupFacts::default() };
            Facts { groups: BTreeMap::from([(GROUP, known)]), ..all_heard(4) }
        };
        let reordered = placed.iter().rev().copied().collect();
        let strayed: Vec<_> = placed[1..]
            .iter()
            .copied()
            .chain([Placement { replica: ReplicaId(3), node: NodeId(4) }])
            .collect();
        assert_eq!(decide(&state, &facts(None), plan()), []);
        assert_eq!(decide(&state, &facts(Some(reordered)), plan()), []);
        let adopt = Change::AdoptVoters { group: GROUP, voters: strayed.clone() };
        assert_eq!(decide(&state, &facts(Some(strayed.clone())), plan()), [adopt]);
        let adopts = |change: &Change| matches!(change, Change::AdoptVoters { .. });
        let decided = decide(&with_job(state), &facts(Some(strayed)), plan());
        assert!(!decided.iter().any(adopts), "{decided:?}");
    }

    #[test]
    fn move_that_was_planned_for_other_voters_than_there_are_is_taken_back() {
        let mut state = with_job(cluster(4));
        let placed = state.replicas_of(GROUP).to_vec();
        let added = state.jobs[&GROUP].add.expect("the job adds one");
        let decided = |state: &ClusterState, voters: &[Placement]| {
            let voters = Some(voters.to_vec());
            let known = GroupFacts { fresh: true, voters, ..GroupFacts::default() };
            let groups = BTreeMap::from([(GROUP, known)]);
            decide(state, &Facts { groups, ..all_heard(4) }, plan())
        };
        let replaced = |by: Placement| [&placed[1..], &[by]].concat();
        // Before the job, after it, and on the way.
        for voters in [placed.clone(), replaced(added), [&placed[..], &[added]].concat()] {
            assert_eq!(decided(&state, &voters), [], "{voters:?}");
        }
        // A replica that an earlier job had brought to the same node, and one that nobody asked to go.
        let earlier = Placement { replica: ReplicaId(3), node: added.node };
        let undo = [Change::UndoMove { group: GROUP, job: 5 }];
        for voters in [replaced(earlier), placed[..2].to_vec()] {
            assert_eq!(decided(&state, &voters), undo, "{voters:?}");
        }
        if let Some(job) = state.jobs.get_mut(&GROUP) {
            job.undo = true;
        }
        assert_eq!(decided(&state, &replaced(earlier)), [], "it is being taken back");
    }

    #[test]
    fn nodes_are_given_up_while_the_others_can_hold_everything_and_found_when_heard() {
        let lost = |node| Change::SetLost { node: NodeId(node), lost: true };
        let found = |node| Change::SetLost { node: NodeId(node), lost: false };
        struct Row {
            what: &'static str,
            nodes: u64,
            /// Nodes and for how long they were silent; `None`: never heard.
            silent: &'static [(u64, Option<u64>)],
            already: &'static [(u64, MemberState)],
            tenure_ms: u64,
            expected: Vec<Change>,
        }
        let row = |what, nodes, silent, expected| Row {
            what,
            nodes,
            silent,
            already: &[],
            tenure_ms: 60_000,
            expected,
        };
        let rows = [
            row("a short silence", 4, &[(4, Some(10_000))], vec![]),
            row("too long a silence", 4, &[(4, Some(10_001))], vec![lost(4)]),
            row("never heard", 4, &[(4, None)], vec![lost(4)]),
            row("no room for copies", 3, &[(3, Some(60_000))], vec![]),
            row("two of five", 5, &[(4, Some(20_000)), (5, None)], vec![lost(4), lost(5)]),
            row("three of five", 5, &[(3, Some(20_000)), (4, None), (5, Some(20_000))], vec![]),
            Row {
                tenure_ms: 9_000,
                ..row("not heard before it was this node's turn", 4, &[(4, Some(99_000))], vec![])
            },
            Row { tenure_ms: 9_000, ..row("not heard yet", 4, &[(4, None)], vec![]) },
            Row {
                already: &[(4, MemberState::Lost)],
                ..row("lost and silent", 4, &[(4, Some(20_000))], vec![])
            },
            Row { already: &[(4, MemberState::Lost)], ..row("back", 4, &[], vec![found(4)]) },
            Row {
                already: &[(3, MemberState::Lost)],
                ..row("one is back when the other goes", 4, &[(4, None)], vec![found(3), lost(4)])
            },
            Row {
                already: &[(4, MemberState::Draining)],
                ..row("being emptied anyway", 4, &[(4, None)], vec![])
            },
        ];
        for row in rows {
            let mut state = cluster(row.nodes);
            for (node, now) in row.already {
                state.members.get_mut(&NodeId(*node)).expect("a member").state = *now;
            }
            let mut facts = Facts { tenure_ms: row.tenure_ms, ..all_heard(row.nodes) };
            for (node, silence) in row.silent {
                facts.silence_ms.remove(&NodeId(*node));
                facts.silence_ms.extend(silence.map(|silence| (NodeId(*node), silence)));
            }
            assert_eq!(decide(&state, &facts, plan()), row.expected, "{}", row.what);
        }
    }

    #[test]
    fn nobody_is_given_up_when_that_is_switched_off() {
        let mut state = cluster(4);
        state.rebalance.replace_after_seconds = 0;
        let mut facts = all_heard(4);
        facts.silence_ms.insert(NodeId(4), u64::MAX);
        assert_eq!(decide(&state, &facts, plan()), []);
    }

    #[test]
    fn a_replaced_member_goes_once_it_holds_nothing() {
        let mut state = cluster(4);
        state.members.get_mut(&NodeId(4)).expect("a member").state = MemberState::Replaced;
        assert_eq!(decide(&state, &all_heard(4), plan()), []);
        for replicas in &mut state.placement {
            replicas.retain(|placement| placement.node != NodeId(4));
        }
        let remove = Change::RemoveMember { node: NodeId(4) };
        assert_eq!(decide(&state, &all_heard(4), plan()), [remove]);
    }

    #[test]
    fn what_is_planned_comes_last_and_names_the_state_it_is_for() {
        let mut state = with_job(cluster(4));
        state.revision = 17;
        let moves = vec![Move { group: GroupId(1), add: Some(NodeId(4)), remove: None }];
        let leaders = BTreeMap::from([(GroupId(2), ReplicaId(9))]);
        let plan = Plan { moves: moves.clone(), leaders: leaders.clone(), ..plan() };
        let changes = decide(&state, &reported(5, true, true), plan);
        assert!(matches!(changes[0], Change::FinishMove { .. }));
        let wanted = [
            Change::StartMoves { based_on: 17, moves },
            Change::PreferLeaders { based_on: 17, leaders },
        ];
        assert_eq!(changes[1..], wanted);
    }
}
