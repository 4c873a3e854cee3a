//! What a replica finds at its start, and when it refuses to start.

use std::sync::Arc;

use bytes::Bytes;
use flin_replica::{Error, Options, Replica, Role, reconcile};
use flin_state::ids::{GroupId, LogIndex, NodeId, ReplicaId, Term};
use flin_state::log::{Entry, EntryKind, HardState, Log, LogEdit};
use flin_state::membership::Configuration;

use crate::cluster::{Cluster, GROUP, options};
use crate::memory_log::MemoryLog;

const SELF: ReplicaId = ReplicaId(1);

/// A log of replica 1 that begins after (5, 5) and holds entries of these terms.
fn log(terms: &[u64]) -> Arc<MemoryLog> {
    let log = MemoryLog::default();
    let (index, term) = (LogIndex(5), Term(5));
    log.write(&[LogEdit::Create { group: GROUP, replica: SELF, index, term }]).unwrap();
    let entries: Vec<_> = terms
        .iter()
        .zip(6..)
        .map(|(term, index)| Entry {
            index: LogIndex(index),
            term: Term(*term),
            kind: EntryKind::Command,
            data: Bytes::from_static(b"x"),
        })
        .collect();
    if let Some(last) = entries.last() {
        let state = HardState { term: last.term, vote: ReplicaId(2), commit: LogIndex(5) };
        log.write(&[LogEdit::HardState { group: GROUP, state }]).unwrap();
        log.write(&[LogEdit::Append { group: GROUP, entries }]).unwrap();
    }
    Arc::new(log)
}

fn three() -> Configuration {
    Configuration::of_voters([1, 2, 3].map(|id| (ReplicaId(id), NodeId(id))))
}

fn restore(log: &Arc<MemoryLog>, applied: u64) -> Result<Replica, Error> {
    let log = Arc::clone(log) as Arc<dyn Log>;
    Replica::restore(options(SELF, 0), log, three(), LogIndex(applied))
}

#[test]
fn what_was_applied_is_known_committed() {
    let status = restore(&log(&[6, 6, 7]), 7).unwrap().status();
    assert_eq!((status.role, status.term), (Role::Follower, Term(7)));
    assert_eq!(status.last, LogIndex(8));
    assert_eq!((status.commit, status.applied_to), (LogIndex(7), LogIndex(7)));
}

#[test]
fn a_new_group_begins_in_the_term_of_its_initial_index() {
    let status = restore(&log(&[]), 5).unwrap().status();
    assert_eq!((status.term, status.last, status.commit), (Term(5), LogIndex(5), LogIndex(5)));
}

#[test]
fn a_log_that_lost_what_was_applied_is_refused() {
    let error = restore(&log(&[6, 6]), 9).unwrap_err();
    assert_eq!(error.to_string(), "group 1: the log ends at 7, but 9 was committed");
}

#[test]
fn a_state_older_than_the_log_is_refused() {
    let log = log(&[6, 6, 6]);
    log.write(&[LogEdit::Compact { group: GROUP, index: LogIndex(7) }]).unwrap();
    let error = restore(&log, 6).unwrap_err();
    assert_eq!(error.to_string(), "group 1: the log begins at 8, but the state ends at 6");
    assert!(reconcile(&*log, GROUP, LogIndex(6), Term(6)).is_err());
}

#[test]
fn a_log_of_another_replica_or_group_is_refused() {
    let log = log(&[]) as Arc<dyn Log>;
    for (group, replica) in [(GROUP, ReplicaId(2)), (GroupId(2), SELF)] {
        let options = Options::new(group, replica, 0);
        let result = Replica::restore(options, Arc::clone(&log), three(), LogIndex(5));
        assert!(matches!(result, Err(Error::NotHosted { .. })));
    }
}

#[test]
fn impossible_options_are_named() {
    let options = Options { election_ticks: 2, ..options(SELF, 0) };
    let error = Replica::restore(options, log(&[]), three(), LogIndex(5)).unwrap_err();
    assert!(error.to_string().contains("election tick must be greater"), "{error}");
}

#[test]
fn a_group_without_voters_is_refused() {
    let configuration = Configuration::default();
    let result = Replica::restore(options(SELF, 0), log(&[]), configuration, LogIndex(5));
    assert!(matches!(result, Err(Error::Configuration { .. })));
}

#[test]
fn a_log_that_fits_the_state_needs_no_mending() {
    let log = log(&[6, 6, 7]);
    assert_eq!(reconcile(&*log, GROUP, LogIndex(5), Term(5)).unwrap(), None);
    assert_eq!(reconcile(&*log, GROUP, LogIndex(8), Term(7)).unwrap(), None);
}

#[test]
fn an_install_that_a_crash_interrupted_is_completed() {
    // The installed state is beyond the log, or within a tail that was never committed.
    for (applied, term) in [(LogIndex(20), Term(9)), (LogIndex(8), Term(9))] {
        let log = log(&[6, 6, 7, 7]);
        let edit = reconcile(&*log, GROUP, applied, term).unwrap().unwrap();
        assert_eq!(edit, LogEdit::Reset { group: GROUP, index: applied, term });
        log.write(&[edit]).unwrap();
        let status = restore(&log, applied.0).unwrap().status();
        assert_eq!((status.commit, status.last), (applied, applied));
    }
}

#[test]
fn a_replica_that_was_just_added_waits_for_a_snapshot() {
    let mut cluster = Cluster::new(3, 0);
    cluster.add(ReplicaId(4), LogIndex(0), Term(0), Configuration::default());
    let blank = cluster.replica(ReplicaId(4));
    for _ in 0..40 {
        blank.tick();
        blank.campaign();
        assert!(blank.ready().unwrap().is_none());
    }
    assert_eq!(blank.status().role, Role::Follower);
}

#[test]
#[should_panic(expected = "must be advanced first")]
fn a_ready_that_was_not_advanced_is_a_bug_of_the_caller() {
    let mut replica = restore(&log(&[]), 5).unwrap();
    replica.campaign();
    assert!(replica.ready().unwrap().is_some());
    replica.tick();
}
