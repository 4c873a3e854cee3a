//! What people may change about a running cluster.

use crate::cluster::apply::{Effect, set};
use crate::cluster::genesis::REPLICATION_FACTORS;
use crate::cluster::{ClusterState, MOVES_MAX, RebalanceSettings, Rejected};

pub(super) fn set_replication_factor(
    cluster: &mut ClusterState,
    replication_factor: u8,
) -> Result<Effect, Rejected> {
    if !REPLICATION_FACTORS.contains(&replication_factor) {
        return Err(Rejected::BadReplicationFactor(replication_factor));
    }
    if cluster.replication_factor == replication_factor {
        return Ok(Effect::Nothing);
    }
    let serving = cluster.members.keys().filter(|node| cluster.serves(**node)).count();
    if serving < usize::from(replication_factor) {
        return Err(Rejected::TooFewServing { serving, replication_factor });
    }
    Ok(set(&mut cluster.replication_factor, replication_factor))
}

pub(super) fn set_rebalance(
    cluster: &mut ClusterState,
    settings: RebalanceSettings,
) -> Result<Effect, Rejected> {
    if !(1..=MOVES_MAX).contains(&settings.max_moves) {
        return Err(Rejected::BadMaxMoves(settings.max_moves));
    }
    Ok(set(&mut cluster.rebalance, settings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Change;
    use crate::cluster::apply::tests::{begun, refused, run};

    #[test]
    fn the_replication_factor_is_1_3_or_5_and_at_most_the_nodes_that_serve() {
        let mut cluster = begun(8, 1, 4);
        let set = |replication_factor| Change::SetReplicationFactor { replication_factor };
        assert_eq!(run(&mut cluster, set(3)), Ok(true));
        assert_eq!(run(&mut cluster, set(3)), Ok(false));
        for factor in [0, 2, 4, 7] {
            assert!(refused(&mut cluster, set(factor)).contains("must be 1, 3 or 5"));
        }
        let reason = "4 nodes would serve, and replicationFactor 5 needs as many: it takes 1 more";
        assert!(refused(&mut cluster, set(5)).starts_with(reason));
        assert_eq!(run(&mut cluster, set(1)), Ok(true));
    }

    #[test]
    fn from_1_to_64_moves_at_a_time_can_be_asked_for() {
        let mut cluster = begun(8, 1, 1);
        let set = |max_moves| Change::SetRebalance {
            settings: RebalanceSettings { max_moves, ..RebalanceSettings::default() },
        };
        assert_eq!(run(&mut cluster, set(4)), Ok(false));
        assert_eq!(run(&mut cluster, set(64)), Ok(true));
        assert_eq!(run(&mut cluster, set(1)), Ok(true));
        for moves in [0, 65] {
            let reason = format!("the moves at a time must be from 1 to 64, not {moves}");
            assert_eq!(refused(&mut cluster, set(moves)), reason);
        }
    }
}
