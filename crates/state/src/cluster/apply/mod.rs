//! Applies changes of the cluster.

mod loss;
mod members;
mod moves;
mod settings;

use bytes::Bytes;

use crate::cluster::apply::members::Description;
use crate::cluster::{Change, ClusterState, Genesis, Rejected};
use crate::command::{Committed, Content};
use crate::engine::{Edit, WriteBatch};
use crate::ids::{ClusterId, GroupId};
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

/// Applies one change: it takes effect whole, or not at all.
pub(super) fn apply_change(
    cluster: &mut Option<ClusterState>,
    change: &Change,
) -> Result<(), Rejected> {
    if let Change::Form { genesis } = change {
        return form(cluster, genesis);
    }
    let cluster = cluster.as_mut().ok_or(Rejected::NotBegun)?;
    if take_effect(cluster, change)? == Effect::Changed {
        cluster.revision += 1;
    }
    Ok(())
}

/// What a change that is not rejected does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Everything is as it was, for example because the change is a repeated one.
    Nothing,
    /// Something differs.
    Changed,
}

/// Puts `value` in its place and says whether it was another one.
fn set<T: PartialEq>(place: &mut T, value: T) -> Effect {
    if *place == value {
        return Effect::Nothing;
    }
    *place = value;
    Effect::Changed
}

/// Every rule is checked before anything is touched.
fn take_effect(cluster: &mut ClusterState, change: &Change) -> Result<Effect, Rejected> {
    match change {
        Change::Form { genesis } => Err(Rejected::BegunOtherwise(genesis.cluster_id)),
        Change::ConfirmFormed { cluster_id } => confirm_formed(cluster, *cluster_id),
        Change::DescribeMember { node, peer_address, client_address, zone } => {
            members::describe(cluster, *node, &Description { peer_address, client_address, zone })
        }
        Change::Join { nonce, name, peer_address, client_address, zone } => {
            let described = Description { peer_address, client_address, zone };
            members::join(cluster, nonce, name, &described)
        }
        Change::SetDraining { nodes } => members::set_draining(cluster, nodes),
        Change::SetLost { node, lost } => members::set_lost(cluster, *node, *lost),
        Change::AcceptLoss { gone, empty } => loss::accept(cluster, gone, empty),
        Change::RemoveMember { node } => members::remove(cluster, *node),
        Change::StartMoves { based_on, moves } => moves::start(cluster, *based_on, moves),
        Change::UndoMove { group, job } => Ok(moves::undo(cluster, *group, *job)),
        Change::FinishMove { group, job, undone, bytes } => {
            Ok(moves::finish(cluster, *group, *job, *undone, *bytes))
        }
        Change::AdoptVoters { group, voters } => moves::adopt_voters(cluster, *group, voters),
        Change::PreferLeaders { based_on, leaders } => {
            moves::prefer_leaders(cluster, *based_on, leaders)
        }
        Change::SetReplicationFactor { replication_factor } => {
            settings::set_replication_factor(cluster, *replication_factor)
        }
        Change::SetRebalance { settings } => settings::set_rebalance(cluster, *settings),
    }
}

fn form(cluster: &mut Option<ClusterState>, genesis: &Genesis) -> Result<(), Rejected> {
    let begun = genesis.begin()?;
    match cluster {
        Some(there) if began_as(there, &begun) => Ok(()),
        Some(there) => Err(Rejected::BegunOtherwise(there.cluster_id)),
        None => {
            *cluster = Some(begun);
            Ok(())
        }
    }
}

