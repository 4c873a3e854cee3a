//! Where the replicas of a new cluster's partitions live: a pure function of its genesis.
//!
//! In order of importance: the replicas of a partition are on different nodes; nodes hold equally many
//! replicas and lead equally many partitions, each within one; replicas are in different zones as far as
//! that allows; and partitions that share one node share few others, so that what a failed node did is
//! spread over all that remain.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Genesis, leadership};
use crate::ids::NodeId;

/// For each partition the nodes that hold it, its preferred leader first.
///
/// The genesis is valid; see [`Genesis::validate`].
pub fn place(genesis: &Genesis) -> Vec<Vec<NodeId>> {
    let zones: Vec<_> = genesis.members.iter().map(|member| member.zone.as_str()).collect();
    let zones = zone_numbers(&zones);
    let replicas = usize::from(genesis.replication_factor);
    let mut sets = choose_replicas(&zones, usize::from(genesis.partitions), replicas);
    part_zones(&zones, &mut sets);
    choose_leaders(zones.len(), &mut sets);
    let node = |member: usize| genesis.members[member].node_id;
    sets.into_iter().map(|set| set.into_iter().map(node).collect()).collect()
}

/// The zone of each member as a small number. A member of no zone is a zone of its own.
pub(super) fn zone_numbers(zones: &[&str]) -> Vec<usize> {
    let mut first = BTreeMap::new();
    let number = |(at, zone): (usize, &&str)| match *zone {
        "" => at,
        zone => *first.entry(zone.to_owned()).or_insert(at),
    };
    zones.iter().enumerate().map(number).collect()
}

/// For each partition `replicas` members. Always taking those that hold the least keeps all within one.
fn choose_replicas(zones: &[usize], partitions: usize, replicas: usize) -> Vec<Vec<usize>> {
    let members = zones.len();
    let mut held = vec![0_usize; members];
    let mut shared = vec![0_usize; members * members];
    let mut sets = Vec::with_capacity(partitions);
    for partition in 0..partitions {
        let mut set: Vec<usize> = Vec::with_capacity(replicas);
        for _ in 0..replicas {
            let least = held.iter().min().copied().unwrap_or(0);
            let mut waiting = vec![0_usize; members];
            (0..members).filter(|m| held[*m] == least).for_each(|m| waiting[zones[m]] += 1);
            let cost = |member: usize| {
                let same_zone = set.iter().filter(|m| zones[**m] == zones[member]).count();
                let together: usize = set.iter().map(|m| shared[m * members + member]).sum();
                let turn = (member + members - partition % members) % members;
                let behind = members - waiting[zones[member]];
                (held[member], same_zone, behind, together, turn)
            };
            let free = (0..members).filter(|member| !set.contains(member));
            let next = free.min_by_key(|member| cost(*member));
            let next = next.expect("a valid genesis has at least as many members as replicas");
            for other in &set {
                shared[other * members + next] += 1;
                shared[next * members + other] += 1;
            }
            held[next] += 1;
            set.push(next);
        }
        sets.push(set);
    }
    sets
}

/// Exchanges replicas between partitions, which leaves every count as it is, while that brings more
/// zones into a partition.
fn part_zones(zones: &[usize], sets: &mut [Vec<usize>]) {
    let all: BTreeSet<_> = zones.iter().collect();
    for at in 0..sets.len() {
        let share = sets[at].len().div_ceil(all.len());
        while let Some(place) = crowded(zones, &sets[at], share) {
            let exchange = (0..sets.len()).filter(|other| *other != at).find_map(|other| {
                (0..sets[other].len())
                    .find(|there| exchange_helps(zones, &sets[at], place, &sets[other], *there))
                    .map(|there| (other, there))
            });
            let Some((other, there)) = exchange else { break };
            let (mine, theirs) = (sets[at][place], sets[other][there]);
            sets[at][place] = theirs;
            sets[other][there] = mine;
        }
    }
}

/// The place of a member of which more than `share` of its zone are in the set.
fn crowded(zones: &[usize], set: &[usize], share: usize) -> Option<usize> {
    let alike = |zone| move |member: &&usize| zones[**member] == zone;
    (share..set.len()).find(|at| set[..*at].iter().filter(alike(zones[set[*at]])).count() >= share)
}

fn exchange_helps(zones: &[usize], a: &[usize], at: usize, b: &[usize], there: usize) -> bool {
    let (mine, theirs) = (a[at], b[there]);
    if a.contains(&theirs) || b.contains(&mine) {
        return false;
    }
    let count = |set: &[usize], zone| set.iter().filter(|member| zones[**member] == zone).count();
    let pairs = |set: &[usize], leaving: usize, coming: usize| {
        if zones[leaving] == zones[coming] {
            return 0;
        }
        let before = count(set, zones[leaving]) as isize - 1;
        count(set, zones[coming]) as isize - before
    };
    pairs(a, mine, theirs) + pairs(b, theirs, mine) < 0
}

