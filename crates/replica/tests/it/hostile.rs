//! What the wire can do to a replica: nothing but be dropped with a reason.

use bytes::Bytes;
use flin_replica::{Error, Malformed, Message, StepError, TERM_MAX, snapshot_message};
use flin_state::ids::{GroupId, LogIndex, ReplicaId, Term};
use flin_state::membership::Configuration;
use proptest::prelude::*;
use prost::Message as _;
use raft::eraftpb::{self, ConfChangeSingle, ConfChangeV2, MessageType};

use crate::cluster::{Cluster, Event, GROUP, Parcel, State};

/// A cluster of three in which 1 leads term 6 and everyone has the entries 6 and 7.
fn led() -> Cluster {
    let mut cluster = Cluster::new(3, 0);
    cluster.replica(ReplicaId(1)).campaign();
    settle(&mut cluster);
    cluster.replica(ReplicaId(1)).propose(Bytes::from_static(b"a")).unwrap();
    settle(&mut cluster);
    for _ in 0..2 {
        cluster.replica(ReplicaId(1)).tick();
    }
    settle(&mut cluster);
    assert_eq!(cluster.replica(ReplicaId(3)).status().commit, LogIndex(7));
    cluster
}

fn settle(cluster: &mut Cluster) {
    loop {
        let ids: Vec<_> = cluster.members.keys().copied().collect();
        ids.iter().for_each(|id| drop(cluster.work(*id, None)));
        if cluster.network.is_empty() {
            return;
        }
        for parcel in std::mem::take(&mut cluster.network) {
            let to = parcel.message.to;
            cluster.deliver(parcel).unwrap();
            cluster.work(to, None);
        }
    }
}

pub fn envelope(inner: &eraftpb::Message) -> Message {
    let mut bytes = vec![1, inner.msg_type as u8];
    inner.encode(&mut bytes).unwrap();
    let (from, to) = (ReplicaId(inner.from), ReplicaId(inner.to));
    Message { group: GROUP, from, to, bytes: Bytes::from(bytes) }
}

pub fn message(kind: MessageType, from: u64, to: u64) -> eraftpb::Message {
    eraftpb::Message { msg_type: kind as i32, from, to, term: 6, ..eraftpb::Message::default() }
}

fn step(cluster: &mut Cluster, inner: &eraftpb::Message) -> Result<(), StepError> {
    cluster.replica(ReplicaId(inner.to)).step(envelope(inner))
}

fn impossible(result: Result<(), StepError>) -> bool {
    matches!(result, Err(StepError::Malformed(Malformed::Impossible(_))))
}

#[test]
fn a_message_for_another_group_or_replica_is_dropped() {
    let mut cluster = led();
    let mut other = envelope(&message(MessageType::MsgHeartbeat, 1, 2));
    other.group = GroupId(2);
    let error = cluster.replica(ReplicaId(2)).step(other).unwrap_err();
    assert!(matches!(error, StepError::WrongGroup { found: GroupId(2), own: GROUP }));
    let other = envelope(&message(MessageType::MsgHeartbeat, 1, 9));
    let error = cluster.replica(ReplicaId(2)).step(other).unwrap_err();
    assert!(matches!(error, StepError::WrongReplica { found: ReplicaId(9), .. }));
}

#[test]
fn a_removed_replica_is_not_heard_and_a_newer_one_may_lead() {
    let mut cluster = Cluster::new(0, 0);
    let configuration =
        Configuration::of_voters([4, 6, 8].map(|id| (ReplicaId(id), flin_state::ids::NodeId(id))));
    cluster.add(ReplicaId(6), LogIndex(5), Term(5), configuration);
    let stranger = message(MessageType::MsgRequestVote, 5, 6);
    assert_eq!(step(&mut cluster, &stranger), Err(StepError::Stranger(ReplicaId(5))));
    step(&mut cluster, &message(MessageType::MsgHeartbeat, 9, 6)).unwrap();
    assert_eq!(cluster.replica(ReplicaId(6)).leader(), Some(ReplicaId(9)));
    let answer = message(MessageType::MsgHeartbeatResponse, 9, 6);
    assert_eq!(step(&mut cluster, &answer), Err(StepError::Stranger(ReplicaId(9))));
}

