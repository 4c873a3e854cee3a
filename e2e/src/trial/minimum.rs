//! How few replicas must be moved for a change of scale: what a balancer is measured against.

/// What a node holds before a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// Whether the node stays.
    pub(super) stays: bool,
    /// Replicas of partitions.
    pub(super) replicas: u32,
    /// Replicas of the meta group: none or one.
    pub(super) meta: u32,
}

/// The fewest moves after which `nodes` nodes hold all replicas of partitions, each within one of the others,
/// and nobody who goes holds one of the meta group.
pub(super) fn minimum_moves(held: &[Held], nodes: u32) -> u64 {
    let total: u32 = held.iter().map(|held| held.replicas).sum();
    let mut staying: Vec<u32> =
        held.iter().filter(|held| held.stays).map(|held| held.replicas).collect();
    staying.resize(nodes as usize, 0);
    staying.sort_unstable_by(|a, b| b.cmp(a));
    // The fullest nodes keep the one replica more that some must have.
    let (share, more) = (total / nodes.max(1), total % nodes.max(1));
    let shares = (0..nodes).map(|at| share + u32::from(at < more));
    let added = staying.iter().zip(shares).map(|(has, share)| share.saturating_sub(*has));
    let meta = held.iter().filter(|held| !held.stays).map(|held| held.meta);
    added.chain(meta).map(u64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimum(staying: &[u32], going: &[u32], nodes: u32) -> u64 {
        let of = |stays| move |replicas: &u32| Held { stays, replicas: *replicas, meta: 1 };
        let held: Vec<_> =
            staying.iter().map(of(true)).chain(going.iter().map(of(false))).collect();
        minimum_moves(&held, nodes)
    }

    #[test]
    fn new_nodes_get_their_share_and_no_more() {
        assert_eq!(minimum(&[64, 64, 64], &[], 4), 48);
        assert_eq!(minimum(&[64, 64, 64], &[], 5), 76);
        assert_eq!(minimum(&[16, 16, 16], &[], 5), 18);
    }

    #[test]
    fn what_goes_is_moved_with_its_replicas_of_the_meta_group() {
        assert_eq!(minimum(&[48, 48, 48], &[48], 3), 48 + 1);
        assert_eq!(minimum(&[39, 39, 38], &[38, 38], 3), 76 + 2);
    }

    #[test]
    fn balanced_nodes_that_stay_move_nothing() {
        assert_eq!(minimum(&[11, 11, 10], &[], 3), 0);
        assert_eq!(minimum(&[12, 11, 9], &[], 3), 1);
    }
}
