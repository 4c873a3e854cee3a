//! Applies changes of the cluster.

use bytes::Bytes;

use crate::cluster::genesis::is_address;
use crate::cluster::{Change, ClusterState, Rejected};
use crate::command::{Committed, Content};
use crate::engine::{Edit, WriteBatch};
use crate::ids::GroupId;
use crate::keys::GroupState;

/// Applies a run of the meta group's committed entries to `state` and `cluster`, and adds to `out` what
/// makes them durable together. Answers each entry, `Ok` for one without a change.
///
/// The entries follow [`GroupState::applied`] without a gap.
pub fn apply_cluster(
    state: &mut GroupState,
    cluster: &mut Option<ClusterState>,
    entries: &[Committed<Change>],
    out: &mut WriteBatch,
) -> Vec<Result<(), Rejected>> {
    let revision = cluster.as_ref().map(|cluster| cluster.revision);
    let answers = entries
        .iter()
        .map(|entry| {
            state.applied = entry.index;
            state.applied_term = entry.term;
            match &entry.content {
                Content::Nothing => Ok(()),
                Content::Command(change) => apply_change(cluster, change),
                Content::Configuration(configuration) => {
                    state.configuration.clone_from(configuration);
                    Ok(())
                }
            }
        })
        .collect();
    state.save(GroupId::META, out);
    if let Some(cluster) = cluster.as_ref().filter(|now| Some(now.revision) != revision) {
        let value = Bytes::from(cluster.to_json());
        out.edits.push(Edit::Put { key: ClusterState::key(), value });
    }
    answers
}

fn apply_change(cluster: &mut Option<ClusterState>, change: &Change) -> Result<(), Rejected> {
    match change {
        Change::Form { genesis } => {
            let begun = genesis.begin()?;
            match cluster {
                None => *cluster = Some(begun),
                Some(there) if !began_as(there, &begun) => {
                    return Err(Rejected::BegunOtherwise(there.cluster_id));
                }
                Some(_) => {}
            }
        }
        Change::ConfirmFormed { cluster_id } => {
            let cluster = cluster.as_mut().ok_or(Rejected::NotBegun)?;
            if cluster.cluster_id != *cluster_id {
                let (expected, actual) = (*cluster_id, cluster.cluster_id);
                return Err(Rejected::OtherCluster { expected, actual });
            }
            if !cluster.formed {
                cluster.formed = true;
                cluster.revision += 1;
            }
        }
        Change::SetMemberAddresses { node, peer_address, client_address } => {
            let cluster = cluster.as_mut().ok_or(Rejected::NotBegun)?;
            let member = cluster.members.get_mut(node).ok_or(Rejected::UnknownMember(*node))?;
            for address in [peer_address, client_address] {
                if !is_address(address) {
                    return Err(Rejected::BadAddress(address.clone()));
                }
            }
            if (&member.peer_address, &member.client_address) != (peer_address, client_address) {
                member.peer_address.clone_from(peer_address);
                member.client_address.clone_from(client_address);
                cluster.revision += 1;
            }
        }
    }
    Ok(())
}