#[test]
fn proposals_transfers_and_local_messages_are_not_taken_from_the_wire() {
    let mut cluster = led();
    for kind in [
        MessageType::MsgHup,
        MessageType::MsgBeat,
        MessageType::MsgPropose,
        MessageType::MsgUnreachable,
        MessageType::MsgSnapStatus,
        MessageType::MsgCheckQuorum,
        MessageType::MsgTransferLeader,
    ] {
        for to in [1, 2] {
            let result = step(&mut cluster, &message(kind, 3, to));
            assert!(matches!(result, Err(StepError::Unwelcome(_))), "{kind:?} {result:?}");
        }
    }
}

#[test]
fn another_version_of_the_envelope_is_named() {
    let mut cluster = led();
    let mut other = envelope(&message(MessageType::MsgHeartbeat, 1, 2));
    let mut bytes = other.bytes.to_vec();
    bytes[0] = 2;
    other.bytes = Bytes::from(bytes);
    let error = cluster.replica(ReplicaId(2)).step(other).unwrap_err();
    assert_eq!(error, StepError::Malformed(Malformed::Version { found: 2, known: 1 }));
    assert_eq!(error.to_string(), "message envelope version 2, this node speaks 1");
}

#[test]
fn a_term_of_zero_or_beyond_all_elections_is_dropped() {
    let mut cluster = led();
    let vote = message(MessageType::MsgRequestVote, 3, 2);
    assert!(impossible(step(&mut cluster, &eraftpb::Message { term: 0, ..vote.clone() })));
    let beyond = TERM_MAX.0 + 1;
    assert!(impossible(step(&mut cluster, &eraftpb::Message { term: beyond, ..vote })));
}

#[test]
fn a_leader_that_committed_beyond_the_log_reveals_lost_entries() {
    let mut cluster = led();
    let heartbeat = message(MessageType::MsgHeartbeat, 1, 2);
    let error = step(&mut cluster, &eraftpb::Message { commit: 9, ..heartbeat }).unwrap_err();
    assert_eq!(error, StepError::LostLog { commit: LogIndex(9), last: LogIndex(7) });
    // Also to the leader of an older term, which would follow it first.
    let newer = eraftpb::Message { term: 7, commit: 9, ..message(MessageType::MsgHeartbeat, 2, 1) };
    assert!(matches!(step(&mut cluster, &newer), Err(StepError::LostLog { .. })));
}

#[test]
fn appends_with_gaps_or_wild_terms_are_dropped() {
    let mut cluster = led();
    let entry = |index, term| eraftpb::Entry { index, term, ..eraftpb::Entry::default() };
    let append = |index, log_term, entries: Vec<eraftpb::Entry>| eraftpb::Message {
        index,
        log_term,
        entries,
        ..message(MessageType::MsgAppend, 1, 2)
    };
    let unknown = eraftpb::Entry { entry_type: 1, ..entry(8, 6) };
    let unreadable = eraftpb::Entry { entry_type: 2, data: vec![1], ..entry(8, 6) };
    for bad in [
        append(100, 0, vec![entry(101, 6)]),
        append(7, 6, vec![entry(9, 6)]),
        append(7, 6, vec![entry(8, 6), entry(8, 6)]),
        append(7, 6, vec![entry(8, 5)]),
        append(7, 6, vec![entry(8, 7)]),
        append(7, 7, vec![]),
        append(u64::MAX, 6, vec![entry(0, 6)]),
        append(7, 6, vec![unknown]),
    ] {
        assert!(impossible(step(&mut cluster, &bad)), "{bad:?}");
    }
    let result = step(&mut cluster, &append(7, 6, vec![unreadable]));
    assert!(matches!(result, Err(StepError::Malformed(Malformed::Change(_)))), "{result:?}");
    let change = eraftpb::Entry { entry_type: 2, data: change(2, &[3], &[1]), ..entry(8, 6) };
    step(&mut cluster, &append(7, 6, vec![change])).unwrap();
}

