//! What an entry of kind [`flin_state::log::EntryKind::Configuration`] carries.
//!
//! raft-rs must be able to read such an entry when it is proposed, so its data is raft's own message, a
//! `ConfChangeV2` (Protocol Buffers). The truth is in that message's context, an envelope of ours; what
//! raft makes of the change follows from it and is only compared:
//!
//! ```text
//! 0   version, 1
//! 1   kind: 1 add a learner, 2 remove a learner, 3 exchange, 4 leave the joint configuration
//! 2   1: the replica, the node   2: the replica   3: how many to promote, each, how many to remove, each
//! ```
//! Numbers are 8 bytes, big-endian; the replicas of an exchange ascend. Persisted: keep it stable.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes};
use flin_state::ids::{NodeId, ReplicaId};
use flin_state::membership::ConfigurationChange;
use prost::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};

use crate::error::Malformed;

const VERSION: u8 = 1;
const ADD_LEARNER: u8 = 1;
const REMOVE_LEARNER: u8 = 2;
const EXCHANGE: u8 = 3;
const LEAVE_JOINT: u8 = 4;
const NUMBER_BYTES: usize = 8;

/// What the data of an entry of [`flin_state::log::EntryKind::Configuration`] says; for whoever applies it.
///
/// # Errors
/// [`Malformed::Change`] for an unknown version or kind, and when raft would make something else of the
/// entry. It cannot be applied, and the node must not go on without it.
pub fn configuration_change(data: &Bytes) -> Result<ConfigurationChange, Malformed> {
    decode(data)
}

pub(crate) fn decode(data: &[u8]) -> Result<ConfigurationChange, Malformed> {
    let raft = ConfChangeV2::decode(data).map_err(|error| Malformed::Change(error.to_string()))?;
    let change = open(&raft.context).map_err(|what| Malformed::Change(what.to_owned()))?;
    if raft != to_raft(&change) {
        return Err(Malformed::Change("raft would make something else of it".to_owned()));
    }
    Ok(change)
}

/// The change as raft wants to see it, with our envelope as its context.
///
/// Only an exchange is joint, and explicitly: raft then never leaves the configuration by itself. Leaving
/// it is the change without changes.
pub(crate) fn to_raft(change: &ConfigurationChange) -> ConfChangeV2 {
    let single = |kind: ConfChangeType, replica: &ReplicaId| ConfChangeSingle {
        change_type: kind as i32,
        node_id: replica.0,
    };
    let (transition, changes) = match change {
        ConfigurationChange::AddLearner { replica, .. } => {
            (ConfChangeTransition::Auto, vec![single(ConfChangeType::AddLearnerNode, replica)])
        }
        ConfigurationChange::RemoveLearner { replica } => {
            (ConfChangeTransition::Auto, vec![single(ConfChangeType::RemoveNode, replica)])
        }
        ConfigurationChange::Exchange { promote, remove } => {
            let promoted = promote.iter().map(|replica| single(ConfChangeType::AddNode, replica));
            let removed = remove.iter().map(|replica| single(ConfChangeType::RemoveNode, replica));
            (ConfChangeTransition::Explicit, promoted.chain(removed).collect())
        }
        ConfigurationChange::LeaveJoint => (ConfChangeTransition::Auto, Vec::new()),
    };
    ConfChangeV2 { transition: transition as i32, changes, context: seal(change) }
}

fn seal(change: &ConfigurationChange) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    match change {
        ConfigurationChange::AddLearner { replica, node } => {
            bytes.put_u8(ADD_LEARNER);
            bytes.put_u64(replica.0);
            bytes.put_u64(node.0);
        }
        ConfigurationChange::RemoveLearner { replica } => {
            bytes.put_u8(REMOVE_LEARNER);
            bytes.put_u64(replica.0);
        }
        ConfigurationChange::Exchange { promote, remove } => {
            bytes.put_u8(EXCHANGE);
            for replicas in [promote, remove] {
                bytes.put_u64(replicas.len() as u64);
                replicas.iter().for_each(|replica| bytes.put_u64(replica.0));
            }
        }
        ConfigurationChange::LeaveJoint => bytes.put_u8(LEAVE_JOINT),
    }
    bytes
}

