//! What must hold between log and state before a replica may vote.

use std::sync::Arc;

use flin_mutant::{Bug, is};
use flin_state::ids::{GroupId, LogIndex, ReplicaId, Term};
use flin_state::log::{EntryKind, GroupRecord, HardState, Log, LogEdit, LogError};
use flin_state::membership::Configuration;

use crate::convert;
use crate::error::Error;
use crate::options::Options;
use crate::replica::Trail;

/// Completes a snapshot install that a crash interrupted between the engine and the log: `applied` and
/// `applied_term` are what the durable state holds. Returns the edit to write and sync before
/// [`crate::Replica::restore`], or `None` when log and state fit.
///
/// Such a crash is the only way that a sound log can disagree with the state: entries are durable
/// before they are applied.
///
/// # Errors
/// [`Error::StateBehindLog`] when entries in between are missing, which nothing here can mend.
pub fn reconcile(
    log: &dyn Log,
    group: GroupId,
    applied: LogIndex,
    applied_term: Term,
) -> Result<Option<LogEdit>, Error> {
    let first = log.first_index(group);
    if applied.next() < first {
        return Err(Error::StateBehindLog { group, applied, first });
    }
    let fits = applied <= log.last_index(group) && {
        let term = log.term(group, applied).map_err(|source| failed(group, source))?;
        term == applied_term
    };
    Ok((!fits).then_some(LogEdit::Reset { group, index: applied, term: applied_term }))
}

/// The hard state that raft starts from, once log, state and configuration are found to fit.
pub(crate) fn hard_state(
    options: &Options,
    log: &dyn Log,
    configuration: &Configuration,
    applied: LogIndex,
) -> Result<HardState, Error> {
    let group = options.group;
    hosted(log, group, options.replica)?;
    let (first, last) = (log.first_index(group), log.last_index(group));
    if applied.next() < first {
        return Err(Error::StateBehindLog { group, applied, first });
    }
    let mut state = log.hard_state(group);
    let known = state.commit.max(applied);
    if known > last {
        return Err(Error::LogBehindState { group, known, last });
    }
    // A replica that was just added knows nothing: it waits for a snapshot.
    let blank = last == LogIndex(0) && *configuration == Configuration::default();
    if !blank {
        convert::check_configuration(configuration)
            .map_err(|what| Error::Configuration { group, what: what.to_owned() })?;
    }
    state.commit = known;
    if is(Bug::ForgetVote) {
        state.vote = ReplicaId(0);
    }
    // A new group's log begins at a term that nobody voted in.
    let last_term = log.term(group, last).map_err(|source| failed(group, source))?;
    if state.term < last_term {
        state.term = last_term;
        state.vote = ReplicaId(0);
    }
    Ok(state)
}

/// Finds the changes of the configuration after `applied`; the log holds `commit` as committed.
pub(crate) fn trail(
    options: &Options,
    log: &dyn Log,
    applied: LogIndex,
    commit: LogIndex,
) -> Result<Trail, Error> {
    let group = options.group;
    let mut trail = Trail::new(applied);
    let (mut from, end) = (applied.next(), log.last_index(group).next());
    while from < end {
        let page = log
            .entries(group, from, end, options.committed_page_bytes_max)
            .map_err(|source| failed(group, source))?;
        for entry in page.iter().filter(|entry| entry.kind == EntryKind::Configuration) {
            trail.note(entry.index);
        }
        let Some(last) = page.last() else { break };
        from = last.index.next();
    }
    trail.settle(commit);
    Ok(trail)
}

fn hosted(log: &dyn Log, group: GroupId, replica: ReplicaId) -> Result<(), Error> {
    let record = log.groups().into_iter().find(|(found, _)| *found == group);
    match record {
        Some((_, GroupRecord::Hosted(found))) if found == replica => Ok(()),
        _ => Err(Error::NotHosted { group, replica }),
    }
}

fn failed(group: GroupId, source: LogError) -> Error {
    Error::Log { group, source: Arc::new(source) }
}