/// The data of an entry that changes the configuration: adds, removes, exchanges or leaves.
pub fn change(kind: u8, promote: &[u64], remove: &[u64]) -> Vec<u8> {
    let single = |change_type| move |id: &u64| ConfChangeSingle { change_type, node_id: *id };
    let number = |number: u64| number.to_be_bytes();
    let list = |ids: &[u64]| -> Vec<u8> {
        let ids_follow = std::iter::once(ids.len() as u64).chain(ids.iter().copied());
        ids_follow.flat_map(number).collect()
    };
    let (transition, changes, rest) = match kind {
        0 => {
            let id = promote[0];
            (0, vec![single(2)(&id)], [number(id), number(id)].concat())
        }
        1 => (0, vec![single(1)(&remove[0])], number(remove[0]).to_vec()),
        2 => {
            let changes = promote.iter().map(single(0)).chain(remove.iter().map(single(1)));
            (2, changes.collect(), [list(promote), list(remove)].concat())
        }
        _ => (0, Vec::new(), Vec::new()),
    };
    let context = [&[1, kind + 1][..], &rest].concat();
    ConfChangeV2 { transition, changes, context }.encode_to_vec()
}

#[test]
fn an_acknowledgement_of_what_the_leader_does_not_have_is_dropped() {
    let mut cluster = led();
    let answer = message(MessageType::MsgAppendResponse, 2, 1);
    assert!(impossible(step(&mut cluster, &eraftpb::Message { index: 8, ..answer.clone() })));
    let reject = eraftpb::Message { index: 7, reject: true, reject_hint: u64::MAX, ..answer };
    assert!(impossible(step(&mut cluster, &reject)));
}

#[test]
fn a_member_that_knows_more_committed_than_the_leader_has_is_dropped() {
    let mut cluster = led();
    for kind in [MessageType::MsgAppendResponse, MessageType::MsgHeartbeatResponse] {
        let answer = message(kind, 2, 1);
        assert!(impossible(step(&mut cluster, &eraftpb::Message { commit: 8, ..answer.clone() })));
        step(&mut cluster, &eraftpb::Message { commit: 7, ..answer }).unwrap();
    }
}

#[test]
fn an_answer_to_an_earlier_incarnations_read_is_no_answer() {
    let mut cluster = led();
    cluster.replica(ReplicaId(2)).read_index(1).unwrap();
    cluster.work(ReplicaId(2), None);
    let asked: Vec<Parcel> = std::mem::take(&mut cluster.network);
    cluster.crash(ReplicaId(2), 0);
    cluster.start(ReplicaId(2));
    cluster.network = asked;
    let mut reads = 0;
    for _ in 0..4 {
        for parcel in std::mem::take(&mut cluster.network) {
            let to = parcel.message.to;
            cluster.deliver(parcel).unwrap();
            let events = cluster.work(to, None);
            reads += events.iter().filter(|event| matches!(event, Event::Read(_))).count();
        }
    }
    assert_eq!(reads, 0);
}

#[test]
fn a_snapshot_head_is_never_made_older_and_may_be_made_newer() {
    let mut cluster = led();
    let member = cluster.member(ReplicaId(1));
    let (configuration, term) = (member.state.configuration.clone(), member.state.term);
    let head = |index| flin_replica::SnapshotHead {
        index: LogIndex(index),
        term,
        configuration: configuration.clone(),
    };
    let announced = {
        let snapshot = eraftpb::Snapshot {
            data: b"{\"voters\":[1],\"learners\":[],\"voters_outgoing\":[],\"learners_next\":[],\
                    \"auto_leave\":false,\"nodes\":{\"1\":1}}"
                .to_vec(),
            metadata: Some(eraftpb::SnapshotMetadata { index: 7, term: 6, conf_state: None }),
        };
        let snapshot = Some(snapshot);
        envelope(&eraftpb::Message { snapshot, ..message(MessageType::MsgSnapshot, 1, 2) })
    };
    assert!(announced.is_snapshot());
    assert!(snapshot_message(&announced, &head(6)).is_err());
    let newer = snapshot_message(&announced, &head(8)).unwrap();
    assert_eq!(newer.snapshot_head().unwrap(), head(8));
}

