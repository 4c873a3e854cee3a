//! A group's own record: how far it has applied, with whom, at what time, and how much it holds.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::codec::{Decoder, Malformed, put_varint};
use crate::engine::{Edit, EngineError, Reader, Result, WriteBatch};
use crate::ids::{GroupId, LogIndex, NodeId, ReplicaId, Term, Timestamp};
use crate::keys::EngineKey;
use crate::log::{INITIAL_INDEX, INITIAL_TERM};
use crate::membership::Configuration;

/// The version of the record that this build writes and reads.
const VERSION: u8 = 1;

/// What a group remembers of itself. It is written in the batch of the effects it describes, so that
/// after a crash both are there or neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// The last entry applied.
    pub applied: LogIndex,
    /// Its term.
    pub applied_term: Term,
    /// The members as of that entry.
    pub configuration: Configuration,
    /// The latest moment that a command was applied at.
    pub last_time: Timestamp,
    /// The number of records in the data space, those included whose time has come and that nobody has
    /// removed yet.
    pub keys: u64,
}

impl GroupState {
    /// A group that has applied nothing, with its first members.
    pub fn initial(configuration: Configuration) -> Self {
        GroupState {
            applied: INITIAL_INDEX,
            applied_term: INITIAL_TERM,
            configuration,
            last_time: Timestamp(0),
            keys: 0,
        }
    }

    /// A replica that joins a group: it knows nothing before its first snapshot.
    pub fn blank() -> Self {
        GroupState {
            applied: LogIndex(0),
            applied_term: Term(0),
            ..GroupState::initial(Configuration::default())
        }
    }

    /// What `reader` holds of `group`; `None` if it was never written.
    ///
    /// # Errors
    /// Those of the reader, and a record that this build cannot read.
    pub fn load(reader: &dyn Reader, group: GroupId) -> Result<Option<GroupState>> {
        let Some(bytes) = reader.get(&GroupState::key(group))? else { return Ok(None) };
        let state = GroupState::decode(bytes).map_err(|error| {
            EngineError::new(format!("read the record of group {group}"), error)
        })?;
        Ok(Some(state))
    }

    /// The engine key of the record.
    pub fn key(group: GroupId) -> Bytes {
        EngineKey::Meta.to_bytes(group)
    }

    /// Adds the record to `out`.
    pub fn save(&self, group: GroupId, out: &mut WriteBatch) {
        out.edits.push(Edit::Put { key: GroupState::key(group), value: self.encode() });
    }

    /// The persisted form.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        out.push(VERSION);
        for number in [self.applied.0, self.applied_term.0, self.last_time.0, self.keys] {
            put_varint(&mut out, number);
        }
        let configuration = &self.configuration;
        put_replicas(&mut out, &configuration.voters);
        put_replicas(&mut out, &configuration.learners);
        put_replicas(&mut out, &configuration.voters_outgoing);
        put_replicas(&mut out, &configuration.learners_next);
        out.push(u8::from(configuration.auto_leave));
        put_varint(&mut out, configuration.nodes.len() as u64);
        for (replica, node) in &configuration.nodes {
            put_varint(&mut out, replica.0);
            put_varint(&mut out, node.0);
        }
        Bytes::from(out)
    }

    /// The inverse of [`GroupState::encode`].
    ///
    /// # Errors
    /// [`Malformed`] for anything that it does not produce, and for a later version.
    pub fn decode(bytes: Bytes) -> std::result::Result<GroupState, Malformed> {
        let mut input = Decoder::new(bytes);
        input.version(VERSION)?;
        let applied = LogIndex(input.varint()?);
        let applied_term = Term(input.varint()?);
        let last_time = Timestamp(input.varint()?);
        let keys = input.varint()?;
        let configuration = Configuration {
            voters: take_replicas(&mut input)?,
            learners: take_replicas(&mut input)?,
            voters_outgoing: take_replicas(&mut input)?,
            learners_next: take_replicas(&mut input)?,
            auto_leave: input.flag()?,
            nodes: input
                .items(|input| Ok((ReplicaId(input.varint()?), NodeId(input.varint()?))))?
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        };
        input.end()?;
        Ok(GroupState { applied, applied_term, configuration, last_time, keys })
    }
}

fn put_replicas(out: &mut Vec<u8>, replicas: &BTreeSet<ReplicaId>) {
    put_varint(out, replicas.len() as u64);
    replicas.iter().for_each(|replica| put_varint(out, replica.0));
}

fn take_replicas(input: &mut Decoder) -> std::result::Result<BTreeSet<ReplicaId>, Malformed> {
    Ok(input.items(|input| Ok(ReplicaId(input.varint()?)))?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replicas() -> impl Strategy<Value = BTreeSet<ReplicaId>> {
        prop::collection::btree_set(any::<u64>().prop_map(ReplicaId), 0..5)
    }

    prop_compose! {
        fn states()(
            numbers: [u64; 4],
            voters in replicas(),
            learners in replicas(),
            voters_outgoing in replicas(),
            learners_next in replicas(),
            auto_leave: bool,
            nodes in prop::collection::btree_map(
                any::<u64>().prop_map(ReplicaId), any::<u64>().prop_map(NodeId), 0..5),
        ) -> GroupState {
            GroupState {
                applied: LogIndex(numbers[0]),
                applied_term: Term(numbers[1]),
                last_time: Timestamp(numbers[2]),
                keys: numbers[3],
                configuration: Configuration {
                    voters, learners, voters_outgoing, learners_next, auto_leave, nodes,
                },
            }
        }
    }

    proptest! {
        #[test]
        fn group_states_round_trip(state in states()) {
            prop_assert_eq!(GroupState::decode(state.encode()), Ok(state));
        }

        #[test]
        fn a_cut_group_state_is_refused(state in states(), cut in any::<prop::sample::Index>()) {
            let bytes = state.encode();
            prop_assert!(GroupState::decode(bytes.slice(..cut.index(bytes.len()))).is_err());
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes: Vec<u8>) {
            let _ = GroupState::decode(bytes.into());
        }
    }
}