fn confirm_formed(cluster: &mut ClusterState, meant: ClusterId) -> Result<Effect, Rejected> {
    if cluster.cluster_id != meant {
        return Err(Rejected::OtherCluster { expected: meant, actual: cluster.cluster_id });
    }
    Ok(set(&mut cluster.formed, true))
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
pub(super) mod tests {
    use super::*;
    use crate::cluster::genesis::tests::genesis;
    use crate::ids::{LogIndex, NodeId, Term};
    use crate::membership::Configuration;

    /// A formed cluster of that many members, at revision 1.
    pub fn begun(partitions: u16, replication_factor: u8, members: usize) -> ClusterState {
        let genesis = genesis(partitions, replication_factor, &vec![""; members]);
        ClusterState { formed: true, ..genesis.begin().expect("valid") }
    }

    /// Applies `change`, and says whether it had an effect; then the revision grew by one.
    pub fn run(cluster: &mut ClusterState, change: Change) -> Result<bool, Rejected> {
        let before = cluster.clone();
        let mut after = Some(before.clone());
        let answer = apply_change(&mut after, &change);
        *cluster = after.expect("begun");
        let effective = *cluster != before;
        assert_eq!(cluster.revision, before.revision + u64::from(effective), "{change:?}");
        assert_eq!(ClusterState::from_json(&cluster.to_json()).expect("parses"), *cluster);
        assert_eq!(Change::decode(&change.encode()), Ok(change));
        assert!(answer.is_ok() || !effective);
        answer.map(|()| effective)
    }

    /// Why `change` is refused.
    pub fn refused(cluster: &mut ClusterState, change: Change) -> String {
        run(cluster, change).expect_err("refused").to_string()
    }

    fn enter(cluster: &mut Option<ClusterState>, change: Change) -> Result<(), Rejected> {
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
        assert_eq!(enter(&mut cluster, form()), Ok(()));
        let first = cluster.clone();
        assert_eq!(enter(&mut cluster, form()), Ok(()));
        assert_eq!(cluster, first);
        let mut other = genesis(8, 3, &[""; 3]);
        other.cluster_id = ClusterId(7);
        let there = ClusterId(0xC0FFEE);
        let rejected = Err(Rejected::BegunOtherwise(there));
        assert_eq!(enter(&mut cluster, Change::Form { genesis: other }), rejected);
        assert_eq!(cluster, first);
    }

    #[test]
    fn only_its_own_cluster_is_confirmed_and_only_once_counted() {
        let mut cluster = None;
        let confirm = |id| Change::ConfirmFormed { cluster_id: ClusterId(id) };
        assert_eq!(enter(&mut cluster, confirm(0xC0FFEE)), Err(Rejected::NotBegun));
        enter(&mut cluster, form()).expect("forms");
        assert!(matches!(enter(&mut cluster, confirm(7)), Err(Rejected::OtherCluster { .. })));
        enter(&mut cluster, confirm(0xC0FFEE)).expect("confirms");
        enter(&mut cluster, confirm(0xC0FFEE)).expect("confirms again");
        let cluster = cluster.expect("begun");
        assert!(cluster.formed);
        assert_eq!(cluster.revision, 2);
    }

    #[test]
    fn members_are_described_anew_and_nobody_else() {
        let mut cluster = begun(8, 3, 3);
        let change = |node, address: &str, zone: &str| Change::DescribeMember {
            node: NodeId(node),
            peer_address: address.to_owned(),
            client_address: "c:1".to_owned(),
            zone: zone.to_owned(),
        };
        let unknown = run(&mut cluster, change(9, "a:1", "west"));
        assert_eq!(unknown, Err(Rejected::UnknownMember(NodeId(9))));
        let bad = run(&mut cluster, change(2, "a", "west"));
        assert_eq!(bad, Err(Rejected::BadAddress("a".to_owned())));
        let bad = run(&mut cluster, change(2, "a:1", "far west"));
        assert_eq!(bad, Err(Rejected::BadZone("far west".to_owned())));
        assert_eq!(run(&mut cluster, change(2, "a:1", "west")), Ok(true));
        assert_eq!(run(&mut cluster, change(2, "a:1", "west")), Ok(false));
        let member = &cluster.members[&NodeId(2)];
        assert_eq!((member.peer_address.as_str(), member.zone.as_str()), ("a:1", "west"));
    }

    #[test]
    fn nothing_is_changed_before_there_is_a_cluster() {
        let drain = Change::SetDraining { nodes: [].into() };
        assert_eq!(enter(&mut None, drain), Err(Rejected::NotBegun));
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
