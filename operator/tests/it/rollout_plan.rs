//! Tables of what is planned about a rollout.

use flin_crds::{RolloutPhase, RolloutStatus, RolloutStep};
use flin_operator::nodes::{MemberState, Rebalance, Report, ReportedMember};
use flin_operator::observe::Pod;
use flin_operator::plan::rollout::{Act, Facts, Rollout, obstacle, plan};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

struct Scene {
    pods: Vec<Pod>,
    report: Option<Report>,
    scale_under_way: bool,
    prior: RolloutStatus,
}

fn pod(ordinal: u32, revision: &str) -> Pod {
    Pod {
        name: format!("demo-{ordinal}"),
        ordinal,
        uid: format!("uid-{ordinal}"),
        revision: Some(revision.to_owned()),
        ready: true,
        ..Pod::default()
    }
}

/// Three nodes that are well, made from these revisions; `new` is wanted.
fn well(revisions: [&str; 3]) -> Scene {
    let member = |ordinal: u32| ReportedMember {
        name: format!("demo-{ordinal}"),
        alive: true,
        ..ReportedMember::default()
    };
    Scene {
        pods: (0..3).zip(revisions).map(|(ordinal, revision)| pod(ordinal, revision)).collect(),
        report: Some(Report {
            meta_led: true,
            partitions: 64,
            members: (0..3).map(member).collect(),
            ..Report::default()
        }),
        scale_under_way: false,
        prior: RolloutStatus::default(),
    }
}

impl Scene {
    fn turn_of(mut self, ordinal: u32, step: RolloutStep) -> Self {
        self.prior = RolloutStatus {
            phase: RolloutPhase::Rolling,
            current: Some(format!("demo-{ordinal}")),
            step: Some(step),
            ..RolloutStatus::default()
        };
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Report)) -> Self {
        change(self.report.as_mut().expect("the nodes answer"));
        self
    }

    fn unready(mut self, ordinal: usize, seconds: i64, waits_for: Option<&str>) -> Self {
        let pod = &mut self.pods[ordinal];
        pod.ready = false;
        pod.unready_since = NOW.checked_sub(SignedDuration::from_secs(seconds)).ok();
        pod.waits_for = waits_for.map(str::to_owned);
        self.with(|report| {
            report.members[ordinal].alive = false;
            report.under_replicated = 64;
        })
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            wanted: "new",
            replicas: 3,
            pods: &self.pods,
            report: self.report.as_ref(),
            scale_under_way: self.scale_under_way,
            prior: &self.prior,
            now: NOW,
        }
    }

    fn plan(&self) -> Rollout {
        plan(&self.facts())
    }

    /// Phase, whose turn it is, and the act.
    #[track_caller]
    fn gives(&self, phase: RolloutPhase, current: Option<u32>, act: &str) {
        let rollout = self.plan();
        let name = |kind: &str, pod: &str| format!("{kind} {pod}");
        let done = match &rollout.act {
            Some(Act::Restart(target)) => name("restart", &target.pod),
            Some(Act::Delete(target)) => name("delete", &target.pod),
            Some(Act::Release(target)) => name("release", &target.pod),
            None => String::new(),
        };
        let status = &rollout.status;
        let current = current.map(|ordinal| format!("demo-{ordinal}"));
        assert_eq!(
            (status.phase, status.current.clone(), done.as_str()),
            (phase, current, act),
            "{:?}",
            status.message
        );
    }

    #[track_caller]
    fn says(&self, words: &str) {
        let message = self.plan().status.message.unwrap_or_default();
        assert!(message.contains(words), "{message:?} does not say {words:?}");
    }
}

use RolloutPhase::{Blocked, Idle, Rolling};
use RolloutStep::{HandingOver, Restarting};

#[test]
fn pods_as_they_should_be_are_left_alone() {
    well(["new"; 3]).gives(Idle, None, "");
    assert_eq!(obstacle(&well(["new"; 3]).facts()), None);
    assert!(obstacle(&well(["new", "new", "old"]).facts()).is_some());
}

#[test]
fn highest_ordinal_comes_first_and_on_record_before_it_is_touched() {
    well(["old"; 3]).gives(Rolling, Some(2), "");
    well(["old"; 3]).turn_of(2, HandingOver).gives(Rolling, Some(2), "restart demo-2");
    well(["old", "new", "new"]).gives(Rolling, Some(0), "");
}

#[test]
fn next_one_waits_for_the_one_before() {
    let restarted = || well(["old", "old", "new"]).turn_of(2, Restarting);
    restarted().gives(Rolling, Some(1), "");
    restarted().with(|report| report.under_replicated = 1).gives(Rolling, Some(2), "");
    restarted().unready(2, 5, None).gives(Rolling, Some(2), "");
    let mut gone = restarted();
    gone.pods.pop();
    gone.gives(Rolling, Some(2), "");
    let mut ending = restarted();
    ending.pods[2].terminating = true;
    ending.pods[2].ready = false;
    ending.gives(Rolling, Some(2), "");
}

