//! Seeded random moves: five nodes, one group, and jobs that add, remove and exchange its replicas, some
//! taken back half way, while messages are dropped, doubled and reordered, replicas crash and lose what was
//! not synced or flushed, networks part, leadership moves and a disk dies for good. What must hold always
//! holds: one leader per term, no committed entry lost, no vote from a blank log, no message that its
//! sender could forget; and once the faults end, the last job is done, the replicas are those that it
//! leads to, and all of them are the same.
//!
//! The meta group is played by a list of views. A node may see an old one, but a new leader reads the
//! latest before it acts, and only the leader of the latest term is heard.
//!
//! A failure prints its seed; `FLIN_REPLICA_SEED=seed cargo test -p flin-replica moves` runs it alone,
//! `FLIN_REPLICA_SEEDS=count` runs more of them.

mod plan;
mod recovery;
mod world;

use self::world::{Totals, World};
use crate::chance::Seeds;

const SEEDS: u64 = 300;

#[test]
fn moves_come_to_their_end_under_random_faults() {
    let seeds = Seeds::from_environment(SEEDS);
    let mut totals = Totals::default();
    seeds.run("moves", |seed| totals.add(&World::run(seed).totals));
    // A schedule in which nothing happens proves nothing.
    if !seeds.chosen {
        let count = seeds.count();
        println!("{count} seeds: {totals:?}");
        let Totals { done, undone, handed_over, steps, snapshots, crashes, deaths, writes } =
            totals;
        assert!(done > count && undone > count / 4 && steps > 4 * count, "{totals:?}");
        assert!(handed_over > count / 4 && snapshots > count && deaths > count / 4, "{totals:?}");
        assert!(crashes > 4 * count && writes > 20 * count, "{totals:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_moves() {
    assert_eq!(World::run(5), World::run(5));
    assert_ne!(World::run(5), World::run(6));
}
