//! Moves of replicas begin and end, and groups get other preferred leaders.

use std::collections::{BTreeMap, BTreeSet};

use flin_mutant::{Bug, is};

use crate::cluster::apply::{Effect, set};
use crate::cluster::{ClusterState, Job, Move, Placement, Rejected};
use crate::ids::{GroupId, NodeId, PartitionId, ReplicaId};

pub(super) fn start(
    cluster: &mut ClusterState,
    based_on: u64,
    moves: &[Move],
) -> Result<Effect, Rejected> {
    check_revision(cluster, based_on)?;
    if moves.is_empty() {
        return Ok(Effect::Nothing);
    }
    if cluster.rebalance.paused {
        return Err(Rejected::Paused);
    }
    let mut groups = BTreeSet::new();
    for wanted in moves {
        if !groups.insert(wanted.group) {
            return Err(Rejected::GroupMoves(wanted.group));
        }
        check_move(cluster, wanted)?;
    }
    // Jobs of groups that decide nothing must not keep others from being repaired.
    let running = cluster.jobs.keys().filter(|group| cluster.can_decide(**group)).count();
    let (together, max) = (running + moves.len(), cluster.rebalance.max_moves);
    if u32::try_from(together).is_ok_and(|together| together > max) {
        return Err(Rejected::TooManyMoves { moves: together, max });
    }
    for wanted in moves {
        begin(cluster, wanted);
    }
    Ok(Effect::Changed)
}

fn check_move(cluster: &ClusterState, wanted: &Move) -> Result<(), Rejected> {
    let &Move { group, add, remove } = wanted;
    let replicas = cluster.replicas_of(group);
    if replicas.is_empty() {
        return Err(Rejected::UnknownGroup(group));
    }
    if cluster.jobs.contains_key(&group) {
        return Err(Rejected::GroupMoves(group));
    }
    if let Some(node) = add {
        check_serves(cluster, node)?;
        if replicas.iter().any(|placement| placement.node == node) {
            return Err(Rejected::HeldAlready { group, node });
        }
    }
    if let Some(replica) = remove {
        check_replica(cluster, group, replica)?;
    }
    let replication_factor = cluster.replication_factor;
    let wanted = usize::from(replication_factor);
    let (replicas, fits) = match (add, remove) {
        (None, None) => return Err(Rejected::EmptyMove(group)),
        (Some(_), Some(_)) => (replicas.len(), true),
        (Some(_), None) => (replicas.len() + 1, replicas.len() < wanted),
        (None, Some(_)) => (replicas.len() - 1, replicas.len() > wanted),
    };
    if fits { Ok(()) } else { Err(Rejected::ReplicaCount { group, replicas, replication_factor }) }
}

/// Begins a move that was checked.
fn begin(cluster: &mut ClusterState, wanted: &Move) {
    let add = wanted.add.map(|node| {
        let replica = cluster.next_replica_id;
        if !is(Bug::ReuseReplicaIds) {
            cluster.next_replica_id = ReplicaId(replica.0 + 1);
        }
        Placement { replica, node }
    });
    let placed = cluster.replicas_of(wanted.group).iter();
    let remove = placed.copied().find(|placement| Some(placement.replica) == wanted.remove);
    let id = cluster.next_job_id;
    cluster.next_job_id += 1;
    cluster.jobs.insert(wanted.group, Job { id, add, remove, undo: false });
}

pub(super) fn undo(cluster: &mut ClusterState, group: GroupId, id: u64) -> Effect {
    match cluster.jobs.get_mut(&group) {
        Some(job) if job.id == id && !job.undo => {
            job.undo = true;
            Effect::Changed
        }
        _ => Effect::Nothing,
    }
}

/// Ends a move as its group's configuration says: also one that was to be taken back may be done, and the
/// other way round.
pub(super) fn finish(
    cluster: &mut ClusterState,
    group: GroupId,
    id: u64,
    undone: bool,
    bytes: u64,
) -> Effect {
    let Some(job) = cluster.jobs.get(&group).filter(|job| job.id == id).copied() else {
        return Effect::Nothing;
    };
    cluster.jobs.remove(&group);
    if undone {
        return Effect::Changed;
    }
    if let Some(replicas) = replicas_mut(cluster, group) {
        let place = replicas.iter().position(|placement| Some(*placement) == job.remove);
        match (job.add, place) {
            (Some(added), Some(place)) => replicas[place] = added,
            (Some(added), None) => replicas.push(added),
            (None, Some(place)) => drop(replicas.remove(place)),
            (None, None) => {}
        }
    }
    if job.add.is_some() {
        cluster.moved.replicas += 1;
        cluster.moved.bytes = cluster.moved.bytes.saturating_add(bytes);
    }
    Effect::Changed
}

