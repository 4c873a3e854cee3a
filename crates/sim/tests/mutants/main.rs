//! Deliberate bugs, each of which the simulation has to notice within the seeds that a usual test plays.
//!
//! `cargo xtask sim --mutants` builds and runs these: a build with bugs shares nothing with what ships.

use std::panic;

use flin_mutant::{Bug, choose};
use flin_sim::plan::{Measure, Plan};
use flin_sim::run::run;

/// How many seeds a usual test plays.
const SEEDS: u64 = 150;

/// Plays seeds with `bug` until one fails.
fn is_noticed(bug: Bug) {
    panic::set_hook(Box::new(|_| {}));
    for seed in 1..=SEEDS {
        choose(Some(bug));
        let outcome = run(&Plan::of(seed, Measure::default()), false);
        choose(None);
        if let Some(violation) = outcome.violations.first() {
            let first_line = violation.lines().next().unwrap_or_default();
            println!("MUTANT {bug:?}: noticed by seed {seed} of {SEEDS}: {first_line}");
            return;
        }
    }
    let _ = panic::take_hook();
    panic!("{bug:?} was not noticed in {SEEDS} seeds");
}

macro_rules! noticed {
    ($($name:ident: $bug:ident,)*) => {
        $(#[test]
        fn $name() {
            is_noticed(Bug::$bug);
        })*
    };
}

noticed! {
    log_that_does_not_sync: SkipSync,
    failed_sync_that_counts: IgnoreSyncError,
    acknowledgement_before_the_sync: SendBeforeSync,
    term_and_vote_that_are_not_written: ForgetHardState,
    vote_that_is_forgotten_by_a_restart: ForgetVote,
    damage_that_is_cut_like_a_torn_end: CutDamage,
    records_believed_without_their_checksum: TrustRecords,
    log_truncated_before_the_engine_is_flushed: TruncateUnflushed,
    effects_written_without_their_index: TearBatches,
    applied_index_that_is_lost: LoseAppliedIndex,
    read_by_a_leader_that_did_not_ask: ReadWithoutQuorum,
    another_leaders_entry_taken_for_ones_own: IgnoreTermOfProposals,
    unknown_outcome_called_undone: CallUnknownUndone,
    write_sent_twice: RetryWrites,
    replica_id_used_twice: ReuseReplicaIds,
    node_id_used_twice: ReuseNodeIds,
    removed_replica_without_a_tombstone: LeaveNoTombstone,
    damaged_snapshot_installed: TrustSnapshots,
    batch_that_loses_a_key: SplitBatches,
    comparison_that_always_succeeds: IgnoreExpected,
}