#[test]
fn a_configuration_that_raft_cannot_have_is_dropped() {
    let mut cluster = led();
    for data in [
        "{}",
        "{\"voters\":[],\"learners\":[],\"voters_outgoing\":[],\"learners_next\":[],\
         \"auto_leave\":false,\"nodes\":{}}",
        "{\"voters\":[1,2],\"learners\":[2],\"voters_outgoing\":[],\"learners_next\":[],\
         \"auto_leave\":false,\"nodes\":{}}",
        "{\"voters\":[2],\"learners\":[],\"voters_outgoing\":[],\"learners_next\":[3],\
         \"auto_leave\":true,\"nodes\":{}}",
        "{\"voters\":[2],\"learners\":[],\"voters_outgoing\":[3],\"learners_next\":[],\
         \"auto_leave\":true,\"nodes\":{\"2\":2,\"3\":3}}",
        "{\"voters\":[2],\"learners\":[],\"voters_outgoing\":[3],\"learners_next\":[],\
         \"auto_leave\":false,\"nodes\":{\"2\":2}}",
        "{\"voters\":[0,2],\"learners\":[],\"voters_outgoing\":[],\"learners_next\":[],\
         \"auto_leave\":false,\"nodes\":{}}",
    ] {
        let metadata = Some(eraftpb::SnapshotMetadata { index: 9, term: 6, conf_state: None });
        let snapshot = Some(eraftpb::Snapshot { data: data.as_bytes().to_vec(), metadata });
        let bad = eraftpb::Message { snapshot, ..message(MessageType::MsgSnapshot, 1, 2) };
        let result = step(&mut cluster, &bad);
        assert!(matches!(result, Err(StepError::Malformed(_))), "{data} {result:?}");
    }
}

#[test]
fn a_log_that_cannot_be_read_stops_the_replica_before_anything_leaves_it() {
    let mut cluster = led();
    // A follower that lost its place makes the leader read its log.
    let answer = message(MessageType::MsgAppendResponse, 2, 1);
    cluster.replica(ReplicaId(1)).report_unreachable(ReplicaId(2));
    cluster.replica(ReplicaId(1)).propose(Bytes::from_static(b"b")).unwrap();
    cluster.work(ReplicaId(1), None);
    cluster.network.clear();
    cluster.member(ReplicaId(1)).log.fail_reads();
    let reject = eraftpb::Message { index: 7, reject: true, reject_hint: 5, log_term: 5, ..answer };
    step(&mut cluster, &reject).unwrap();
    let leader = cluster.replica(ReplicaId(1));
    assert!(matches!(leader.ready(), Err(Error::Log { .. })));
    assert_eq!(leader.step(envelope(&reject)), Err(StepError::Stopped));
    leader.tick();
    assert!(leader.propose(Bytes::from_static(b"c")).is_err());
    assert!(matches!(leader.ready(), Err(Error::Log { .. })));
}

/// Numbers around those that the replicas of [`led`] know, and wild ones.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..12_u64, 1 => Just(u64::MAX), 1 => Just(u64::MAX - 1), 1 => any::<u64>()]
}

