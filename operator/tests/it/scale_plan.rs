//! Tables of what is planned about the scale.

use std::collections::BTreeSet;

use flin_crds::{ScalePhase, ScaleStatus};
use flin_operator::nodes::{MemberState, Order, Rebalance, Report, ReportedMember};
use flin_operator::observe::Pod;
use flin_operator::plan::scale::{Facts, Scale, plan};

use MemberState::{Draining, Lost, Replaced, Serving};

/// What is there: `members` by ordinal, state and what each holds.
struct Scene {
    want: u32,
    replication_factor: u32,
    recorded: u32,
    set: Option<u32>,
    prior: ScaleStatus,
    rollout: Option<&'static str>,
    report: Option<Report>,
}

fn member(ordinal: u32, state: MemberState, holds: u32) -> ReportedMember {
    ReportedMember {
        name: format!("demo-{ordinal}"),
        node_id: u64::from(ordinal) + 1,
        alive: !matches!(state, Lost | Replaced),
        state,
        holds,
        ..ReportedMember::default()
    }
}

/// `count` nodes at rest.
fn at_rest(count: u32) -> Scene {
    Scene {
        want: count,
        replication_factor: 3,
        recorded: count,
        set: Some(count),
        prior: ScaleStatus::default(),
        rollout: None,
        report: Some(Report {
            partitions: 64,
            replication_factor: 3,
            meta_led: true,
            members: (0..count).map(|ordinal| member(ordinal, Serving, 65)).collect(),
            rebalance: Rebalance { balanced: true, ..Rebalance::default() },
            ..Report::default()
        }),
    }
}

/// `count` nodes, of which `want` are asked for, at this step of the way from `from` to `to`.
fn on_the_way(count: u32, want: u32, phase: ScalePhase, from: i32, to: i32) -> Scene {
    let prior = ScaleStatus { phase, from: Some(from), to: Some(to), ..ScaleStatus::default() };
    Scene { want, prior, ..at_rest(count) }
}

impl Scene {
    fn with(mut self, change: impl FnOnce(&mut Report)) -> Self {
        change(self.report.as_mut().expect("the nodes answer"));
        self
    }

    fn members(self, members: &[(u32, MemberState, u32)]) -> Self {
        let members =
            members.iter().map(|(ordinal, state, holds)| member(*ordinal, *state, *holds));
        self.with(|report| report.members = members.collect())
    }

    fn plan(&self) -> Scale {
        let pods: Vec<_> = (0..self.set.unwrap_or_default())
            .map(|ordinal| Pod {
                name: format!("demo-{ordinal}"),
                ordinal,
                ready: true,
                ..Pod::default()
            })
            .collect();
        plan(&Facts {
            cluster: "demo",
            want: self.want,
            replication_factor: self.replication_factor,
            recorded: self.recorded,
            set: self.set,
            pods: &pods,
            report: self.report.as_ref(),
            rollout: self.rollout,
            prior: &self.prior,
        })
    }

    /// Size of the StatefulSet, phase and orders.
    #[track_caller]
    fn gives(&self, replicas: u32, phase: ScalePhase, orders: &[Order]) {
        let scale = self.plan();
        assert_eq!(
            (scale.replicas, scale.status.phase, scale.orders.as_slice()),
            (replicas, phase, orders),
            "{:?}",
            scale.status.message
        );
    }

    /// Nothing is done, with these words.
    #[track_caller]
    fn waits(&self, words: &str) {
        let scale = self.plan();
        let message = scale.status.message.clone().unwrap_or_default();
        assert!(message.contains(words), "{message:?} does not say {words:?}");
        assert_eq!(
            (scale.replicas, scale.status.phase, scale.orders),
            (self.recorded, ScalePhase::Idle, vec![])
        );
    }
}

fn drain(nodes: &[u64]) -> Order {
    Order::SetDraining(nodes.iter().copied().collect::<BTreeSet<_>>())
}

#[test]
fn nothing_asked_is_nothing_done() {
    at_rest(3).gives(3, ScalePhase::Idle, &[]);
    assert_eq!(at_rest(3).plan().status.message, None);
}

