//! Commands applied to a partition: the same state and replies however the entries are cut into runs, an
//! engine whose keys and indexes agree, and reads that see exactly what is there.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use bytes::Bytes;
use flin_engine::memory::MemoryEngine;
use flin_fuzz::input::Input;
use flin_state::apply::{Apply, apply_partition};
use flin_state::command::{Command, Committed, Content};
use flin_state::engine::{Engine, Reader, WriteBatch};
use flin_state::ids::{GroupId, Term, Timestamp};
use flin_state::keys::{EngineKey, GroupState, Record, group_range, hash_of};
use flin_state::membership::Configuration;
use flin_state::operation::{
    Condition, ExpireCondition, Expiry, Moment, Read, Reply, TtlUnit, Write,
};
use flin_state::read::{ReadOutcome, read_partition};
use libfuzzer_sys::fuzz_target;

const GROUP: GroupId = GroupId(7);
/// Beyond this an input says nothing new, and takes long.
const COMMANDS_MAX: usize = 32;

const KEYS: [&[u8]; 8] = [b"", b"a", b"b", b"b\0", b"c", b"\xFF\xFF", b"{a}", b"\0"];
const VALUES: [&[u8]; 8] =
    [b"", b"0", b"41", b"-7", b"007", b"9223372036854775807", b"-9223372036854775808", b"hello"];

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let commands = commands(&mut input);
    let alone = Partition::default();
    let (alone, replies) = commands.iter().fold((alone, Vec::new()), |(mut one, mut all), it| {
        all.extend(one.apply_all(std::slice::from_ref(it)));
        (one, all)
    });
    let mut together = Partition::default();
    assert_eq!(together.apply_all(&commands), replies);
    assert_eq!(together.state, alone.state);
    assert_eq!(together.pairs(), alone.pairs());
    let there = alone.check();
    read(together, there, Timestamp(input.word() % 512));
});

#[derive(Debug)]
struct Partition {
    engine: MemoryEngine,
    state: GroupState,
}

impl Default for Partition {
    fn default() -> Self {
        let state = GroupState::initial(Configuration::default());
        Partition { engine: MemoryEngine::new(), state }
    }
}

impl Partition {
    /// Applies commands in as few runs as their size allows, as a node does.
    fn apply_all(&mut self, commands: &[Command]) -> Vec<Vec<Reply>> {
        let mut replies = Vec::new();
        let mut rest = commands.iter().cloned().peekable();
        while rest.peek().is_some() {
            let mut batch = WriteBatch::default();
            let mut next = self.state.applied;
            let mut run = Apply::begin(&self.engine, GROUP, &mut self.state);
            while !run.is_full()
                && let Some(command) = rest.next()
            {
                next = next.next();
                let content = Content::Command(command);
                let entry = Committed { index: next, term: Term(6), content };
                replies.push(run.entry(entry).expect("memory does not fail"));
            }
            run.finish(&mut batch);
            self.engine.write(batch).expect("memory does not fail");
        }
        replies
    }

    fn pairs(&self) -> Vec<(Bytes, Bytes)> {
        let (from, to) = group_range(GROUP);
        let mut pairs = Vec::new();
        let visit = &mut |key: &[u8], value: &[u8]| {
            pairs.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            ControlFlow::Continue(())
        };
        self.engine.scan(&from, &to, visit).expect("memory does not fail");
        pairs
    }

    /// Checks that every pair is what the layout says, and returns the records.
    fn check(&self) -> BTreeMap<Bytes, Record> {
        let (mut records, mut hashes, mut moments) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        for (engine_key, value) in self.pairs() {
            let (group, key) = EngineKey::parse(&engine_key).expect("only keys of the layout");
            assert_eq!(group, GROUP);
            match key {
                EngineKey::Cluster => panic!("a partition holds no cluster"),
                EngineKey::Data(user) => {
                    let record = Record::parse(&value).expect("only records of the layout");
                    records.insert(Bytes::copy_from_slice(user), record);
                }
                EngineKey::Hash(hash, user) => {
                    assert_eq!((hash, value.len()), (hash_of(user), 0));
                    hashes.insert(Bytes::copy_from_slice(user));
                }
                EngineKey::Meta => assert_eq!(GroupState::decode(value).as_ref(), Ok(&self.state)),
                EngineKey::Expiry(moment, user) => {
                    assert!(value.is_empty());
                    moments.push((Bytes::copy_from_slice(user), moment));
                }
            }
        }
        moments.sort_unstable();
        assert!(records.keys().eq(&hashes));
        let expiring = records.iter().filter_map(|(key, it)| Some((key.clone(), it.expires?)));
        assert!(expiring.eq(moments));
        assert_eq!(self.state.keys, records.len() as u64);
        records
    }
}