/// Moves one member of each set to its front so that all lead equally many, within one: the set's member
/// that leads least so far, then evened out.
fn choose_leaders(members: usize, sets: &mut [Vec<usize>]) {
    let mut leads = vec![0_usize; members];
    for set in sets.iter_mut() {
        let first = (0..set.len()).min_by_key(|at| leads[set[*at]]).unwrap_or(0);
        set.swap(0, first);
        leads[set[0]] += 1;
    }
    leadership::even(members, &[], sets);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::genesis::tests::genesis;

    /// The least and the most among the counts of every member.
    fn spread(genesis: &Genesis, nodes: impl Iterator<Item = NodeId>) -> (usize, usize) {
        let mut counts: BTreeMap<_, _> = genesis.members.iter().map(|m| (m.node_id, 0)).collect();
        nodes.for_each(|node| *counts.get_mut(&node).expect("a member") += 1);
        (*counts.values().min().expect("members"), *counts.values().max().expect("members"))
    }

    fn zone_of(genesis: &Genesis, node: NodeId) -> &str {
        &genesis.members.iter().find(|m| m.node_id == node).expect("a member").zone
    }

    fn any_genesis() -> impl Strategy<Value = Genesis> {
        let zone = prop::sample::select(vec!["", "a", "b", "c", "d"]);
        (1_u16..200, prop::sample::select(vec![1_u8, 3, 5]), prop::collection::vec(zone, 5..14))
            .prop_map(|(partitions, factor, zones)| genesis(partitions, factor, &zones))
    }

    proptest! {
        #[test]
        fn replicas_and_leaders_are_each_balanced_within_one(genesis in any_genesis()) {
            let placement = place(&genesis);
            prop_assert_eq!(placement.len(), usize::from(genesis.partitions));
            for nodes in &placement {
                let different: BTreeSet<_> = nodes.iter().collect();
                prop_assert_eq!(different.len(), usize::from(genesis.replication_factor));
            }
            let (least, most) = spread(&genesis, placement.iter().flatten().copied());
            prop_assert!(most - least <= 1, "replicas {}..{}", least, most);
            let (least, most) = spread(&genesis, placement.iter().map(|nodes| nodes[0]));
            prop_assert!(most - least <= 1, "leaders {}..{}", least, most);
        }

        #[test]
        fn the_same_genesis_gives_the_same_placement(genesis in any_genesis()) {
            prop_assert_eq!(place(&genesis), place(&genesis.clone()));
        }

        #[test]
        fn zones_of_equal_size_never_share_a_partition_needlessly(
            partitions in 1_u16..200,
            factor in prop::sample::select(vec![1_u8, 3, 5]),
            zone_count in 1_usize..6,
            size in 1_usize..5,
            mixed: bool,
        ) {
            let names = ["a", "b", "c", "d", "e"];
            let total = zone_count * size;
            prop_assume!(total >= usize::from(factor));
            let zones: Vec<_> = (0..total)
                .map(|m| names[if mixed { m % zone_count } else { m / size }])
                .collect();
            let genesis = genesis(partitions, factor, &zones);
            for nodes in place(&genesis) {
                let used: BTreeSet<_> = nodes.iter().map(|n| zone_of(&genesis, *n)).collect();
                prop_assert_eq!(used.len(), zone_count.min(usize::from(factor)), "{:?}", nodes);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn zones_within_their_share_never_share_a_partition(
            partitions in 1_u16..100,
            factor in prop::sample::select(vec![1_u8, 3, 5]),
            zones in prop::collection::vec(0_usize..6, 5..16),
        ) {
            let names = ["a", "b", "c", "d", "e", "f"];
            let size = |zone: &usize| zones.iter().filter(|other| *other == zone).count();
            prop_assume!(zones.iter().all(|z| size(z) * usize::from(factor) < zones.len()));
            let named: Vec<_> = zones.iter().map(|zone| names[*zone]).collect();
            let genesis = genesis(partitions, factor, &named);
            for nodes in place(&genesis) {
                let used: BTreeSet<_> = nodes.iter().map(|n| zone_of(&genesis, *n)).collect();
                prop_assert_eq!(used.len(), usize::from(factor), "{:?}", nodes);
            }
        }
    }

    #[test]
    fn three_nodes_hold_everything_and_lead_a_third_each() {
        let genesis = genesis(64, 3, &[""; 3]);
        let placement = place(&genesis);
        assert_eq!(spread(&genesis, placement.iter().map(|nodes| nodes[0])), (21, 22));
    }

    #[test]
    fn what_a_failed_node_led_is_spread_over_many() {
        let genesis = genesis(128, 3, &[""; 8]);
        let placement = place(&genesis);
        for failed in genesis.members.iter().map(|m| m.node_id) {
            let others: BTreeSet<_> = placement
                .iter()
                .filter(|nodes| nodes[0] == failed)
                .flat_map(|nodes| nodes[1..].iter())
                .collect();
            assert!(others.len() >= 5, "node {failed} shares only with {others:?}");
        }
    }

    #[test]
    fn the_largest_cluster_is_placed() {
        let zones: Vec<_> = (0..100).map(|m| ["a", "b", "c"][m % 3]).collect();
        let genesis = genesis(1024, 5, &zones);
        let placement = place(&genesis);
        let (least, most) = spread(&genesis, placement.iter().flatten().copied());
        assert!(most - least <= 1);
    }
}
