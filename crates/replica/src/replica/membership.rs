//! Changes of the configuration.
//!
//! raft-rs changes its configuration when the entry is applied, not when it is appended, so the changes of
//! a group must be spaced: two configurations that are one step apart share a voter in any two majorities,
//! two that are further apart need not. What keeps a replica that slept, or forgot by a crash what it had
//! heard, from being elected by an old majority beside a leader of a new one (etcd issue 11284):
//!
//! - raft-rs does not campaign while a change that it knows as committed waits to be applied;
//! - the commit of a change is written and synced at once, before any message that tells it; and a change
//!   comes into the log in one record with the commit of those before it;
//! - the next change is proposed only when majorities of the old and of the new voters know the last one
//!   as committed ([`crate::Status::configuration_settled`]).

use std::collections::BTreeSet;

use flin_state::ids::{LogIndex, ReplicaId};
use flin_state::membership::{Configuration, ConfigurationChange};
use raft::StateRole;

use super::Replica;
use crate::change;
use crate::convert;
use crate::error::ProposeError;

impl Replica {
    /// Proposes one change of the configuration, and returns the index it gets if it is committed in the
    /// current term. Never two at a time.
    ///
    /// # Errors
    /// [`ProposeError`]; then it is surely not in the log.
    pub fn propose_configuration(
        &mut self,
        change: &ConfigurationChange,
    ) -> Result<LogIndex, ProposeError> {
        if !self.enter() || !self.leading() {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        if self.raft.raft.lead_transferee.is_some() {
            return Err(ProposeError::Transferring);
        }
        if !self.configuration_settled() {
            return Err(ProposeError::ConfigurationPending);
        }
        self.configuration().after(change)?;
        let raft_change = change::to_raft(change);
        self.raft.propose_conf_change(Vec::new(), raft_change).map_err(|_| ProposeError::Busy)?;
        self.retime();
        // Raft turns a change that it does not like into an empty command, without a word.
        let index = self.raft.raft.raft_log.last_index();
        assert_eq!(self.raft.raft.pending_conf_index, index, "raft likes what was checked before");
        self.trail.note(LogIndex(index));
        Ok(LogIndex(index))
    }

    /// Tells raft that the entry of kind [`flin_state::log::EntryKind::Configuration`] at `index` is applied,
    /// with everything before it, and that the configuration is `next` since: what
    /// [`Configuration::after`] makes of it, or as before if it was impossible. Call it for every such
    /// entry that was handed out, in order and before [`Replica::applied`] with its index. What a snapshot
    /// has replaced since is ignored.
    ///
    /// # Panics
    /// When `index` was not handed out, an earlier change is missing, or the entry does not lead to `next`.
    pub fn apply_configuration(&mut self, index: LogIndex, next: &Configuration) {
        assert!(index <= self.handed_out, "applied {index}, committed {}", self.handed_out);
        if let Some(pending) = &mut self.pending {
            pending.configurations.push((index, next.clone()));
            return;
        }
        if self.stopped() || !self.unapplied.contains_key(&index) {
            return;
        }
        let (first, _) = self.unapplied.first_key_value().expect("it holds this one");
        assert_eq!(*first, index, "an earlier change was not reported");
        assert_eq!(self.configuration_at(index), *next, "what the change at {index} leads to");
        self.enact(index, next);
    }

    /// Whether the next change may be proposed, see [`crate::Status::configuration_settled`].
    pub(super) fn configuration_settled(&self) -> bool {
        let raft = &self.raft.raft;
        let Some(last) = self.trail.all_known() else { return false };
        if !self.leading() || !raft.commit_to_current_term() || raft.has_pending_conf() {
            return false;
        }
        let knows = |replica: &ReplicaId| {
            let peer = || raft.prs().get(replica.0).map(|progress| progress.committed_index);
            *replica == self.options.replica || peer() >= Some(last.0)
        };
        let majority_of = |voters: &BTreeSet<ReplicaId>| {
            voters.iter().filter(|voter| knows(voter)).count() * 2 > voters.len()
        };
        let configuration = self.configuration();
        let outgoing = &configuration.voters_outgoing;
        last.0 <= raft.raft_log.applied
            && majority_of(&configuration.voters)
            && (outgoing.is_empty() || majority_of(outgoing))
    }

    /// Whether a change is known as committed and the log does not say so yet.
    pub(super) fn owes_commit(&self) -> bool {
        self.trail.is_owed(LogIndex(self.raft.raft.raft_log.committed))
    }

    /// Does what the changes up to `index`, compacted before they were reported, lead to.
    pub(super) fn enact_compacted(&mut self, index: LogIndex) {
        while let Some((first, _)) = self.unapplied.first_key_value()
            && *first <= index
        {
            let first = *first;
            let next = self.configuration_at(first);
            self.enact(first, &next);
        }
    }

    /// The newest replica ever named here; later ones may have been added by entries yet to come.
    pub(super) fn note_newest(&mut self) {
        let newest = self.configuration().nodes.last_key_value().map(|(id, _)| *id);
        self.newest = self.newest.max(newest.unwrap_or(ReplicaId(0)));
    }
}

impl Replica {
    /// What the first unapplied change, at `index`, leads to.
    fn configuration_at(&self, index: LogIndex) -> Configuration {
        let change = self.change_at(index);
        self.configuration().after(&change).unwrap_or_else(|_| self.configuration().clone())
    }

    fn change_at(&self, index: LogIndex) -> ConfigurationChange {
        let data = &self.unapplied[&index];
        change::decode(data).expect("whoever applied it could read it")
    }

    fn enact(&mut self, index: LogIndex, next: &Configuration) {
        let change = self.change_at(index);
        self.unapplied.remove(&index);
        if self.raft.snap().is_some() {
            // Raft took a later snapshot, and with it its configuration; the round to come installs it.
            return;
        }
        let changed = self.configuration() != next;
        // Raft may ask for a snapshot at once: it is of what was applied, with this change.
        let storage = self.raft.mut_store();
        storage.applied = index;
        storage.configuration = next.clone();
        if changed {
            let state = self
                .raft
                .apply_conf_change(&change::to_raft(&change))
                .expect("raft can do what `Configuration::after` allows");
            assert!(convert::is_state_of(state, next), "raft and state agree on the voters");
            self.note_newest();
            self.heard.retain(|replica, _| next.nodes.contains_key(replica));
            self.resign();
        }
        self.raft.advance_apply_to(index.0);
        self.retime();
    }

    /// Raft counts on it that a leader votes, and that voters do not change during an election. A leader
    /// ends here that was elected with its own removal in the log, not known as committed.
    fn resign(&mut self) {
        let raft = &mut self.raft.raft;
        let fits = match raft.state {
            StateRole::Follower => true,
            StateRole::Leader => raft.promotable(),
            StateRole::PreCandidate | StateRole::Candidate => false,
        };
        if !fits {
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
        }
    }
}