fn any_entry() -> impl Strategy<Value = eraftpb::Entry> {
    let data = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..4),
        prop::collection::vec(any::<u8>(), 24..25)
    ];
    let wild = (0..4_i32, data);
    let ids = || prop::collection::btree_set(1..6_u64, 1..3);
    let change = (0..4_u8, ids(), ids()).prop_map(|(kind, promote, remove)| {
        let list = |ids: std::collections::BTreeSet<u64>| ids.into_iter().collect::<Vec<_>>();
        (2, change(kind, &list(promote), &list(remove)))
    });
    let body = prop_oneof![1 => wild, 2 => change];
    (body, number(), number()).prop_map(|((entry_type, data), term, index)| eraftpb::Entry {
        entry_type,
        term,
        index,
        data,
        ..eraftpb::Entry::default()
    })
}

fn any_snapshot() -> impl Strategy<Value = eraftpb::Snapshot> {
    let id = || prop::collection::vec(0..5_u64, 0..4);
    (id(), id(), id(), id(), prop::bool::weighted(0.1), number(), number()).prop_map(
        |(voters, learners, outgoing, next, leave, index, term)| {
            let nodes: std::collections::BTreeSet<_> =
                [&voters, &learners, &outgoing, &next].into_iter().flatten().collect();
            let nodes: Vec<_> = nodes.into_iter().map(|id| format!("\"{id}\":{id}")).collect();
            let nodes = nodes.join(",");
            let data = format!(
                "{{\"voters\":{voters:?},\"learners\":{learners:?},\"voters_outgoing\":{outgoing:?},\
                 \"learners_next\":{next:?},\"auto_leave\":{leave},\"nodes\":{{{nodes}}}}}"
            );
            let metadata = Some(eraftpb::SnapshotMetadata { index, term, conf_state: None });
            eraftpb::Snapshot { data: data.into_bytes(), metadata }
        },
    )
}

fn any_message() -> impl Strategy<Value = eraftpb::Message> {
    let head = (0..20_i32, 1..5_u64, 1..4_u64, number(), number(), number());
    let body = (
        prop::collection::vec(any_entry(), 0..3),
        number(),
        number(),
        prop::option::weighted(0.2, any_snapshot()),
        any::<bool>(),
        number(),
        prop::collection::vec(any::<u8>(), 0..3),
    );
    (head, body, any::<bool>()).prop_map(|(head, body, straight)| {
        let (msg_type, from, to, term, log_term, index) = head;
        let (mut entries, commit, commit_term, snapshot, reject, reject_hint, context) = body;
        if straight {
            // Entries in a row come further than wild ones.
            for (entry, place) in entries.iter_mut().zip(1..) {
                (entry.index, entry.term) = (index.wrapping_add(place), term);
                entry.entry_type &= 2;
            }
        }
        eraftpb::Message {
            msg_type,
            from,
            to,
            term,
            log_term,
            index,
            entries,
            commit,
            commit_term,
            snapshot,
            reject,
            reject_hint,
            context,
            ..eraftpb::Message::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_message_makes_a_replica_panic(
        messages in prop::collection::vec((any_message(), any::<bool>()), 1..20),
    ) {
        let mut cluster = led();
        for (inner, tick) in messages {
            // Work as a node would, with a made-up state for a made-up snapshot.
            let message = envelope(&inner);
            let state = message.snapshot_head().ok().map(|head| State {
                index: head.index,
                term: head.term,
                configuration: head.configuration,
                commands: Vec::new(),
            });
            let _ = cluster.deliver(Parcel { message, state });
            let replica = cluster.replica(ReplicaId(inner.to));
            if tick {
                replica.tick();
            }
            cluster.work(ReplicaId(inner.to), None);
            cluster.network.clear();
        }
    }

    #[test]
    fn no_bytes_make_a_replica_panic(kind in 0..20_u8, tail in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut cluster = led();
        let bytes = [&[1, kind][..], &tail].concat();
        let (from, to) = (ReplicaId(1), ReplicaId(2));
        let message = Message { group: GROUP, from, to, bytes: Bytes::from(bytes) };
        prop_assert!(cluster.replica(to).step(message).is_err());
    }
}