#[test]
fn way_up_is_join_then_rebalance_then_rest() {
    use ScalePhase::{Idle, Joining, Rebalancing};
    Scene { want: 5, ..at_rest(3) }.gives(5, Joining, &[]);
    let three_of_five = || Scene { set: Some(5), ..on_the_way(3, 5, Joining, 3, 5) };
    three_of_five().gives(5, Joining, &[]);
    let joined = |phase| on_the_way(5, 5, phase, 3, 5);
    joined(Joining).with(|report| report.members[4].alive = false).gives(5, Joining, &[]);
    let unequal = |report: &mut Report| report.rebalance.balanced = false;
    joined(Joining).with(unequal).gives(5, Rebalancing, &[]);
    joined(Rebalancing).with(|report| report.rebalance.replicas_left = 1).gives(
        5,
        Rebalancing,
        &[],
    );
    joined(Rebalancing).gives(5, Idle, &[]);
}

#[test]
fn way_down_is_drain_then_remove_then_shrink_then_rest() {
    use ScalePhase::{Draining as Drains, Idle, Rebalancing, Removing, Shrinking};
    Scene { want: 3, ..at_rest(5) }.gives(5, Drains, &[]);
    on_the_way(5, 3, Drains, 5, 3).gives(5, Drains, &[drain(&[4, 5])]);
    let stay = [(0, Serving, 65), (1, Serving, 65), (2, Serving, 65)];
    let with = |phase, go: &[(u32, MemberState, u32)]| {
        on_the_way(5, 3, phase, 5, 3).members(&[&stay, go].concat())
    };
    with(Drains, &[(3, Draining, 0), (4, Draining, 1)]).gives(5, Drains, &[]);
    with(Drains, &[(3, Draining, 0), (4, Draining, 0)]).gives(5, Removing, &[]);
    let remove = [Order::RemoveMember(4), Order::RemoveMember(5)];
    with(Removing, &[(3, Draining, 0), (4, Draining, 0)]).gives(5, Removing, &remove);
    with(Removing, &[(3, Draining, 0)]).gives(4, Removing, &[Order::RemoveMember(4)]);
    with(Removing, &[]).gives(3, Shrinking, &[]);
    Scene { set: Some(3), ..with(Shrinking, &[]) }.gives(3, Idle, &[]);
    let unequal = |report: &mut Report| report.rebalance.balanced = false;
    Scene { set: Some(3), ..with(Shrinking, &[]) }.with(unequal).gives(3, Rebalancing, &[]);
}

#[test]
fn statefulset_is_never_smaller_than_the_membership() {
    for phase in [ScalePhase::Draining, ScalePhase::Removing, ScalePhase::Shrinking] {
        for state in [Serving, Draining, Lost, Replaced] {
            let scene = on_the_way(5, 3, phase, 5, 3).members(&[
                (0, Serving, 65),
                (1, Serving, 65),
                (2, Serving, 65),
                (4, state, 7),
            ]);
            assert_eq!(scene.plan().replicas, 5, "{phase:?} {state:?}");
        }
    }
}

#[test]
fn member_without_a_pod_is_drained_and_removed_without_one() {
    use ScalePhase::{Draining as Drains, Removing};
    let with = |phase, state, holds| {
        let members = [(0, Serving, 65), (1, Serving, 65), (2, Serving, 65), (3, state, holds)];
        let scene = on_the_way(3, 3, phase, 4, 3).members(&members);
        scene.with(|report| report.members[3].alive = false)
    };
    with(Drains, Serving, 2).gives(3, Drains, &[drain(&[4])]);
    with(Removing, Draining, 0).gives(3, Removing, &[Order::RemoveMember(4)]);
}

#[test]
fn wish_taken_back_half_way_is_told_at_once() {
    use ScalePhase::{Draining as Drains, Idle, Joining, Rebalancing, Removing, Shrinking};
    let stay = [(0, Serving, 65), (1, Serving, 65), (2, Serving, 65)];
    let drained = [(3, Draining, 9), (4, Draining, 0)];
    let down = |want, phase, go: &[(u32, MemberState, u32)]| {
        on_the_way(5, want, phase, 5, 3).members(&[&stay, go].concat())
    };
    let unequal = |report: &mut Report| report.rebalance.balanced = false;
    for phase in [Drains, Removing] {
        down(5, phase, &drained).with(unequal).gives(5, Rebalancing, &[drain(&[])]);
    }
    // Part of the way: one stays after all.
    down(4, Drains, &drained).gives(5, Removing, &[drain(&[5])]);
    // Who is removed already joins anew.
    down(5, Shrinking, &[]).gives(5, Joining, &[]);
    Scene { set: Some(3), ..down(5, Shrinking, &[]) }.gives(5, Joining, &[]);
    // Up, taken back: before and after the new nodes have joined.
    on_the_way(3, 3, Joining, 3, 5).gives(3, Idle, &[]);
    Scene { recorded: 5, set: Some(5), ..on_the_way(3, 3, Joining, 3, 5) }.gives(3, Shrinking, &[]);
    on_the_way(5, 3, Rebalancing, 3, 5).gives(5, Drains, &[]);
    on_the_way(5, 3, Drains, 3, 3).gives(5, Drains, &[drain(&[4, 5])]);
}

