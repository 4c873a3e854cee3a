//! Changes of the configuration, seen from a single replica.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use flin_replica::{ProposeError, Replica, Role};
use flin_state::ids::{LogIndex, NodeId, ReplicaId, Term};
use flin_state::log::{Entry, EntryKind, HardState, Log, LogEdit};
use flin_state::membership::{Configuration, ConfigurationChange, ImpossibleChange};
use prost::Message as _;
use raft::eraftpb::{self, MessageType};

use crate::cluster::{GROUP, options};
use crate::hostile::{change, envelope, message};
use crate::memory_log::MemoryLog;

const SELF: ReplicaId = ReplicaId(1);

fn voters(ids: &[u64]) -> Configuration {
    Configuration::of_voters(ids.iter().map(|id| (ReplicaId(*id), NodeId(*id))))
}

fn add(id: u64) -> ConfigurationChange {
    ConfigurationChange::AddLearner { replica: ReplicaId(id), node: NodeId(id) }
}

/// The log of replica 1 after (5, 5) with these changes in term 6, of which `commit` are committed.
fn log_with(changes: &[Vec<u8>], commit: u64) -> Arc<MemoryLog> {
    let log = MemoryLog::default();
    let (index, term) = (LogIndex(5), Term(5));
    log.write(&[LogEdit::Create { group: GROUP, replica: SELF, index, term }]).unwrap();
    let entry = |(data, index): (&Vec<u8>, u64)| Entry {
        index: LogIndex(index),
        term: Term(6),
        kind: EntryKind::Configuration,
        data: Bytes::from(data.clone()),
    };
    let entries: Vec<_> = changes.iter().zip(6..).map(entry).collect();
    if !entries.is_empty() {
        let commit = LogIndex(5 + commit);
        let state = HardState { term: Term(6), vote: ReplicaId(0), commit };
        log.write(&[LogEdit::HardState { group: GROUP, state }]).unwrap();
        log.write(&[LogEdit::Append { group: GROUP, entries }]).unwrap();
    }
    log.sync().unwrap();
    Arc::new(log)
}

fn restore(log: &Arc<MemoryLog>, configuration: Configuration, applied: u64) -> Replica {
    let log = Arc::clone(log) as Arc<dyn Log>;
    Replica::restore(options(SELF, 0), log, configuration, LogIndex(applied)).unwrap()
}

/// Writes what there is, and returns what was committed. Nothing is applied.
fn write(log: &MemoryLog, replica: &mut Replica) -> Vec<Entry> {
    let mut committed = Vec::new();
    while let Some(ready) = replica.ready().unwrap() {
        if ready.must_sync {
            log.write(&ready.edits).unwrap();
            log.sync().unwrap();
        }
        committed.extend(ready.committed);
        committed.extend(replica.advance(ready.number).unwrap().committed);
    }
    committed
}

/// A sole voter that leads and has applied the entry that began its term, 6.
fn sole_leader() -> (Arc<MemoryLog>, Replica) {
    let log = log_with(&[], 0);
    let mut replica = restore(&log, voters(&[1]), 5);
    replica.campaign();
    assert_eq!(write(&log, &mut replica).len(), 1);
    replica.applied(LogIndex(6));
    (log, replica)
}

#[test]
fn nobody_hears_that_a_change_is_committed_before_the_disk_knows() {
    let (log, mut replica) = sole_leader();
    replica.propose_configuration(&add(2)).unwrap();
    write(&log, &mut replica);
    replica.apply_configuration(LogIndex(7), &voters(&[1]).after(&add(2)).unwrap());
    write(&log, &mut replica);
    let answer = message(MessageType::MsgAppendResponse, 2, 1);
    replica.step(envelope(&eraftpb::Message { index: 7, ..answer })).unwrap();
    write(&log, &mut replica);
    replica.propose_configuration(&add(3)).unwrap();
    let ready = replica.ready().unwrap().unwrap();
    log.write(&ready.edits).unwrap();
    let advanced = replica.advance(ready.number).unwrap();
    assert_eq!(advanced.committed.last().unwrap().index, LogIndex(8));
    assert!(advanced.messages.is_empty(), "{:?}", advanced.messages);
    assert!(!replica.status().configuration_settled);

    let ready = replica.ready().unwrap().unwrap();
    let state = HardState { term: Term(6), vote: SELF, commit: LogIndex(8) };
    assert_eq!(ready.edits, [LogEdit::HardState { group: GROUP, state }]);
    assert!(ready.must_sync && ready.messages.is_empty());
    let told = ready
        .messages_after_sync
        .iter()
        .map(|message| eraftpb::Message::decode(message.bytes.slice(2..)).unwrap().commit);
    assert_eq!(told.max(), Some(8));
}