pub(super) fn adopt_voters(
    cluster: &mut ClusterState,
    group: GroupId,
    voters: &[Placement],
) -> Result<Effect, Rejected> {
    if cluster.jobs.contains_key(&group) {
        // Its end will say who votes.
        return Ok(Effect::Nothing);
    }
    if cluster.replicas_of(group).is_empty() || voters.is_empty() {
        return Err(Rejected::UnknownGroup(group));
    }
    if let Some(voter) = voters.iter().find(|voter| !cluster.members.contains_key(&voter.node)) {
        return Err(Rejected::UnknownMember(voter.node));
    }
    if let Some(unborn) = voters.iter().find(|voter| voter.replica >= cluster.next_replica_id) {
        return Err(Rejected::UnknownReplica { group, replica: unborn.replica });
    }
    let Some(replicas) = replicas_mut(cluster, group) else { return Ok(Effect::Nothing) };
    let stays: Vec<Placement> =
        replicas.iter().filter(|placed| voters.contains(placed)).copied().collect();
    let new = voters.iter().filter(|voter| !stays.contains(voter)).copied();
    let adopted: Vec<Placement> = stays.iter().copied().chain(new).collect();
    Ok(set(replicas, adopted))
}

pub(super) fn prefer_leaders(
    cluster: &mut ClusterState,
    based_on: u64,
    leaders: &BTreeMap<GroupId, ReplicaId>,
) -> Result<Effect, Rejected> {
    check_revision(cluster, based_on)?;
    for (group, replica) in leaders {
        if cluster.replicas_of(*group).is_empty() {
            return Err(Rejected::UnknownGroup(*group));
        }
        check_serves(cluster, check_replica(cluster, *group, *replica)?)?;
    }
    let mut effect = Effect::Nothing;
    for (group, replica) in leaders {
        let Some(replicas) = replicas_mut(cluster, *group) else { continue };
        let place = replicas.iter().position(|placement| placement.replica == *replica);
        if let Some(place) = place.filter(|place| *place > 0) {
            replicas.swap(0, place);
            effect = Effect::Changed;
        }
    }
    Ok(effect)
}

fn check_revision(cluster: &ClusterState, based_on: u64) -> Result<(), Rejected> {
    let actual = cluster.revision;
    if based_on == actual { Ok(()) } else { Err(Rejected::Stale { based_on, actual }) }
}

fn check_serves(cluster: &ClusterState, node: NodeId) -> Result<(), Rejected> {
    match cluster.members.contains_key(&node) {
        false => Err(Rejected::UnknownMember(node)),
        true if !cluster.serves(node) => Err(Rejected::NotServing(node)),
        true => Ok(()),
    }
}

/// The node of a replica in its group's placement.
fn check_replica(
    cluster: &ClusterState,
    group: GroupId,
    replica: ReplicaId,
) -> Result<NodeId, Rejected> {
    let mut replicas = cluster.replicas_of(group).iter();
    let placed = replicas.find(|placement| placement.replica == replica);
    placed.map(|p| p.node).ok_or(Rejected::UnknownReplica { group, replica })
}