#[test]
fn even_a_missing_node_does_not_keep_a_drain_from_being_taken_back() {
    let members = [(0, Lost, 65), (1, Serving, 65), (2, Serving, 65), (3, Draining, 9)];
    on_the_way(4, 4, ScalePhase::Draining, 4, 3)
        .members(&members)
        .with(|report| report.rebalance.balanced = false)
        .gives(4, ScalePhase::Rebalancing, &[drain(&[])]);
}

#[test]
fn further_nodes_are_drained_only_once_that_is_on_record() {
    use ScalePhase::Draining as Drains;
    let members =
        [(0, Serving, 65), (1, Serving, 65), (2, Serving, 65), (3, Serving, 65), (4, Draining, 9)];
    on_the_way(5, 3, Drains, 5, 4).members(&members).gives(5, Drains, &[]);
    on_the_way(5, 3, Drains, 5, 3).members(&members).gives(5, Drains, &[drain(&[4, 5])]);
}

#[test]
fn nothing_begins_while_something_else_is_amiss() {
    let rolling = Some("1 of 3 nodes are yet to be restarted");
    let up = || Scene { want: 5, ..at_rest(3) };
    Scene { rollout: rolling, ..up() }.waits("waiting for the rollout: 1 of 3 nodes");
    up().with(|report| report.members[1].alive = false).waits("waiting for demo-1");
    up().with(|report| report.meta_led = false).waits("the meta group");
    let down = || Scene { want: 3, ..at_rest(5) };
    Scene { rollout: rolling, ..down() }.waits("waiting for the rollout");
    down().with(|report| report.members[1].alive = false).waits("waiting for demo-1");
    down().with(|report| report.leaderless = 2).waits("2 of 64 without a leader");
    down().with(|report| report.under_replicated = 7).waits("7 without all replicas");
    let asked = |replication_factor| Scene { replication_factor, ..at_rest(5) };
    asked(5).with(|report| report.members[1].alive = false).waits("waiting for demo-1");
    Scene { replication_factor: 5, want: 5, ..at_rest(3) }.gives(5, ScalePhase::Joining, &[]);
}

#[test]
fn node_that_goes_may_be_missing() {
    Scene { want: 3, ..at_rest(4) }.with(|report| report.members[3].alive = false).gives(
        4,
        ScalePhase::Draining,
        &[],
    );
}

#[test]
fn no_room_is_refused_before_anything_is_done() {
    let scene = Scene { want: 3, ..at_rest(4) }.with(|report| {
        for member in &mut report.members {
            member.data_bytes = 3 << 30;
            member.disk_total_bytes = 10 << 30;
            member.disk_free_bytes = 3 << 29;
        }
    });
    scene.gives(4, ScalePhase::Idle, &[]);
    let refusal = scene.plan().refusal.expect("it is refused");
    assert_eq!(refusal.reason(), "InsufficientCapacity");
    let begun = on_the_way(4, 3, ScalePhase::Draining, 4, 3).members(&[
        (0, Serving, 65),
        (1, Serving, 65),
        (2, Serving, 65),
        (3, Draining, 65),
    ]);
    begun.gives(4, ScalePhase::Draining, &[]);
}

