//! Changes of the cluster as the meta group's log holds them, and the state as it goes from node to node.
//!
//! The first byte chooses what the rest is: a change, a state, or changes to be applied, one per line.

#![no_main]

use bytes::Bytes;
use flin_fuzz::memory;
use flin_state::cluster::{Change, ClusterState, apply_cluster};
use flin_state::command::{Committed, Content};
use flin_state::engine::WriteBatch;
use flin_state::ids::{LogIndex, Term};
use flin_state::keys::GroupState;
use flin_state::membership::Configuration;
use libfuzzer_sys::fuzz_target;

/// The smallest element of a list of members or moves is some bytes of JSON.
const BYTES_PER_BYTE: usize = 256;
const BYTES_ALWAYS: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let [kind, bytes @ ..] = data else { return };
    let bound = bytes.len() * BYTES_PER_BYTE + BYTES_ALWAYS;
    match kind % 3 {
        0 => {
            if let Ok(change) = memory::within(bound, || Change::decode(bytes)) {
                let encoded = change.encode();
                assert_eq!(Change::decode(&encoded), Ok(change));
                assert!(Change::decode(&encoded[..encoded.len() - 1]).is_err());
            }
        }
        1 => {
            if let Ok(state) = memory::within(bound, || ClusterState::from_json(bytes)) {
                let again = ClusterState::from_json(&state.to_json());
                assert_eq!(again.expect("it was just written"), state);
            }
        }
        _ => story(bytes),
    }
});

/// Applies the changes from nothing: each takes effect whole or leaves no trace.
fn story(bytes: &[u8]) {
    let mut group = GroupState::initial(Configuration::default());
    let mut cluster = None;
    for (line, at) in bytes.split(|byte| *byte == b'\n').zip(6..) {
        let Ok(change) = Change::decode(&[&[1], line].concat()) else { continue };
        let before = cluster.clone();
        let command = Content::Command(change);
        let entry = Committed { index: LogIndex(at), term: Term(6), content: command };
        let mut batch = WriteBatch::default();
        let answers = apply_cluster(&mut group, &mut cluster, &[entry], &mut batch);
        let revision = |state: &Option<ClusterState>| state.as_ref().map_or(0, |s| s.revision);
        let changed = cluster != before;
        assert_eq!(revision(&cluster), revision(&before) + u64::from(changed));
        assert!(answers.iter().all(Result::is_ok) || !changed);
        assert_eq!(group.applied, LogIndex(at));
        // The state is written exactly if it changed; the group's record always.
        assert_eq!(batch.edits.len(), 1 + usize::from(changed));
        if let Some(state) = &cluster {
            let again = ClusterState::from_json(&Bytes::from(state.to_json()));
            assert_eq!(again.expect("it was just written"), *state);
        }
    }
}