fn open(mut bytes: &[u8]) -> Result<ConfigurationChange, &'static str> {
    match byte(&mut bytes)? {
        VERSION => {}
        _ => return Err("it is of a version that this node does not know"),
    }
    let change = match byte(&mut bytes)? {
        ADD_LEARNER => {
            let (replica, node) = (ReplicaId(number(&mut bytes)?), NodeId(number(&mut bytes)?));
            ConfigurationChange::AddLearner { replica, node }
        }
        REMOVE_LEARNER => {
            ConfigurationChange::RemoveLearner { replica: ReplicaId(number(&mut bytes)?) }
        }
        EXCHANGE => {
            let (promote, remove) = (replicas(&mut bytes)?, replicas(&mut bytes)?);
            ConfigurationChange::Exchange { promote, remove }
        }
        LEAVE_JOINT => ConfigurationChange::LeaveJoint,
        _ => return Err("it is of a kind that this node does not know"),
    };
    if bytes.is_empty() { Ok(change) } else { Err("it goes on after its end") }
}

fn byte(bytes: &mut &[u8]) -> Result<u8, &'static str> {
    if bytes.is_empty() { Err("it ends too early") } else { Ok(bytes.get_u8()) }
}

fn number(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    if bytes.len() < NUMBER_BYTES { Err("it ends too early") } else { Ok(bytes.get_u64()) }
}

fn replicas(bytes: &mut &[u8]) -> Result<BTreeSet<ReplicaId>, &'static str> {
    let count = number(bytes)?;
    let mut replicas = BTreeSet::new();
    for _ in 0..count {
        let replica = ReplicaId(number(bytes)?);
        if replicas.last().is_some_and(|last| *last >= replica) {
            return Err("its replicas do not ascend");
        }
        replicas.insert(replica);
    }
    Ok(replicas)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<ReplicaId> {
        ids.iter().copied().map(ReplicaId).collect()
    }

    fn every_kind() -> [ConfigurationChange; 6] {
        [
            ConfigurationChange::AddLearner { replica: ReplicaId(7), node: NodeId(4) },
            ConfigurationChange::RemoveLearner { replica: ReplicaId(7) },
            ConfigurationChange::Exchange { promote: ids(&[7, 8]), remove: ids(&[1, 2]) },
            ConfigurationChange::Exchange { promote: ids(&[7]), remove: ids(&[]) },
            ConfigurationChange::Exchange { promote: ids(&[]), remove: ids(&[3]) },
            ConfigurationChange::LeaveJoint,
        ]
    }

    #[test]
    fn every_change_is_read_as_it_was_written() {
        for change in every_kind() {
            let data = Bytes::from(to_raft(&change).encode_to_vec());
            assert_eq!(configuration_change(&data), Ok(change));
        }
    }

    #[test]
    fn the_bytes_of_a_change_stay_what_they_are() {
        let change = ConfigurationChange::Exchange { promote: ids(&[7]), remove: ids(&[3]) };
        let number = |n: u8| [0, 0, 0, 0, 0, 0, 0, n];
        let envelope = [&[1, 3][..], &number(1), &number(7), &number(1), &number(3)].concat();
        let raft = [&[8, 2, 18, 2, 16, 7, 18, 4, 8, 1, 16, 3, 26, 34][..], &envelope].concat();
        assert_eq!(to_raft(&change).encode_to_vec(), raft);
    }

    #[test]
    fn only_leaving_is_empty_and_nothing_leaves_by_itself() {
        for change in every_kind() {
            let raft = to_raft(&change);
            assert_eq!(raft.leave_joint(), change == ConfigurationChange::LeaveJoint);
            let joint = matches!(change, ConfigurationChange::Exchange { .. });
            assert_eq!(raft.enter_joint(), joint.then_some(false));
        }
    }

    #[test]
    fn an_entry_of_which_raft_would_make_something_else_is_refused() {
        for change in every_kind() {
            for other in every_kind() {
                let mixed = ConfChangeV2 { context: seal(&other), ..to_raft(&change) };
                let read = decode(&mixed.encode_to_vec());
                assert_eq!(read.is_ok(), change == other, "{change:?} with {other:?}");
            }
        }
    }

    #[test]
    fn a_damaged_envelope_is_refused() {
        for change in every_kind() {
            let envelope = seal(&change);
            for length in 0..envelope.len() {
                assert!(open(&envelope[..length]).is_err(), "{change:?} cut to {length}");
            }
            assert!(open(&[&envelope[..], &[0]].concat()).is_err());
            assert!(open(&[&[2], &envelope[1..]].concat()).is_err());
            assert!(open(&[&[1, 9], &envelope[2..]].concat()).is_err());
        }
        let twice = [&[1, 3][..], &2_u64.to_be_bytes(), &7_u64.to_be_bytes(), &7_u64.to_be_bytes()];
        assert!(open(&[&twice.concat()[..], &0_u64.to_be_bytes()].concat()).is_err());
    }
}
