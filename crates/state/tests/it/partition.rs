//! A partition under test: a sorted map as its engine, and the record of the group beside it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use flin_state::apply::Apply;
use flin_state::command::{Command, Committed, Content};
use flin_state::engine::{Edit, Reader, Result, Visit, WriteBatch};
use flin_state::ids::{GroupId, NodeId, ReplicaId, Term, Timestamp};
use flin_state::keys::{EngineKey, GroupState, Record, hash_of};
use flin_state::membership::Configuration;
use flin_state::operation::{Read, Reply, Write};
use flin_state::read::{ReadOutcome, read_partition};

/// The group that all tests use; its neighbours hold a key each that must stay.
pub const GROUP: GroupId = GroupId(7);

/// Sorted pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store(pub BTreeMap<Vec<u8>, Bytes>);

impl Store {
    pub fn write(&mut self, batch: WriteBatch) {
        for edit in batch.edits {
            match edit {
                Edit::Put { key, value } => drop(self.0.insert(key.to_vec(), value)),
                Edit::Delete { key } => drop(self.0.remove(&key[..])),
                Edit::DeleteRange { from, to } => {
                    assert!(from < to);
                    self.0.retain(|key, _| key[..] < from[..] || key[..] >= to[..]);
                }
            }
        }
    }
}

impl Reader for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<()> {
        for (key, value) in self.0.range(from.to_vec()..to.to_vec()) {
            if let ControlFlow::Break(()) = visit(key, value) {
                break;
            }
        }
        Ok(())
    }
}

pub struct Partition {
    pub store: Store,
    pub state: GroupState,
}

impl Default for Partition {
    fn default() -> Self {
        let mut store = Store::default();
        for neighbour in [GroupId(6), GroupId(8)] {
            let key = EngineKey::Data(b"neighbour").to_bytes(neighbour);
            store.0.insert(key.to_vec(), Bytes::from_static(b"\x01untouched"));
        }
        let configuration = Configuration::of_voters([(ReplicaId(1), NodeId(1))]);
        Partition { store, state: GroupState::initial(configuration) }
    }
}

impl Partition {
    /// Applies commands as one run.
    pub fn run(&mut self, commands: impl IntoIterator<Item = Command>) -> Vec<Vec<Reply>> {
        let contents = commands.into_iter().map(Content::Command);
        self.run_contents(contents.collect())
    }

    pub fn run_contents(&mut self, contents: Vec<Content<Command>>) -> Vec<Vec<Reply>> {
        let mut index = self.state.applied;
        let mut apply = Apply::begin(&self.store, GROUP, &mut self.state);
        let mut replies = Vec::new();
        for content in contents {
            index = index.next();
            let entry = Committed { index, term: Term(6), content };
            replies.push(apply.entry(entry).expect("the store does not fail"));
        }
        let mut batch = WriteBatch::default();
        apply.finish(&mut batch);
        self.store.write(batch);
        assert_eq!(self.state.applied, index);
        let loaded = GroupState::load(&self.store, GROUP).expect("readable");
        assert_eq!(loaded.as_ref(), Some(&self.state));
        replies
    }

    /// Applies one write at `stamp`.
    pub fn write(&mut self, stamp: u64, write: Write) -> Reply {
        let command = Command { stamp: Timestamp(stamp), writes: vec![write] };
        self.run([command]).remove(0).remove(0)
    }

    pub fn try_read(&self, now: u64, read: &Read) -> ReadOutcome {
        read_partition(&self.store, GROUP, &self.state, Timestamp(now), read)
            .expect("the store does not fail")
    }

    /// Reads as a node does: expires first where it has to.
    pub fn read(&mut self, now: u64, read: &Read) -> Reply {
        if let ReadOutcome::Reply(reply) = self.try_read(now, read) {
            return reply;
        }
        self.write(now, Write::ExpireDue { limit: 1 });
        match self.try_read(now, read) {
            ReadOutcome::Reply(reply) => reply,
            ReadOutcome::ExpireFirst => panic!("{read:?} at {now} answers after one expiry"),
        }
    }

    /// The records by user key, after a check that indexes and count agree with them exactly.
    pub fn records(&self) -> BTreeMap<Vec<u8>, Record> {
        let (mut records, mut hashes, mut expiries) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (engine_key, value) in &self.store.0 {
            match EngineKey::parse(engine_key).expect("a key of the layout") {
                (GROUP, EngineKey::Data(key)) => {
                    records.insert(key.to_vec(), Record::parse(value).expect("a record"));
                }
                (GROUP, EngineKey::Hash(hash, key)) => hashes.push((hash, key.to_vec())),
                (GROUP, EngineKey::Expiry(at, key)) => expiries.push((at, key.to_vec())),
                (GROUP, EngineKey::Meta) => {}
                (_, EngineKey::Data(b"neighbour")) => {}
                other => panic!("{other:?} does not belong here"),
            }
        }
        let mut expected: Vec<_> = records.keys().map(|key| (hash_of(key), key.clone())).collect();
        expected.sort();
        assert_eq!(hashes, expected);
        let moment = |(key, record): (&Vec<u8>, &Record)| Some((record.expires?, key.clone()));
        let mut expected: Vec<_> = records.iter().filter_map(moment).collect();
        expected.sort();
        assert_eq!(expiries, expected);
        assert_eq!(self.state.keys, records.len() as u64);
        records
    }
}
