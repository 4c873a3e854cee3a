//! What a single round asks of the caller.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use flin_replica::{ReadIndexError, Replica};
use flin_state::ids::{LogIndex, NodeId, ReplicaId, Term};
use flin_state::log::{Log, LogEdit};
use flin_state::membership::Configuration;
use raft::eraftpb::{self, MessageType};

use crate::cluster::{GROUP, options};
use crate::hostile::{envelope, message};
use crate::memory_log::MemoryLog;

/// A replica that votes alone, with a learner beside it.
fn sole_voter() -> (Arc<MemoryLog>, Replica) {
    let replica = ReplicaId(1);
    let configuration = Configuration {
        voters: BTreeSet::from([replica]),
        learners: BTreeSet::from([ReplicaId(2)]),
        nodes: [(replica, NodeId(1)), (ReplicaId(2), NodeId(2))].into(),
        ..Configuration::default()
    };
    let log = Arc::new(MemoryLog::default());
    let (index, term) = (LogIndex(5), Term(5));
    log.write(&[LogEdit::Create { group: GROUP, replica, index, term }]).unwrap();
    let own = Arc::clone(&log) as Arc<dyn Log>;
    let replica = Replica::restore(options(replica, 0), own, configuration, index).unwrap();
    (log, replica)
}

#[test]
fn a_new_leader_replicates_nothing_before_its_vote_for_itself_is_durable() {
    let (_, mut replica) = sole_voter();
    replica.campaign();
    let ready = replica.ready().unwrap().unwrap();
    assert!(ready.must_sync && ready.messages.is_empty());
    let kinds: Vec<_> = ready.messages_after_sync.iter().map(|message| message.kind()).collect();
    assert_eq!(kinds, ["append"]);
}

#[test]
fn a_leader_replicates_while_it_writes_and_commits_when_it_has_written() {
    let (log, mut replica) = sole_voter();
    replica.campaign();
    let ready = replica.ready().unwrap().unwrap();
    log.write(&ready.edits).unwrap();
    let committed = replica.advance(ready.number).unwrap().committed;
    replica.applied(committed.last().unwrap().index);
    while let Some(ready) = replica.ready().unwrap() {
        assert!(!ready.must_sync && ready.edits.is_empty(), "a commit alone needs no write");
        replica.advance(ready.number).unwrap();
    }

    let index = replica.propose(Bytes::from_static(b"a")).unwrap();
    let ready = replica.ready().unwrap().unwrap();
    assert!(ready.must_sync && ready.messages_after_sync.is_empty() && ready.committed.is_empty());
    let [LogEdit::Append { entries, .. }, LogEdit::HardState { state, .. }] = &ready.edits[..]
    else {
        panic!("an append, and the commit that rides along: {:?}", ready.edits);
    };
    assert_eq!((entries[0].index, state.commit), (index, LogIndex(6)));
    log.write(&ready.edits).unwrap();
    let advanced = replica.advance(ready.number).unwrap();
    assert_eq!(advanced.committed.last().map(|entry| entry.index), Some(index));
}

#[test]
fn contexts_of_reads_ascend() {
    let (log, mut replica) = sole_voter();
    assert_eq!(replica.read_index(1), Err(ReadIndexError::NoLeader));
    replica.campaign();
    assert_eq!(replica.read_index(1), Err(ReadIndexError::TryLater));
    let ready = replica.ready().unwrap().unwrap();
    log.write(&ready.edits).unwrap();
    replica.advance(ready.number).unwrap();
    replica.read_index(1).unwrap();
    assert_eq!(replica.read_index(1), Err(ReadIndexError::ContextReused));
    let reads = replica.ready().unwrap().unwrap().reads;
    assert_eq!((reads.len(), reads[0].context, reads[0].index), (1, 1, LogIndex(6)));
}

#[test]
fn a_log_compacted_before_applied_was_reported_disturbs_nobody() {
    let (log, mut replica) = sole_voter();
    replica.campaign();
    let ready = replica.ready().unwrap().unwrap();
    log.write(&ready.edits).unwrap();
    assert_eq!(replica.advance(ready.number).unwrap().committed.len(), 1);
    // The applier was faster than its report.
    log.write(&[LogEdit::Compact { group: GROUP, index: LogIndex(6) }]).unwrap();
    // A newer leader deposes this one, which then campaigns and looks for what is not applied.
    let heartbeat = message(MessageType::MsgHeartbeat, 3, 1);
    replica.step(envelope(&eraftpb::Message { term: 9, ..heartbeat })).unwrap();
    while let Some(ready) = replica.ready().unwrap() {
        log.write(&ready.edits).unwrap();
        replica.advance(ready.number).unwrap();
    }
    replica.campaign();
    assert!(replica.leading());
    assert_eq!(replica.status().applied_to, LogIndex(6));
}
