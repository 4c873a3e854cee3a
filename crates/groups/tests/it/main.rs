//! The groups of one node, driven step by step in a world without others.

mod lone;

use std::collections::BTreeMap;

use flin_groups::Input;
use flin_proto::peer::{LeaderReport, LedGroup, Seat};
use flin_state::cluster::{Job, Placement};
use flin_state::ids::{GroupId, NodeId, ReplicaId, Term};
use lone::LoneNode;

const GROUP: GroupId = GroupId(1);

/// A leader elsewhere says who is in the group, and it is not `gone`.
fn report_without(gone: ReplicaId) -> LeaderReport {
    let others = [1, 2, 3, 20].into_iter().filter(|replica| *replica != gone.0);
    let seats = others.map(|replica| Seat { replica, node: replica, votes: true });
    let led =
        LedGroup { group: GROUP.0.into(), term: 9, seats: seats.collect(), ..LedGroup::default() };
    LeaderReport { node_id: 3, groups: vec![led], ..LeaderReport::default() }
}

#[test]
fn node_hosts_a_new_replica_of_a_group_once_its_old_one_has_ended() {
    let mut node = LoneNode::member_of(NodeId(1), 4);
    let before = node.state();
    node.tell(Input::Cluster(before.clone().into()));
    node.turn();
    let old = before.replicas_of(GROUP).iter().find(|placed| placed.node == NodeId(1));
    let old = old.expect("three of four nodes hold it").replica;
    assert!(node.replicas().contains(&(GROUP, old)));

    // The old replica is part of the group no more, and a job brings a new one here.
    let mut after = before;
    let (elsewhere, here) = (ReplicaId(20), ReplicaId(21));
    for placed in after.placement[0].iter_mut().filter(|placed| placed.replica == old) {
        *placed = Placement { replica: elsewhere, node: NodeId(4) };
    }
    let add = Some(Placement { replica: here, node: NodeId(1) });
    after.jobs = BTreeMap::from([(GROUP, Job { id: 1, add, remove: None, undo: false })]);
    (after.next_replica_id, after.next_job_id) = (ReplicaId(22), 2);
    after.revision += 1;
    node.tell(Input::Cluster(after.into()));
    node.turn();
    assert!(
        node.replicas().contains(&(GROUP, old)),
        "its group cannot spare it, as far as is known"
    );

    // It may campaign for ever, in terms that nobody else hears of.
    node.learn(GROUP, Term(14));
    node.hear(&report_without(old));
    node.pass_seconds(2);
    assert!(!node.replicas().contains(&(GROUP, old)));
    assert!(node.replicas().contains(&(GROUP, here)), "{:?}", node.replicas());
}
