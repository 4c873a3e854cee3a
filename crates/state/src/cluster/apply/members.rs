//! Who the members are: they join, say where they are, are emptied, get lost and leave.

use std::collections::BTreeSet;

use flin_mutant::{Bug, is};

use crate::cluster::apply::{Effect, set};
use crate::cluster::genesis::is_address;
use crate::cluster::{ClusterState, MEMBERS_MAX, Member, MemberState, Rejected};
use crate::ids::NodeId;

/// The longest name or zone in bytes: that of a DNS name, which is what both are in Kubernetes.
const NAME_BYTES_MAX: usize = 253;

/// What a node says about where it is.
pub(super) struct Description<'a> {
    pub(super) peer_address: &'a str,
    pub(super) client_address: &'a str,
    pub(super) zone: &'a str,
}

impl Description<'_> {
    fn check(&self) -> Result<(), Rejected> {
        for address in [self.peer_address, self.client_address] {
            if !is_address(address) {
                return Err(Rejected::BadAddress(address.to_owned()));
            }
        }
        if !self.zone.is_empty() && !is_name(self.zone) {
            return Err(Rejected::BadZone(self.zone.to_owned()));
        }
        Ok(())
    }
}

/// Two members may be described with one address for a while, as when they exchange theirs; the handshake
/// between nodes turns away who is not meant.
pub(super) fn describe(
    cluster: &mut ClusterState,
    node: NodeId,
    described: &Description<'_>,
) -> Result<Effect, Rejected> {
    let member = cluster.members.get_mut(&node).ok_or(Rejected::UnknownMember(node))?;
    described.check()?;
    let now = Member {
        peer_address: described.peer_address.to_owned(),
        client_address: described.client_address.to_owned(),
        zone: described.zone.to_owned(),
        ..member.clone()
    };
    Ok(set(member, now))
}

pub(super) fn join(
    cluster: &mut ClusterState,
    nonce: &str,
    name: &str,
    described: &Description<'_>,
) -> Result<Effect, Rejected> {
    if !cluster.formed {
        return Err(Rejected::NotFormed);
    }
    if !is_uuid(nonce) {
        return Err(Rejected::BadNonce(nonce.to_owned()));
    }
    if cluster.member_of_nonce(nonce).is_some() {
        return Ok(Effect::Nothing);
    }
    if !is_name(name) {
        return Err(Rejected::BadName(name.to_owned()));
    }
    described.check()?;
    addresses_are_free(cluster, name, described)?;
    if cluster.members.len() >= MEMBERS_MAX {
        return Err(Rejected::TooManyMembers);
    }
    let predecessor = cluster.members.iter().find(|(_, member)| member.name == name);
    let predecessor = predecessor.map(|(node, _)| *node).filter(|_| is(Bug::ReuseNodeIds));
    for earlier in cluster.members.values_mut().filter(|member| member.name == name) {
        earlier.state = MemberState::Replaced;
    }
    let node = predecessor.unwrap_or(cluster.next_node_id);
    cluster.next_node_id = cluster.next_node_id.max(NodeId(node.0 + 1));
    let member = Member {
        name: name.to_owned(),
        peer_address: described.peer_address.to_owned(),
        client_address: described.client_address.to_owned(),
        zone: described.zone.to_owned(),
        nonce: nonce.to_owned(),
        state: MemberState::Serving,
    };
    cluster.members.insert(node, member);
    Ok(Effect::Changed)
}

/// An address that a serving member of another name has is a mistake in somebody's settings: that node would
/// get replicas and never be reached.
fn addresses_are_free(
    cluster: &ClusterState,
    name: &str,
    described: &Description<'_>,
) -> Result<(), Rejected> {
    let serve = |member: &Member| member.state == MemberState::Serving && member.name != name;
    for (node, member) in cluster.members.iter().filter(|(_, member)| serve(member)) {
        for address in [described.peer_address, described.client_address] {
            if address == member.peer_address || address == member.client_address {
                return Err(Rejected::AddressTaken { address: address.to_owned(), node: *node });
            }
        }
    }
    Ok(())
}

/// Members that are lost or replaced are being emptied anyway and stay as they are. Taking members back is
/// always right; only emptying another one needs enough that remain.
pub(super) fn set_draining(
    cluster: &mut ClusterState,
    nodes: &BTreeSet<NodeId>,
) -> Result<Effect, Rejected> {
    if let Some(stranger) = nodes.iter().find(|node| !cluster.members.contains_key(node)) {
        return Err(Rejected::UnknownMember(*stranger));
    }
    let present = |state| matches!(state, MemberState::Serving | MemberState::Draining);
    let serving =
        cluster.members.iter().filter(|(node, m)| present(m.state) && !nodes.contains(node));
    let (serving, needed) = (serving.count(), cluster.replication_factor);
    let fewer = nodes.iter().any(|node| cluster.serves(*node));
    if fewer && serving < usize::from(needed) {
        return Err(Rejected::TooFewServing { serving, replication_factor: needed });
    }
    let mut effect = Effect::Nothing;
    for (node, member) in cluster.members.iter_mut().filter(|(_, m)| present(m.state)) {
        let drains = nodes.contains(node);
        let state = if drains { MemberState::Draining } else { MemberState::Serving };
        if set(&mut member.state, state) == Effect::Changed {
            effect = Effect::Changed;
        }
    }
    Ok(effect)
}