#[test]
fn rollout_ends_once_the_last_one_is_well() {
    let last = || well(["new"; 3]).turn_of(0, Restarting);
    last().with(|report| report.under_replicated = 1).gives(Rolling, Some(0), "");
    last().gives(Idle, None, "");
}

#[test]
fn every_gate_keeps_the_next_one_from_being_touched_and_says_its_name() {
    let gates: [(&str, Scene); 8] = [
        ("NoScaleUnderWay", Scene { scale_under_way: true, ..well(["old"; 3]) }),
        ("NodesAnswer", Scene { report: None, ..well(["old"; 3]) }),
        ("AllMembersServe", well(["old"; 3]).with(|report| report.members[0].alive = false)),
        (
            "AllMembersServe",
            well(["old"; 3]).with(|report| report.members[0].state = MemberState::Draining),
        ),
        ("AllPartitionsLed", well(["old"; 3]).with(|report| report.meta_led = false)),
        ("AllPartitionsLed", well(["old"; 3]).with(|report| report.leaderless = 1)),
        ("FullStrength", well(["old"; 3]).with(|report| report.under_replicated = 1)),
        (
            "NothingMoves",
            well(["old"; 3])
                .with(|report| report.rebalance = Rebalance { moving: 1, ..Rebalance::default() }),
        ),
    ];
    for (gate, scene) in gates {
        scene.gives(Rolling, None, "");
        scene.says(gate);
    }
    let unready = well(["new", "old", "old"]).unready(0, 5, None);
    unready.gives(Rolling, None, "");
    unready.says("AllPodsReady: demo-0 not ready");
}

#[test]
fn node_whose_turn_it_was_is_let_go_when_something_goes_wrong_elsewhere() {
    let scene = well(["old"; 3]).turn_of(2, HandingOver);
    scene.with(|report| report.members[0].alive = false).gives(Rolling, None, "release demo-2");
}

#[test]
fn spec_reverted_in_time_lets_the_node_go() {
    well(["new"; 3]).turn_of(2, HandingOver).gives(Idle, None, "release demo-2");
}

#[test]
fn pod_that_does_not_become_ready_blocks_with_its_reason() {
    let stuck = |seconds, waits_for| {
        well(["old", "old", "new"]).turn_of(2, Restarting).unready(2, seconds, waits_for)
    };
    stuck(5, Some("ImagePullBackOff")).gives(Rolling, Some(2), "");
    stuck(60, Some("ImagePullBackOff")).gives(Blocked, Some(2), "");
    stuck(60, Some("ImagePullBackOff")).says("demo-2 does not become ready: ImagePullBackOff");
    stuck(60, None).gives(Rolling, Some(2), "");
    stuck(700, None).gives(Blocked, Some(2), "");
}

#[test]
fn what_blocks_stays_said_between_two_tries() {
    let mut scene = well(["old", "old", "new"]).turn_of(2, Restarting).unready(2, 60, None);
    scene.prior.phase = Blocked;
    scene.prior.message = Some("demo-2 does not become ready: CrashLoopBackOff".to_owned());
    scene.gives(Blocked, Some(2), "");
    assert_eq!(scene.plan().status.message, scene.prior.message);
}

#[test]
fn reverted_spec_restarts_the_broken_pod_alone_and_at_once() {
    let broken = |waits_for, seconds| {
        let mut scene = well(["new", "new", "broken"]).unready(2, seconds, waits_for);
        scene.prior.phase = Blocked;
        scene.prior.current = Some("demo-2".to_owned());
        scene.prior.step = Some(Restarting);
        scene
    };
    broken(Some("ImagePullBackOff"), 1).gives(Rolling, Some(2), "delete demo-2");
    broken(Some("CrashLoopBackOff"), 1).gives(Rolling, Some(2), "delete demo-2");
    broken(None, 61).gives(Rolling, Some(2), "delete demo-2");
    // It may still be on its way.
    broken(None, 10).gives(Rolling, Some(2), "");
}

#[test]
fn unready_node_that_votes_is_kept_while_others_are_missing() {
    let scene = well(["old"; 3]).unready(2, 100, None).with(|report| {
        report.members[2].alive = true;
        report.members[0].alive = false;
    });
    scene.gives(Rolling, None, "");
}

#[test]
fn silent_cluster_whose_nodes_all_start_is_left_alone() {
    let mut scene = well(["old"; 3]);
    for ordinal in 0..3 {
        scene = scene.unready(ordinal, 400, None);
    }
    Scene { report: None, ..scene }.gives(Rolling, None, "");
}

#[test]
fn pods_beyond_the_number_asked_for_are_no_concern() {
    let mut scene = well(["new"; 3]);
    scene.pods.push(pod(3, "old"));
    scene.gives(Idle, None, "");
    well(["new"; 3]).turn_of(3, Restarting).gives(Idle, None, "");
}

#[test]
fn pod_is_named_with_what_tells_it_from_its_successor() {
    let rollout = well(["old"; 3]).turn_of(2, HandingOver).plan();
    let Some(Act::Restart(target)) = rollout.act else { panic!("it is restarted") };
    assert_eq!(target.uid, "uid-2");
}
