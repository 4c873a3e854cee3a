//! Between our types and those of raft-rs.

use std::collections::BTreeSet;

use bytes::Bytes;
use flin_state::ids::{LogIndex, ReplicaId, Term};
use flin_state::log::{Entry, EntryKind, HardState};
use flin_state::membership::Configuration;
use raft::eraftpb;

pub(crate) fn entry_from_raft(entry: eraftpb::Entry) -> Entry {
    Entry {
        index: LogIndex(entry.index),
        term: Term(entry.term),
        kind: match changes_configuration(&entry) {
            false => EntryKind::Command,
            true => EntryKind::Configuration,
        },
        data: Bytes::from(entry.data),
    }
}

pub(crate) fn changes_configuration(entry: &eraftpb::Entry) -> bool {
    entry.get_entry_type() != eraftpb::EntryType::EntryNormal
}

pub(crate) fn entry_to_raft(entry: Entry) -> eraftpb::Entry {
    let kind = match entry.kind {
        EntryKind::Command => eraftpb::EntryType::EntryNormal,
        EntryKind::Configuration => eraftpb::EntryType::EntryConfChangeV2,
    };
    eraftpb::Entry {
        entry_type: kind as i32,
        term: entry.term.0,
        index: entry.index.0,
        data: Vec::from(entry.data),
        ..eraftpb::Entry::default()
    }
}

pub(crate) fn hard_state_from_raft(state: &eraftpb::HardState) -> HardState {
    HardState {
        term: Term(state.term),
        vote: ReplicaId(state.vote),
        commit: LogIndex(state.commit),
    }
}

pub(crate) fn hard_state_to_raft(state: &HardState) -> eraftpb::HardState {
    eraftpb::HardState { term: state.term.0, vote: state.vote.0, commit: state.commit.0 }
}

pub(crate) fn conf_state(configuration: &Configuration) -> eraftpb::ConfState {
    let ids = |set: &BTreeSet<ReplicaId>| set.iter().map(|id| id.0).collect();
    eraftpb::ConfState {
        voters: ids(&configuration.voters),
        learners: ids(&configuration.learners),
        voters_outgoing: ids(&configuration.voters_outgoing),
        learners_next: ids(&configuration.learners_next),
        auto_leave: configuration.auto_leave,
    }
}

/// Whether raft's configuration is this one. Raft keeps unordered sets.
pub(crate) fn is_state_of(state: eraftpb::ConfState, configuration: &Configuration) -> bool {
    let sorted = |mut state: eraftpb::ConfState| {
        let eraftpb::ConfState { voters, learners, voters_outgoing, learners_next, .. } =
            &mut state;
        for ids in [voters, learners, voters_outgoing, learners_next] {
            ids.sort_unstable();
        }
        state
    };
    sorted(state) == conf_state(configuration)
}

/// Checks what raft-rs would panic on, the rules of its joint configurations, and that every replica has a
/// node and every node a replica.
pub(crate) fn check_configuration(configuration: &Configuration) -> Result<(), &'static str> {
    let Configuration { voters, learners, voters_outgoing, learners_next, auto_leave, nodes } =
        configuration;
    let zero = ReplicaId(0);
    if [voters, learners, voters_outgoing, learners_next].iter().any(|set| set.contains(&zero)) {
        return Err("a replica id is zero");
    }
    if voters.is_empty() {
        return Err("there are no voters");
    }
    if !learners.is_disjoint(voters) || !learners.is_disjoint(voters_outgoing) {
        return Err("a learner is also a voter");
    }
    if !learners_next.is_subset(voters_outgoing) {
        return Err("a learner to come is not among the outgoing voters");
    }
    if !learners_next.is_disjoint(voters) || !learners_next.is_disjoint(learners) {
        return Err("a learner to come is already something else");
    }
    if *auto_leave {
        return Err("raft must not leave a joint configuration by itself");
    }
    let named: BTreeSet<&ReplicaId> =
        voters.iter().chain(learners).chain(voters_outgoing).chain(learners_next).collect();
    if !named.into_iter().eq(nodes.keys()) {
        return Err("its replicas and those that have a node are not the same");
    }
    Ok(())
}