/// Asks everything about the partition at `later` than its own time, and compares with `records`.
fn read(mut partition: Partition, records: BTreeMap<Bytes, Record>, later: Timestamp) {
    let now = partition.state.last_time.plus_ms(later.0);
    let there: BTreeMap<Bytes, Record> =
        records.into_iter().filter(|(_, record)| !record.is_due(now)).collect();
    let ask = &mut |read: Read| partition.ask(now, &read);
    assert_eq!(ask(Read::Count), Reply::Int(there.len() as i64));
    for key in KEYS.map(Bytes::from_static) {
        let record = there.get(&key);
        let value = record.map(|record| record.value.clone());
        assert_eq!(ask(Read::Get { key: key.clone() }), Reply::of_value(value));
        let ttl = Read::Ttl { key: key.clone(), unit: TtlUnit::Milliseconds, absolute: true };
        let moment = match record {
            None => -2,
            Some(record) => record.expires.map_or(-1, |at| at.0 as i64),
        };
        assert_eq!(ask(ttl), Reply::Int(moment));
        let exists = Read::Exists { keys: vec![key.clone(), key] };
        assert_eq!(ask(exists), Reply::Int(2 * i64::from(record.is_some())));
    }
    for count in [1, 3] {
        assert_eq!(walked_by_hash(ask, count), there.keys().cloned().collect::<Vec<_>>());
        let pairs = there.iter().map(|(key, record)| (key.clone(), record.value.clone()));
        assert_eq!(walked_in_order(ask, count), pairs.collect::<Vec<_>>());
    }
}

impl Partition {
    /// The answer to a read, with the expiry that has to come before it.
    fn ask(&mut self, now: Timestamp, read: &Read) -> Reply {
        let answer = |it: &Partition| {
            let outcome = read_partition(&it.engine, GROUP, &it.state, now, read);
            outcome.expect("memory does not fail")
        };
        if let ReadOutcome::Reply(reply) = answer(self) {
            return reply;
        }
        let writes = vec![Write::ExpireDue { limit: 1_000 }];
        let command = Content::Command(Command { stamp: now, writes });
        let index = self.state.applied.next();
        let entry = Committed { index, term: Term(6), content: command };
        let mut batch = WriteBatch::default();
        let (state, engine) = (&mut self.state, &self.engine);
        apply_partition(engine, GROUP, state, [entry], &mut batch).expect("memory does not fail");
        self.engine.write(batch).expect("memory does not fail");
        match answer(self) {
            ReadOutcome::Reply(reply) => reply,
            ReadOutcome::ExpireFirst => panic!("{read:?} is not answered after the expiry"),
        }
    }
}

fn walked_by_hash(ask: &mut impl FnMut(Read) -> Reply, count: u32) -> Vec<Bytes> {
    let (mut keys, mut position) = (Vec::new(), Some(0));
    while let Some(from) = position {
        match ask(Read::ScanByHash { position: from, count, pattern: None }) {
            Reply::Keys(page) => {
                assert!(page.next.is_none_or(|next| next > from), "a walk goes on");
                keys.extend(page.keys);
                position = page.next;
            }
            other => panic!("{other:?} is no page of keys"),
        }
    }
    keys.sort_unstable();
    keys
}