/// Whether `there` may have grown from what `begun` is: a repeated `Form` is no error, even after addresses
/// changed.
fn began_as(there: &ClusterState, begun: &ClusterState) -> bool {
    there.cluster_id == begun.cluster_id
        && there.partitions == begun.partitions
        && begun
            .members
            .iter()
            .all(|(node, member)| there.members.get(node).is_none_or(|now| now.name == member.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::genesis::tests::genesis;
    use crate::ids::{ClusterId, LogIndex, NodeId, Term};
    use crate::membership::Configuration;

    fn run(cluster: &mut Option<ClusterState>, change: Change) -> Result<(), Rejected> {
        let mut state = GroupState::initial(Configuration::default());
        let entry =
            Committed { index: LogIndex(6), term: Term(6), content: Content::Command(change) };
        let mut answers = apply_cluster(&mut state, cluster, &[entry], &mut WriteBatch::default());
        assert_eq!(state.applied, LogIndex(6));
        answers.remove(0)
    }

    fn form() -> Change {
        Change::Form { genesis: genesis(8, 3, &[""; 3]) }
    }

    #[test]
    fn forming_twice_alike_changes_nothing_and_otherwise_is_rejected() {
        let mut cluster = None;
        assert_eq!(run(&mut cluster, form()), Ok(()));
        let first = cluster.clone();
        assert_eq!(run(&mut cluster, form()), Ok(()));
        assert_eq!(cluster, first);
        let mut other = genesis(8, 3, &[""; 3]);
        other.cluster_id = ClusterId(7);
        let there = ClusterId(0xC0FFEE);
        let rejected = Err(Rejected::BegunOtherwise(there));
        assert_eq!(run(&mut cluster, Change::Form { genesis: other }), rejected);
        assert_eq!(cluster, first);
    }

    #[test]
    fn only_its_own_cluster_is_confirmed_and_only_once_counted() {
        let mut cluster = None;
        let confirm = |id| Change::ConfirmFormed { cluster_id: ClusterId(id) };
        assert_eq!(run(&mut cluster, confirm(0xC0FFEE)), Err(Rejected::NotBegun));
        run(&mut cluster, form()).expect("forms");
        assert!(matches!(run(&mut cluster, confirm(7)), Err(Rejected::OtherCluster { .. })));
        run(&mut cluster, confirm(0xC0FFEE)).expect("confirms");
        run(&mut cluster, confirm(0xC0FFEE)).expect("confirms again");
        let cluster = cluster.expect("begun");
        assert!(cluster.formed);
        assert_eq!(cluster.revision, 2);
    }

    #[test]
    fn addresses_change_for_members_only() {
        let mut cluster = None;
        run(&mut cluster, form()).expect("forms");
        let change = |node, address: &str| Change::SetMemberAddresses {
            node: NodeId(node),
            peer_address: address.to_owned(),
            client_address: "c:1".to_owned(),
        };
        assert_eq!(run(&mut cluster, change(9, "a:1")), Err(Rejected::UnknownMember(NodeId(9))));
        assert_eq!(run(&mut cluster, change(2, "a")), Err(Rejected::BadAddress("a".to_owned())));
        assert_eq!(run(&mut cluster, change(2, "a:1")), Ok(()));
        assert_eq!(cluster.expect("begun").members[&NodeId(2)].peer_address, "a:1");
    }

    #[test]
    fn the_batch_carries_the_state_only_when_it_changed() {
        let mut state = GroupState::initial(Configuration::default());
        let mut cluster = None;
        let entry = |change| Committed { index: LogIndex(6), term: Term(6), content: change };
        let mut out = WriteBatch::default();
        apply_cluster(&mut state, &mut cluster, &[entry(Content::Command(form()))], &mut out);
        assert_eq!(out.edits.len(), 2);
        let mut out = WriteBatch::default();
        apply_cluster(&mut state, &mut cluster, &[entry(Content::Nothing)], &mut out);
        assert_eq!(out.edits.len(), 1);
    }

    #[test]
    fn changes_and_states_round_trip() {
        let change = form();
        assert_eq!(Change::decode(&change.encode()), Ok(change));
        let state = genesis(8, 3, &["a", "b", "c"]).begin().expect("valid");
        assert_eq!(ClusterState::from_json(&state.to_json()).expect("parses"), state);
    }

    #[test]
    fn an_unknown_change_is_malformed() {
        let unknown = br#"{"explode":{"node":1}}"#;
        let with_version = |version| [&[version][..], unknown].concat();
        assert!(Change::decode(&with_version(1)).is_err());
        assert!(Change::decode(&with_version(2)).is_err());
        assert!(Change::decode(b"").is_err());
    }
}