#[test]
fn silent_nodes_leave_everything_as_it_is() {
    let silent = |scene: Scene| Scene { report: None, ..scene };
    silent(Scene { want: 5, ..at_rest(3) }).waits("waiting for a node that answers");
    silent(Scene { want: 3, ..at_rest(5) }).waits("waiting for a node that answers");
    use ScalePhase::{Draining as Drains, Joining, Shrinking};
    silent(on_the_way(5, 3, Drains, 5, 3)).gives(5, Drains, &[]);
    silent(on_the_way(5, 5, Joining, 3, 5)).gives(5, Joining, &[]);
    // The operator ended before it recorded that it had shrunk the StatefulSet.
    let shrunk = Scene { set: Some(3), ..on_the_way(5, 3, Shrinking, 5, 3) };
    silent(shrunk).gives(3, Shrinking, &[]);
    // Deleted or scaled by hand.
    silent(Scene { set: None, ..at_rest(5) }).gives(5, ScalePhase::Idle, &[]);
    silent(Scene { set: Some(1), ..at_rest(5) }).gives(5, ScalePhase::Idle, &[]);
}

#[test]
fn growth_that_was_not_recorded_is_told_from_where_it_began() {
    let grown = Scene { recorded: 3, want: 5, set: Some(5), ..at_rest(3) };
    grown.gives(5, ScalePhase::Joining, &[]);
    let status = grown.plan().status;
    assert_eq!((status.from, status.to), (Some(3), Some(5)));
    assert_eq!(status.joining, ["demo-3", "demo-4"]);
}

#[test]
fn growth_that_was_not_recorded_is_kept() {
    // The StatefulSet has grown and two nodes have joined, of which the status knows nothing.
    let grown = || Scene { recorded: 3, want: 5, ..at_rest(5) };
    grown().gives(5, ScalePhase::Idle, &[]);
    grown().with(|report| report.members[0].alive = false).gives(5, ScalePhase::Idle, &[]);
}

#[test]
fn report_from_before_the_order_only_repeats_it() {
    // The asked node has not heard yet that demo-3 is to be emptied, or that it was removed.
    on_the_way(4, 3, ScalePhase::Draining, 4, 3).gives(4, ScalePhase::Draining, &[drain(&[4])]);
    let late = [(0, Serving, 65), (1, Serving, 65), (2, Serving, 65), (3, Draining, 0)];
    Scene { set: Some(3), ..on_the_way(4, 3, ScalePhase::Shrinking, 4, 3) }.members(&late).gives(
        4,
        ScalePhase::Removing,
        &[],
    );
}

#[test]
fn replicas_are_changed_on_record_and_within_the_nodes_there_are() {
    use ScalePhase::{Idle, Rebalancing};
    let fewer = |phase| Scene { replication_factor: 1, ..on_the_way(3, 3, phase, 3, 3) };
    fewer(Idle).gives(3, Rebalancing, &[]);
    fewer(Rebalancing).gives(3, Rebalancing, &[Order::SetReplicationFactor(1)]);
    let more = Scene { replication_factor: 3, ..on_the_way(3, 3, Rebalancing, 1, 3) }
        .with(|report| report.replication_factor = 1);
    more.gives(3, Rebalancing, &[Order::SetReplicationFactor(3)]);
    let too_few = on_the_way(3, 3, Rebalancing, 1, 3)
        .members(&[(0, Serving, 65)])
        .with(|report| report.replication_factor = 1);
    too_few.gives(3, ScalePhase::Joining, &[]);
    let words = too_few.plan().status.message.expect("it waits");
    assert!(words.contains("waiting for 3 nodes to put them on, there are 1"), "{words}");
}

#[test]
fn paused_moves_are_named_as_what_is_waited_for() {
    let scene = on_the_way(5, 5, ScalePhase::Rebalancing, 3, 5).with(|report| {
        report.rebalance.balanced = false;
        report.rebalance.replicas_left = 9;
        report.rebalance.settings.paused = true;
    });
    let words = scene.plan().status.message.expect("it waits");
    assert_eq!(words, "9 replicas left to move; moves are paused by spec.rebalance.paused");
}

#[test]
fn zones_of_the_nodes_that_stay_are_told_and_refuse_nothing() {
    let zoned = |want| {
        Scene { want, ..at_rest(6) }.with(|report| {
            for (member, zone) in report.members.iter_mut().zip(["a", "a", "b", "b", "c", "c"]) {
                member.zone = zone.to_owned();
            }
        })
    };
    assert_eq!(zoned(6).plan().shared_zones, None);
    let shared = zoned(3).plan().shared_zones.expect("two of three share a zone");
    assert_eq!((shared.nodes, shared.zones, shared.fullest), (3, 2, 2));
    zoned(3).gives(6, ScalePhase::Draining, &[]);
}
