//! Between our types and those of raft-rs.

use bytes::Bytes;
use flin_state::ids::{LogIndex, ReplicaId, Term};
use flin_state::log::{Entry, EntryKind, HardState};
use flin_state::membership::Configuration;
use raft::eraftpb;

pub(crate) fn entry_from_raft(entry: eraftpb::Entry) -> Entry {
    Entry {
        index: LogIndex(entry.index),
        term: Term(entry.term),
        kind: match entry.get_entry_type() {
            eraftpb::EntryType::EntryNormal => EntryKind::Command,
            eraftpb::EntryType::EntryConfChange | eraftpb::EntryType::EntryConfChangeV2 => {
                EntryKind::Configuration
            }
        },
        data: Bytes::from(entry.data),
    }
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
    let ids = |set: &std::collections::BTreeSet<ReplicaId>| set.iter().map(|id| id.0).collect();
    eraftpb::ConfState {
        voters: ids(&configuration.voters),
        learners: ids(&configuration.learners),
        voters_outgoing: ids(&configuration.voters_outgoing),
        learners_next: ids(&configuration.learners_next),
        auto_leave: configuration.auto_leave,
    }
}

/// Checks what raft-rs would panic on: the rules of its joint configurations.
pub(crate) fn check_configuration(configuration: &Configuration) -> Result<(), &'static str> {
    let Configuration { voters, learners, voters_outgoing, learners_next, auto_leave, .. } =
        configuration;
    let joint = !voters_outgoing.is_empty();
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
    if *auto_leave && !joint {
        return Err("only a joint configuration can be left");
    }
    Ok(())
}