#[test]
fn a_follower_tells_that_a_change_is_committed_once_the_disk_knows() {
    let log = log_with(&[change(0, &[4], &[])], 0);
    let mut replica = restore(&log, voters(&[1, 2, 3]), 5);
    let heartbeat = message(MessageType::MsgHeartbeat, 2, 1);
    replica.step(envelope(&eraftpb::Message { commit: 6, ..heartbeat.clone() })).unwrap();
    let ready = replica.ready().unwrap().unwrap();
    let state = HardState { term: Term(6), vote: ReplicaId(0), commit: LogIndex(6) };
    assert_eq!(ready.edits, [LogEdit::HardState { group: GROUP, state }]);
    assert!(ready.must_sync && ready.messages.is_empty());
    assert_eq!(ready.messages_after_sync[0].kind(), "heartbeat-response");
    log.write(&ready.edits).unwrap();
    replica.advance(ready.number).unwrap();

    // It is written once.
    replica.step(envelope(&eraftpb::Message { commit: 6, ..heartbeat })).unwrap();
    assert!(!replica.ready().unwrap().unwrap().must_sync);
}

#[test]
fn a_committed_change_that_is_not_applied_keeps_from_campaigning() {
    let log = log_with(&[change(0, &[4], &[])], 1);
    let mut replica = restore(&log, voters(&[1, 2, 3]), 5);
    replica.campaign();
    assert_eq!(replica.status().role, Role::Follower);
    assert_eq!(write(&log, &mut replica).len(), 1);
    replica.campaign();
    assert_eq!(replica.status().role, Role::Follower);
    replica.apply_configuration(LogIndex(6), &voters(&[1, 2, 3]).after(&add(4)).unwrap());
    replica.campaign();
    assert_eq!(replica.status().role, Role::PreCandidate);
}

#[test]
fn a_replica_begins_in_a_joint_configuration_and_leaves_it() {
    let exchange = ConfigurationChange::Exchange {
        promote: BTreeSet::new(),
        remove: BTreeSet::from([ReplicaId(2)]),
    };
    let joint = voters(&[1, 2]).after(&exchange).unwrap();
    let log = log_with(&[change(3, &[], &[])], 1);
    let mut replica = restore(&log, joint.clone(), 5);
    write(&log, &mut replica);
    replica.apply_configuration(LogIndex(6), &voters(&[1]));
    assert_eq!(*replica.configuration(), voters(&[1]));
    replica.campaign();
    assert!(replica.leading(), "alone");
}

#[test]
fn an_impossible_change_changes_nothing() {
    let log = log_with(&[change(3, &[], &[]), change(0, &[3], &[])], 2);
    let mut replica = restore(&log, voters(&[1]), 5);
    write(&log, &mut replica);
    replica.apply_configuration(LogIndex(6), &voters(&[1]));
    let next = voters(&[1]).after(&add(3)).unwrap();
    replica.apply_configuration(LogIndex(7), &next);
    assert_eq!(*replica.configuration(), next);
    assert_eq!(replica.status().applied_to, LogIndex(7));
}

#[test]
fn only_what_fits_is_proposed_and_one_at_a_time() {
    let (log, mut replica) = sole_leader();
    let leave = ConfigurationChange::LeaveJoint;
    let error = replica.propose_configuration(&leave).unwrap_err();
    assert_eq!(error, ProposeError::Impossible(ImpossibleChange::NotJoint));
    assert_eq!(replica.propose_configuration(&add(2)), Ok(LogIndex(7)));
    assert_eq!(replica.propose_configuration(&add(3)), Err(ProposeError::ConfigurationPending));
    write(&log, &mut replica);
    assert_eq!(replica.propose_configuration(&add(3)), Err(ProposeError::ConfigurationPending));
    replica.apply_configuration(LogIndex(7), &voters(&[1]).after(&add(2)).unwrap());
    assert_eq!(replica.propose_configuration(&add(3)), Ok(LogIndex(8)));
}

#[test]
fn a_report_between_ready_and_advance_counts_after_it() {
    let (log, mut replica) = sole_leader();
    replica.propose_configuration(&add(2)).unwrap();
    write(&log, &mut replica);
    replica.propose(Bytes::from_static(b"a")).unwrap();
    let ready = replica.ready().unwrap().unwrap();
    let next = voters(&[1]).after(&add(2)).unwrap();
    replica.apply_configuration(LogIndex(7), &next);
    assert_eq!(*replica.configuration(), voters(&[1]));
    log.write(&ready.edits).unwrap();
    replica.advance(ready.number).unwrap();
    assert_eq!(*replica.configuration(), next);
}

#[test]
fn a_change_compacted_before_it_was_reported_is_made_all_the_same() {
    let (log, mut replica) = sole_leader();
    replica.propose_configuration(&add(2)).unwrap();
    write(&log, &mut replica);
    // The applier was faster than its report.
    log.write(&[LogEdit::Compact { group: GROUP, index: LogIndex(7) }]).unwrap();
    replica.tick();
    let next = voters(&[1]).after(&add(2)).unwrap();
    assert_eq!(*replica.configuration(), next);
    replica.apply_configuration(LogIndex(7), &next);
    replica.applied(LogIndex(7));
    assert_eq!(replica.status().applied_to, LogIndex(7));
}

#[test]
#[should_panic(expected = "the change at 7 was not reported")]
fn a_change_that_is_not_reported_is_a_bug_of_the_caller() {
    let (log, mut replica) = sole_leader();
    replica.propose_configuration(&add(2)).unwrap();
    write(&log, &mut replica);
    replica.applied(LogIndex(7));
}