/// A member that is being emptied, or that never comes back, stays what it is.
pub(super) fn set_lost(
    cluster: &mut ClusterState,
    node: NodeId,
    lost: bool,
) -> Result<Effect, Rejected> {
    let member = cluster.members.get_mut(&node).ok_or(Rejected::UnknownMember(node))?;
    Ok(match (member.state, lost) {
        (MemberState::Serving, true) => set(&mut member.state, MemberState::Lost),
        (MemberState::Lost, false) => set(&mut member.state, MemberState::Serving),
        _ => Effect::Nothing,
    })
}

pub(super) fn remove(cluster: &mut ClusterState, node: NodeId) -> Result<Effect, Rejected> {
    let Some(member) = cluster.members.get(&node) else { return Ok(Effect::Nothing) };
    let replicas = cluster.holds(node);
    if replicas > 0 {
        return Err(Rejected::HoldsReplicas { node, replicas });
    }
    if member.state == MemberState::Serving {
        return Err(Rejected::StillServing(node));
    }
    cluster.members.remove(&node);
    Ok(Effect::Changed)
}

/// Whether `text` shows well in a line, an address or a label.
fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Whether `text` is 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_hexdigit());
    let parts: Vec<_> = text.split('-').collect();
    let lengths = parts.iter().map(|part| part.len());
    lengths.eq([8, 4, 4, 4, 12]) && parts.iter().all(|part| digits(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::apply::tests::{begun, refused, run};
    use crate::cluster::{Change, Move};
    use crate::ids::GroupId;

    const NONCE: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
    const OTHER_NONCE: &str = "00000000-0000-0000-0000-000000000001";

    fn join(nonce: &str, name: &str, peer: &str, client: &str, zone: &str) -> Change {
        Change::Join {
            nonce: nonce.to_owned(),
            name: name.to_owned(),
            peer_address: peer.to_owned(),
            client_address: client.to_owned(),
            zone: zone.to_owned(),
        }
    }

    fn draining(nodes: &[u64]) -> Change {
        Change::SetDraining { nodes: nodes.iter().copied().map(NodeId).collect() }
    }

    fn lost(node: u64, lost: bool) -> Change {
        Change::SetLost { node: NodeId(node), lost }
    }

    fn states(cluster: &ClusterState) -> Vec<MemberState> {
        cluster.members.values().map(|member| member.state).collect()
    }

    #[test]
    fn a_node_that_joins_twice_is_one_member() {
        let mut cluster = begun(8, 3, 3);
        assert_eq!(run(&mut cluster, join(NONCE, "n4", "n4:1", "n4:2", "west")), Ok(true));
        assert_eq!(run(&mut cluster, join(NONCE, "n4", "elsewhere:1", "n4:2", "")), Ok(false));
        assert_eq!(cluster.member_of_nonce(NONCE), Some(NodeId(4)));
        let member = &cluster.members[&NodeId(4)];
        assert_eq!((member.peer_address.as_str(), member.zone.as_str()), ("n4:1", "west"));
        assert_eq!((cluster.next_node_id, cluster.holds(NodeId(4))), (NodeId(5), 0));
    }

    #[test]
    fn an_empty_disk_replaces_the_member_of_its_name() {
        let mut cluster = begun(8, 3, 3);
        assert_eq!(run(&mut cluster, join(NONCE, "n2", "n2:6383", "n2:6384", "")), Ok(true));
        use MemberState::{Replaced, Serving};
        assert_eq!(states(&cluster), [Serving, Replaced, Serving, Serving]);
        assert_eq!(run(&mut cluster, join(OTHER_NONCE, "n2", "n2:6383", "n2:6384", "")), Ok(true));
        assert_eq!(states(&cluster), [Serving, Replaced, Serving, Replaced, Serving]);
        assert_eq!(run(&mut cluster, lost(2, false)), Ok(false));
        assert_eq!(run(&mut cluster, draining(&[])), Ok(false));
        assert_eq!(run(&mut cluster, Change::RemoveMember { node: NodeId(4) }), Ok(true));
    }

    #[test]
    fn a_bad_join_is_refused_with_the_reason() {
        let cases = [
            (join("", "n4", "n4:1", "n4:2", ""), "`` is no nonce"),
            (join("6f9619ff8b86d011b42d00c04fc964ff", "n4", "n4:1", "n4:2", ""), "is no nonce"),
            (join("gf9619ff-8b86-d011-b42d-00c04fc964ff", "n4", "n4:1", "n4:2", ""), "is no nonce"),
            (join(NONCE, "", "n4:1", "n4:2", ""), "`` is no name"),
            (join(NONCE, "n 4", "n4:1", "n4:2", ""), "`n 4` is no name"),
            (join(NONCE, &"n".repeat(254), "n4:1", "n4:2", ""), "is no name"),
            (join(NONCE, "n4", "n4", "n4:2", ""), "`n4` is not an address"),
            (join(NONCE, "n4", "n4:1", "n4:0", ""), "`n4:0` is not an address"),
            (join(NONCE, "n4", "n4:1", "n4:2", "a\nb"), "is no zone"),
            (
                join(NONCE, "n4", "n1:6383", "n4:2", ""),
                "`n1:6383` is the address of node 1 already",
            ),
        ];
        for (change, reason) in cases {
            let message = refused(&mut begun(8, 3, 3), change);
            assert!(message.contains(reason), "{message}, not {reason}");
        }
    }

    #[test]
    fn nobody_joins_before_the_cluster_is_formed() {
        let mut cluster = begun(8, 3, 3);
        cluster.formed = false;
        let change = join(NONCE, "n4", "n4:1", "n4:2", "");
        assert!(refused(&mut cluster, change).contains("is not formed yet"));
    }

    #[test]
    fn exactly_the_named_members_drain() {
        let mut cluster = begun(8, 3, 5);
        use MemberState::{Draining, Serving};
        for (nodes, effective, after) in [
            (&[4, 5][..], true, [Serving, Serving, Serving, Draining, Draining]),
            (&[4, 5], false, [Serving, Serving, Serving, Draining, Draining]),
            (&[5], true, [Serving, Serving, Serving, Serving, Draining]),
            (&[1], true, [Draining, Serving, Serving, Serving, Serving]),
            (&[], true, [Serving; 5]),
        ] {
            assert_eq!(run(&mut cluster, draining(nodes)), Ok(effective), "{nodes:?}");
            assert_eq!(states(&cluster), after, "{nodes:?}");
        }
    }

    #[test]
    fn draining_leaves_as_many_members_as_a_group_has_replicas() {
        let mut cluster = begun(8, 3, 4);
        let reason = "2 nodes would serve, and replicationFactor 3 needs as many: it takes 1 more";
        assert!(refused(&mut cluster, draining(&[3, 4])).starts_with(reason));
        assert!(refused(&mut cluster, draining(&[9])).contains("node 9 is no member"));
        run(&mut cluster, lost(1, true)).expect("it serves");
        assert!(refused(&mut cluster, draining(&[2])).starts_with(reason));
    }

    #[test]
    fn a_drain_can_be_reversed_while_too_few_serve() {
        let mut cluster = begun(8, 3, 5);
        run(&mut cluster, draining(&[4, 5])).expect("three remain");
        run(&mut cluster, lost(1, true)).expect("it serves");
        assert_eq!(run(&mut cluster, draining(&[5])), Ok(true));
        assert_eq!(run(&mut cluster, draining(&[])), Ok(true));
    }

    #[test]
    fn only_a_member_that_serves_gets_lost_and_found_again() {
        let mut cluster = begun(8, 3, 5);
        run(&mut cluster, draining(&[4])).expect("four remain");
        assert_eq!(run(&mut cluster, lost(4, true)), Ok(false));
        assert_eq!(run(&mut cluster, lost(5, true)), Ok(true));
        assert_eq!(run(&mut cluster, lost(5, true)), Ok(false));
        assert_eq!(run(&mut cluster, draining(&[4, 5])), Ok(false));
        use MemberState::{Draining, Lost, Serving};
        assert_eq!(states(&cluster), [Serving, Serving, Serving, Draining, Lost]);
        assert_eq!(run(&mut cluster, lost(5, false)), Ok(true));
        assert_eq!(run(&mut cluster, lost(5, false)), Ok(false));
        assert!(refused(&mut cluster, lost(9, true)).contains("node 9 is no member"));
    }

    #[test]
    fn only_a_member_that_holds_nothing_and_does_not_serve_is_removed() {
        let mut cluster = begun(8, 3, 3);
        let remove = |node| Change::RemoveMember { node: NodeId(node) };
        assert!(refused(&mut cluster, remove(1)).contains("node 1 holds 9 replicas: drain it"));
        run(&mut cluster, join(NONCE, "n4", "n4:1", "n4:2", "")).expect("joins");
        assert!(refused(&mut cluster, remove(4)).contains("node 4 serves: drain it"));
        let moves = vec![Move {
            group: GroupId(1),
            add: Some(NodeId(4)),
            remove: Some(cluster.placement[0][0].replica),
        }];
        let based_on = cluster.revision;
        run(&mut cluster, Change::StartMoves { based_on, moves }).expect("a good move");
        run(&mut cluster, draining(&[4])).expect("three remain");
        assert!(refused(&mut cluster, remove(4)).contains("node 4 holds 1 replicas"));
        let finish = Change::FinishMove { group: GroupId(1), job: 1, undone: true, bytes: 0 };
        run(&mut cluster, finish).expect("no error");
        assert_eq!(run(&mut cluster, remove(4)), Ok(true));
        assert_eq!(run(&mut cluster, remove(4)), Ok(false));
        assert_eq!(cluster.next_node_id, NodeId(5));
    }
}
