//! Whether each partition can have its replicas in zones of their own. It is said where people look and refuses
//! nothing (ADR 0013): where pods run is decided by Kubernetes, which prefers to spread them and need not.

use std::collections::BTreeMap;
use std::fmt;

use crate::nodes::ReportedMember;

/// Nodes in so few zones, or so unequally in them, that some partition has several replicas in one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedZones {
    /// How many nodes there are.
    pub nodes: usize,
    /// In how many zones.
    pub zones: usize,
    /// How many of them are in the zone that has most.
    pub fullest: usize,
    /// How many replicas each partition has.
    pub replication_factor: u32,
}

impl fmt::Display for SharedZones {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, zones, fullest, replication_factor } = self;
        let ending = if *zones == 1 { "" } else { "s" };
        write!(
            out,
            "{nodes} nodes are in {zones} zone{ending}, {fullest} of them in one, and each partition has \
             {replication_factor} replicas: a zone that is lost takes several of some partitions"
        )
    }
}

/// Finds out from the zones that the nodes of `stayers` say they are in; `None` when zones can be told apart for
/// every partition, or when some node does not know its own.
///
/// Nodes hold equally many replicas within one, and that comes before zones: a zone whose nodes hold more
/// replicas than there are partitions holds two of one.
pub(super) fn shared(
    stayers: &[&ReportedMember],
    partitions: u32,
    replication_factor: u32,
) -> Option<SharedZones> {
    let mut count = BTreeMap::<&str, usize>::new();
    for member in stayers {
        *count.entry(member.zone.as_str()).or_default() += 1;
    }
    let fullest = count.values().copied().max()?;
    if replication_factor < 2 || count.contains_key("") {
        return None;
    }
    let (nodes, zones) = (stayers.len(), count.len());
    let least_held = u64::from(partitions) * u64::from(replication_factor) / nodes as u64;
    let too_few = (zones as u64) < u64::from(replication_factor);
    (too_few || fullest as u64 * least_held > u64::from(partitions)).then_some(SharedZones {
        nodes,
        zones,
        fullest,
        replication_factor,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of one node in each of these zones.
    fn of(zones: &[&str], replication_factor: u32) -> Option<String> {
        let member =
            |zone: &&str| ReportedMember { zone: (*zone).to_owned(), ..ReportedMember::default() };
        let members: Vec<_> = zones.iter().map(member).collect();
        let stayers: Vec<_> = members.iter().collect();
        shared(&stayers, 64, replication_factor).map(|shared| shared.to_string())
    }

    #[test]
    fn as_many_equal_zones_as_replicas_are_enough() {
        assert_eq!(of(&["a", "b", "c"], 3), None);
        assert_eq!(of(&["a", "b", "c", "a", "b", "c"], 3), None);
        assert_eq!(of(&["a"], 1), None, "one replica shares a zone with none");
    }

    #[test]
    fn fewer_zones_than_replicas_are_told_with_the_numbers() {
        let words = of(&["a", "a", "b"], 3).expect("two of three replicas share a zone");
        assert!(words.starts_with("3 nodes are in 2 zones, 2 of them in one"), "{words}");
        assert!(words.contains("each partition has 3 replicas"), "{words}");
        let words = of(&["a", "a", "a"], 3).expect("all share one");
        assert!(words.starts_with("3 nodes are in 1 zone, 3 of them in one"), "{words}");
    }

    #[test]
    fn zone_with_more_than_its_share_of_the_nodes_holds_two_replicas_of_some_partition() {
        let words = of(&["a", "b", "c", "a"], 3).expect("a holds 96 replicas of 64 partitions");
        assert!(words.starts_with("4 nodes are in 3 zones, 2 of them in one"), "{words}");
        assert_eq!(of(&["a", "b", "c", "d", "a", "b"], 3), None, "a holds 64 at most");
    }

    #[test]
    fn zones_that_nodes_do_not_know_are_no_news() {
        assert_eq!(of(&["", "", ""], 3), None);
        assert_eq!(of(&["a", "a", ""], 3), None);
        assert_eq!(of(&[], 3), None);
    }
}
