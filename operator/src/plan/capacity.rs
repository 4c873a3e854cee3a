//! Whether the data fits on the nodes that would remain.

use std::fmt;

use crate::nodes::ReportedMember;
use crate::units::bytes_roughly;

/// The part of each disk that is kept free, in percent: a full disk stops a node.
const RESERVE_PERCENT: u64 = 10;

/// A node that has no room for its share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lack {
    /// The node.
    pub node: String,
    /// How many nodes would remain.
    pub nodes: usize,
    /// What it would have to take in, in bytes.
    pub needed_bytes: u64,
    /// What it has room for beyond the reserve, in bytes.
    pub room_bytes: u64,
}

impl fmt::Display for Lack {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, nodes, needed_bytes, room_bytes } = self;
        write!(
            out,
            "on {nodes} nodes {node} would have to take in {} and has room for {} ({RESERVE_PERCENT} % of \
             its disk are kept free)",
            bytes_roughly(*needed_bytes),
            bytes_roughly(*room_bytes)
        )
    }
}

/// Checks that every node of `stayers` has room for its share of the data of `members`, when the replicas of
/// each partition go from `have` to `wanted`. Shares are equal, as the balancer makes them. Nodes that do not
/// say how large their disk is are taken to have room.
///
/// # Errors
/// [`Lack`], for the node that lacks most.
pub(super) fn check(
    members: &[ReportedMember],
    stayers: &[&ReportedMember],
    have: u32,
    wanted: u32,
) -> Result<(), Lack> {
    let held: u128 = members.iter().map(|member| u128::from(member.data_bytes)).sum();
    let total = held * u128::from(wanted) / u128::from(have.max(1));
    let nodes = stayers.len();
    let share = total.div_ceil(nodes.max(1) as u128);
    let lacks = stayers.iter().filter(|member| member.disk_total_bytes > 0).filter_map(|member| {
        let reserve = member.disk_total_bytes / (100 / RESERVE_PERCENT);
        let room_bytes = member.disk_free_bytes.saturating_sub(reserve);
        let needed = share.saturating_sub(u128::from(member.data_bytes));
        let needed_bytes = u64::try_from(needed).unwrap_or(u64::MAX);
        let node = member.name.clone();
        (needed_bytes > room_bytes).then_some(Lack { node, nodes, needed_bytes, room_bytes })
    });
    lacks.max_by_key(|lack| lack.needed_bytes - lack.room_bytes).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn node(name: &str, data: u64, total: u64, free: u64) -> ReportedMember {
        ReportedMember {
            name: name.to_owned(),
            data_bytes: data * GIB,
            disk_total_bytes: total * GIB,
            disk_free_bytes: free * GIB,
            ..ReportedMember::default()
        }
    }

    /// Whether four nodes of 3 GiB each become three, of which the first has this disk.
    fn three_of_four(total: u64, free: u64) -> Result<(), Lack> {
        let members = [
            node("a", 3, total, free),
            node("b", 3, 10, 6),
            node("c", 3, 0, 0),
            node("d", 3, 10, 6),
        ];
        check(&members, &members[..3].iter().collect::<Vec<_>>(), 3, 3)
    }

    #[test]
    fn share_of_a_node_that_goes_must_fit_beside_the_reserve() {
        assert_eq!(three_of_four(10, 2), Ok(()));
        let lack = three_of_four(20, 2).expect_err("its reserve is 2 GiB");
        assert_eq!((lack.needed_bytes, lack.room_bytes), (GIB, 0));
        assert!(lack.to_string().contains("on 3 nodes a would have to take in 1.0 GiB"), "{lack}");
    }

    #[test]
    fn nodes_of_unknown_disk_are_taken_to_have_room() {
        assert_eq!(three_of_four(0, 0), Ok(()));
    }

    #[test]
    fn more_replicas_need_more_room_and_fewer_less() {
        let members = [node("a", 2, 10, 4), node("b", 2, 10, 4), node("c", 2, 10, 4)];
        let all: Vec<_> = members.iter().collect();
        assert!(check(&members, &all, 1, 3).is_err(), "each would have to take in 4 GiB");
        assert_eq!(check(&members, &all[..1], 3, 1), Ok(()));
    }
}