fn walked_in_order(ask: &mut impl FnMut(Read) -> Reply, limit: u32) -> Vec<(Bytes, Bytes)> {
    let (mut pairs, mut next) = (Vec::new(), Some(Bytes::new()));
    while let Some(from) = next {
        match ask(Read::ScanRange { from: from.clone(), to: None, limit }) {
            Reply::Pairs(page) => {
                assert!(page.next.as_ref().is_none_or(|next| *next > from), "a walk goes on");
                pairs.extend(page.pairs);
                next = page.next;
            }
            other => panic!("{other:?} is no page of pairs"),
        }
    }
    pairs
}

/// Commands over few keys and moments, so that they meet; stamps mostly grow and sometimes go back.
fn commands(input: &mut Input<'_>) -> Vec<Command> {
    let (mut commands, mut now) = (Vec::new(), 100_u64);
    while !input.is_empty() && commands.len() < COMMANDS_MAX {
        now = (now + input.below(64) as u64).saturating_sub(8);
        let writes = (0..input.below(6)).map(|_| write(input)).collect();
        commands.push(Command { stamp: Timestamp(now), writes });
    }
    commands
}

fn write(input: &mut Input<'_>) -> Write {
    match input.below(16) {
        0 => Write::Atomic((0..input.below(5)).map(|_| single_write(input)).collect()),
        1 => Write::Atomic(vec![Write::Atomic(vec![single_write(input)])]),
        _ => single_write(input),
    }
}

fn single_write(input: &mut Input<'_>) -> Write {
    match input.below(16) {
        0..4 => {
            let (key, value, expiry) = (key(input), value(input), expiry(input));
            let conditions = [Condition::Always, Condition::IfAbsent, Condition::IfPresent];
            let (condition, return_old) = (*input.choose(&conditions), input.flag());
            Write::Set { key, value, expiry, condition, return_old }
        }
        4 => {
            let pairs = (0..input.below(4)).map(|_| (key(input), value(input)));
            Write::SetMany { pairs: pairs.collect() }
        }
        5 => Write::GetDel { key: key(input) },
        6 => Write::GetEx { key: key(input), expiry: expiry(input) },
        7 => Write::Delete { keys: (0..input.below(4)).map(|_| key(input)).collect() },
        8 => Write::Increment { key: key(input), by: input.signed() },
        9 => Write::Append { key: key(input), value: value(input) },
        10 => {
            // Far beyond every limit, or near enough to be fast.
            let far = [i64::MIN, -1, i64::MAX, 1 << 40];
            let offset = match input.byte() {
                near @ 0..=250 => i64::from(near % 16),
                other => far[usize::from(other) % far.len()],
            };
            Write::SetRange { key: key(input), offset, value: value(input) }
        }
        11 | 12 => {
            let at = match input.flag() {
                true => Moment::At(moment(input)),
                false => Moment::In(moment(input)),
            };
            use ExpireCondition::{Always, Gt, Lt, Nx, Xx, XxLt};
            let condition = *input.choose(&[Always, Nx, Xx, Gt, Lt, XxLt]);
            Write::Expire { key: key(input), at, condition }
        }
        13 => Write::Persist { key: key(input) },
        14 => {
            let maybe = |input: &mut Input<'_>| input.flag().then(|| value(input));
            let (expected, value) = (maybe(input), maybe(input));
            Write::CompareAndSet { key: key(input), expected, value }
        }
        _ if input.flag() => Write::Flush,
        _ => Write::ExpireDue { limit: input.below(4) as u32 },
    }
}

fn key(input: &mut Input<'_>) -> Bytes {
    Bytes::from_static(KEYS[input.below(KEYS.len())])
}

fn value(input: &mut Input<'_>) -> Bytes {
    match input.byte() {
        known @ 0..=223 => Bytes::from_static(VALUES[usize::from(known) % VALUES.len()]),
        _ => Bytes::copy_from_slice(input.bytes(24)),
    }
}

fn moment(input: &mut Input<'_>) -> i64 {
    match input.byte() {
        near @ 0..=239 => i64::from(near) * 2 - 8,
        _ => input.signed(),
    }
}

fn expiry(input: &mut Input<'_>) -> Expiry {
    match input.below(4) {
        0 => Expiry::None,
        1 => Expiry::Keep,
        2 => Expiry::In(moment(input)),
        _ => Expiry::At(moment(input)),
    }
}
