//! The simulation, held to what it promises itself.

use flin_sim::fault::{Fault, Role};
use flin_sim::plan::{Measure, Plan};
use flin_sim::run::run;

const SMALL: Measure = Measure { operations: 300, faults: 6 };

#[test]
fn two_runs_of_a_seed_are_the_same_to_the_byte() {
    for seed in [1, 2, 3] {
        let plan = Plan::of(seed, SMALL);
        let (one, other) = (run(&plan, true), run(&plan, true));
        assert_eq!(one.story.lines(), other.story.lines(), "seed {seed}");
        assert_eq!(one.story.fingerprint(), other.story.fingerprint(), "seed {seed}");
        assert_eq!(one.counts, other.counts, "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_run() {
    let prints = [4, 5].map(|seed| run(&Plan::of(seed, SMALL), false).story.fingerprint());
    assert_ne!(prints[0], prints[1]);
}

#[test]
fn cluster_without_faults_holds_no_election_under_load_and_answers_everything() {
    let mut plan = Plan::of(6, SMALL);
    plan.faults.clear();
    let outcome = run(&plan, true);
    assert_eq!(outcome.violations, [""; 0], "{:#?}", outcome.story.lines());
    assert_eq!(outcome.unknown(), 0);
    assert!(outcome.founding_elections > u64::from(plan.partitions));
    assert_eq!(outcome.counts.elections, outcome.founding_elections);
    assert!(outcome.history.len() >= 250, "{}", outcome.history.len());
}

#[test]
fn every_kind_of_fault_is_planned_for_every_role() {
    let faults = (0..200).flat_map(|seed| Plan::of(seed, Measure::default()).faults);
    let mut kinds = std::collections::BTreeSet::new();
    for planned in faults {
        kinds.insert((planned.fault.kind(), planned.role));
    }
    assert_eq!(kinds.len(), Fault::KINDS * Role::ALL.len());
}
