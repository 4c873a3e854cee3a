//! Messages between replicas, the heads of snapshots in them, and changes of a configuration: any bytes are
//! understood or refused, and a head is read back as it was written.
//!
//! The first byte chooses what the rest is.

#![no_main]

use bytes::Bytes;
use flin_fuzz::input::Input;
use flin_fuzz::memory;
use flin_fuzz::raft::{RaftMessage, kind};
use flin_replica::{Message, SnapshotHead, configuration_change, snapshot_message};
use flin_state::ids::{GroupId, LogIndex, NodeId, ReplicaId, Term};
use flin_state::membership::Configuration;
use libfuzzer_sys::fuzz_target;

const GROUP: GroupId = GroupId(1);
/// Lists double their room as they grow, and an entry of no data is two bytes on the wire.
const BYTES_PER_BYTE: usize = 256;
const BYTES_ALWAYS: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let [choice, bytes @ ..] = data else { return };
    match choice % 3 {
        0 => raw(bytes),
        1 => change(bytes),
        _ => head(&mut Input::new(bytes)),
    }
});

/// An envelope of any bytes.
fn raw(bytes: &[u8]) {
    let (from, to) = (ReplicaId(1), ReplicaId(2));
    let message = Message { group: GROUP, from, to, bytes: Bytes::copy_from_slice(bytes) };
    let bound = bytes.len() * BYTES_PER_BYTE + BYTES_ALWAYS;
    let head = memory::within(bound, || message.snapshot_head());
    assert!(!message.kind().is_empty());
    if let Ok(head) = head {
        assert!(message.is_snapshot() && message.kind() == "snapshot");
        rewritten(&message, &head);
    }
}

/// A snapshot message whose configuration is any bytes.
fn head(input: &mut Input<'_>) {
    let (index, term) = (input.number(), input.number());
    let (sent_term, data) = (input.number(), input.rest().to_vec());
    let snapshot = Some((index, term, data));
    let kind = kind::SNAPSHOT;
    let message =
        RaftMessage { kind, from: 1, to: 2, term: sent_term, snapshot, ..Default::default() };
    let message = message.seal(GROUP);
    if let Ok(head) = message.snapshot_head() {
        assert_eq!((head.index, head.term), (LogIndex(index), Term(term)));
        rewritten(&message, &head);
    }
}

/// The same announcement with another head reads back as that one; an older head is refused.
fn rewritten(message: &Message, head: &SnapshotHead) {
    let again = snapshot_message(message, head).expect("its own head");
    assert_eq!(again.snapshot_head().as_ref(), Ok(head));
    let configuration = Configuration::of_voters([(ReplicaId(1), NodeId(1))]);
    let other =
        |index| SnapshotHead { index, term: head.term, configuration: configuration.clone() };
    let newer = other(LogIndex(head.index.0.saturating_add(1)));
    let again = snapshot_message(message, &newer).expect("a newer head");
    assert_eq!(again.snapshot_head(), Ok(newer));
    assert!(snapshot_message(message, &other(LogIndex(head.index.0 - 1))).is_err());
}

/// What an entry says about the configuration, as whoever applies it reads it.
fn change(bytes: &[u8]) {
    let data = Bytes::copy_from_slice(bytes);
    let bound = bytes.len() * BYTES_PER_BYTE + BYTES_ALWAYS;
    let Ok(change) = memory::within(bound, || configuration_change(&data)) else { return };
    let mut configuration =
        Configuration::of_voters([1, 2, 3].map(|id| (ReplicaId(id), NodeId(id))));
    for _ in 0..2 {
        if let Ok(next) = configuration.after(&change) {
            assert_ne!(next, configuration, "a change that is possible changes something");
            assert!(!next.voters.is_empty());
            configuration = next;
        }
    }
}