pub(super) fn replicas_mut(
    cluster: &mut ClusterState,
    group: GroupId,
) -> Option<&mut Vec<Placement>> {
    match group.partition() {
        None => Some(&mut cluster.meta),
        Some(PartitionId(partition)) => cluster.placement.get_mut(usize::from(partition)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::apply::tests::{begun, refused, run};
    use crate::cluster::{Change, Moved};

    const GROUP: GroupId = GroupId(1);

    /// A cluster whose partition 0 is on nodes 1, 2 and 3 in this order, with replicas 4, 5 and 6.
    fn cluster() -> ClusterState {
        let cluster = begun(8, 3, 5);
        let placed: Vec<_> = cluster.placement[0].iter().map(|p| (p.replica.0, p.node.0)).collect();
        assert_eq!(placed, [(4, 1), (5, 2), (6, 3)]);
        cluster
    }

    fn to(add: Option<u64>, remove: Option<u64>) -> Move {
        Move { group: GROUP, add: add.map(NodeId), remove: remove.map(ReplicaId) }
    }

    fn start(cluster: &ClusterState, moves: &[Move]) -> Change {
        Change::StartMoves { based_on: cluster.revision, moves: moves.to_vec() }
    }

    fn finish(job: u64, undone: bool) -> Change {
        Change::FinishMove { group: GROUP, job, undone, bytes: 7 }
    }

    fn placed(cluster: &ClusterState) -> Vec<(u64, u64)> {
        cluster.replicas_of(GROUP).iter().map(|p| (p.replica.0, p.node.0)).collect()
    }

    #[test]
    fn a_move_that_is_done_puts_the_new_replica_in_the_place_of_the_old() {
        let mut cluster = cluster();
        let new = cluster.next_replica_id.0;
        let begin = start(&cluster, &[to(Some(4), Some(4))]);
        assert_eq!(run(&mut cluster, begin), Ok(true));
        assert_eq!(placed(&cluster), [(4, 1), (5, 2), (6, 3)]);
        assert_eq!(run(&mut cluster, finish(1, false)), Ok(true));
        assert_eq!(placed(&cluster), [(new, 4), (5, 2), (6, 3)]);
        assert_eq!(cluster.moved, Moved { replicas: 1, bytes: 7 });
        assert_eq!(run(&mut cluster, finish(1, false)), Ok(false));
        assert_eq!((cluster.next_replica_id.0, cluster.next_job_id), (new + 1, 2));
    }

    #[test]
    fn a_move_that_is_undone_leaves_no_trace_but_its_ids() {
        let mut cluster = cluster();
        let new = cluster.next_replica_id.0;
        let begin = start(&cluster, &[to(Some(4), Some(4))]);
        run(&mut cluster, begin).expect("a good move");
        let undo = |job| Change::UndoMove { group: GROUP, job };
        assert_eq!(run(&mut cluster, undo(9)), Ok(false));
        assert_eq!(run(&mut cluster, undo(1)), Ok(true));
        assert_eq!(run(&mut cluster, undo(1)), Ok(false));
        assert_eq!(run(&mut cluster, finish(1, true)), Ok(true));
        assert_eq!(placed(&cluster), [(4, 1), (5, 2), (6, 3)]);
        assert_eq!(cluster.moved, Moved::default());
        assert_eq!(run(&mut cluster, undo(1)), Ok(false));
        assert_eq!((cluster.next_replica_id.0, cluster.next_job_id), (new + 1, 2));
    }

    #[test]
    fn a_replica_is_added_last_and_the_next_leads_when_the_first_is_removed() {
        let mut cluster = cluster();
        let new = cluster.next_replica_id.0;
        cluster.replication_factor = 5;
        let begin = start(&cluster, &[to(Some(5), None)]);
        run(&mut cluster, begin).expect("two are missing");
        run(&mut cluster, finish(1, false)).expect("no error");
        assert_eq!(placed(&cluster), [(4, 1), (5, 2), (6, 3), (new, 5)]);
        cluster.replication_factor = 3;
        let begin = start(&cluster, &[to(None, Some(4))]);
        run(&mut cluster, begin).expect("one is too many");
        run(&mut cluster, finish(2, false)).expect("no error");
        assert_eq!(placed(&cluster), [(5, 2), (6, 3), (new, 5)]);
        assert_eq!(cluster.preferred_leader(GROUP), Some(NodeId(2)));
        assert_eq!(cluster.moved.replicas, 1);
    }

    #[test]
    fn a_bad_move_is_refused_with_the_reason() {
        let drained = |cluster: &mut ClusterState| {
            let nodes = [NodeId(4)].into();
            run(cluster, Change::SetDraining { nodes }).expect("four remain");
        };
        let busy = |cluster: &mut ClusterState| {
            let begin = start(cluster, &[to(Some(4), Some(4))]);
            run(cluster, begin).expect("a good move");
        };
        let nothing = |_: &mut ClusterState| {};
        let of = |group| Move { group: GroupId(group), ..to(Some(4), Some(4)) };
        type Prepare<'a> = &'a dyn Fn(&mut ClusterState);
        let cases: [(Prepare<'_>, Vec<Move>, &str); 14] = [
            (&nothing, vec![of(9)], "there is no group 9"),
            (&nothing, vec![to(None, None)], "neither adds nor removes"),
            (&nothing, vec![to(Some(9), Some(4))], "node 9 is no member"),
            (&nothing, vec![to(Some(2), Some(4))], "node 2 holds a replica of group 1 already"),
            (&nothing, vec![to(Some(4), Some(1))], "group 1 has no replica 1"),
            (&nothing, vec![to(Some(4), None)], "group 1 would have 4 replicas"),
            (&nothing, vec![to(None, Some(4))], "group 1 would have 2 replicas"),
            (&nothing, vec![to(Some(4), Some(4)); 2], "group 1 can only be moved once"),
            (&busy, vec![to(Some(5), Some(5))], "group 1 can only be moved once"),
            (&drained, vec![to(Some(4), Some(4))], "node 4 does not serve"),
            (&|c| c.rebalance.paused = true, vec![to(Some(4), Some(4))], "moves are paused"),
            (&|c| c.rebalance.max_moves = 0, vec![to(Some(4), Some(4))], "1 moves at a time"),
            (&|c| c.replication_factor = 5, vec![to(None, Some(4))], "replicationFactor is 5"),
            (&|c| c.replication_factor = 1, vec![to(Some(4), None)], "replicationFactor is 1"),
        ];
        for (prepare, moves, reason) in cases {
            let mut cluster = cluster();
            prepare(&mut cluster);
            let begin = start(&cluster, &moves);
            let message = refused(&mut cluster, begin);
            assert!(message.contains(reason), "{message}, not {reason}");
        }
    }

    #[test]
    fn what_was_planned_for_another_state_is_refused_whole() {
        let mut cluster = cluster();
        let (begin, lead) = (start(&cluster, &[to(Some(4), Some(4))]), prefer(&cluster, 1, 5));
        run(&mut cluster, begin.clone()).expect("a good move");
        let reason = format!("planned for revision 1, the cluster is at {}", cluster.revision);
        assert!(refused(&mut cluster, begin).contains(&reason));
        assert!(refused(&mut cluster, lead).contains(&reason));
        let again = start(&cluster, &[]);
        assert_eq!(run(&mut cluster, again), Ok(false));
    }

    fn prefer(cluster: &ClusterState, group: u16, replica: u64) -> Change {
        let leaders = [(GroupId(group), ReplicaId(replica))].into();
        Change::PreferLeaders { based_on: cluster.revision, leaders }
    }

    #[test]
    fn one_of_its_replicas_on_a_node_that_serves_leads_a_group() {
        let mut cluster = cluster();
        let lead = prefer(&cluster, 1, 6);
        assert_eq!(run(&mut cluster, lead), Ok(true));
        assert_eq!(placed(&cluster), [(6, 3), (5, 2), (4, 1)]);
        let lead = prefer(&cluster, 1, 6);
        assert_eq!(run(&mut cluster, lead), Ok(false));
        run(&mut cluster, Change::SetLost { node: NodeId(2), lost: true }).expect("it serves");
        for (group, replica, reason) in [
            (9, 4, "there is no group 9"),
            (1, 1, "group 1 has no replica 1"),
            (1, 5, "node 2 does not serve"),
        ] {
            let lead = prefer(&cluster, group, replica);
            let message = refused(&mut cluster, lead);
            assert!(message.contains(reason), "{message}, not {reason}");
        }
    }

    #[test]
    fn jobs_of_groups_that_decide_nothing_leave_room_for_others() {
        let mut cluster = cluster();
        cluster.rebalance.max_moves = 1;
        let begin = start(&cluster, &[to(Some(4), Some(4))]);
        run(&mut cluster, begin).expect("a good move");
        let meta = Move { group: GroupId::META, add: Some(NodeId(4)), remove: Some(ReplicaId(1)) };
        let begin = start(&cluster, &[meta]);
        assert!(refused(&mut cluster, begin).contains("2 moves at a time are more than 1"));
        cluster.placement[0][0].node = NodeId(5);
        for node in [5, 2] {
            run(&mut cluster, Change::SetLost { node: NodeId(node), lost: true }).expect("serves");
        }
        let begin = start(&cluster, &[meta]);
        assert_eq!(run(&mut cluster, begin), Ok(true));
    }
}
