//! Random histories: the partition does what the model does, however its log is cut into runs.

use bytes::Bytes;
use flin_state::command::Command;
use flin_state::ids::Timestamp;
use flin_state::operation::{Read, Reply, Write};
use flin_state::read::ReadOutcome;
use proptest::prelude::*;

use crate::model::Model;
use crate::partition::Partition;
use crate::strategies::{commands, key, read, single_write};

/// Replies as the model can know them: how many keys an `ExpireDue` finds is looked at elsewhere.
fn comparable(write: &Write, reply: &Reply) -> Reply {
    match (write, reply) {
        (Write::ExpireDue { .. }, Reply::Int(_)) => Reply::Int(0),
        (Write::Atomic(writes), Reply::Array(replies)) => {
            assert_eq!(writes.len(), replies.len());
            Reply::Array(writes.iter().zip(replies).map(|(w, r)| comparable(w, r)).collect())
        }
        _ => reply.clone(),
    }
}

fn page_through(partition: &mut Partition, now: u64, count: u32) -> Vec<Bytes> {
    let (mut position, mut keys) = (0, Vec::new());
    loop {
        let read = Read::ScanByHash { position, count, pattern: None };
        let Reply::Keys(page) = partition.read(now, &read) else { panic!("no page") };
        keys.extend(page.keys);
        match page.next {
            Some(next) => {
                assert!(next > position);
                position = next;
            }
            None => return keys,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_partition_does_what_the_model_does(
        commands in commands(), cuts in prop::collection::vec(1..6_usize, 20),
    ) {
        let (mut partition, mut model) = (Partition::default(), Model::default());
        let mut cuts = cuts.into_iter().cycle();
        let mut rest = &commands[..];
        while !rest.is_empty() {
            let (run, after) = rest.split_at(cuts.next().expect("endless").min(rest.len()));
            rest = after;
            let decoded = run.iter().map(|c| Command::decode(c.encode()).expect("decodes"));
            let answers = partition.run(decoded);
            for (command, replies) in run.iter().zip(answers) {
                prop_assert_eq!(command.writes.len(), replies.len());
                // Time goes on even where a command holds no write.
                model.now = model.now.max(command.stamp.0 as i64);
                for (write, reply) in command.writes.iter().zip(replies) {
                    let expected = model.write(command.stamp.0 as i64, write);
                    prop_assert_eq!(comparable(write, &reply), expected, "{:?}", write);
                }
            }
            let now = partition.state.last_time;
            let mut there = partition.records();
            there.retain(|_, record| !record.is_due(now));
            let live = model.live_keys();
            prop_assert_eq!(there.keys().cloned().collect::<Vec<_>>(), live);
            for (key, record) in there {
                let (value, at) = &model.keys[&key];
                prop_assert_eq!(&record.value[..], &value[..]);
                prop_assert_eq!(record.expires, at.map(|at| Timestamp(at as u64)));
            }
        }
        let neighbours = partition.store.0.values().filter(|value| value.ends_with(b"untouched"));
        prop_assert_eq!(neighbours.count(), 2);
    }

    #[test]
    fn how_the_log_is_cut_into_runs_changes_nothing(commands in commands()) {
        let (mut whole, mut single) = (Partition::default(), Partition::default());
        let together = whole.run(commands.clone());
        let apart: Vec<_> =
            commands.into_iter().flat_map(|command| single.run([command])).collect();
        prop_assert_eq!(together, apart);
        prop_assert_eq!(whole.store, single.store);
        prop_assert_eq!(whole.state, single.state);
    }

    #[test]
    fn reads_answer_what_the_model_answers(
        commands in commands(), reads in prop::collection::vec((0..40_i64, read()), 1..8),
    ) {
        let (mut partition, mut model) = (Partition::default(), Model::default());
        for command in &commands {
            model.now = model.now.max(command.stamp.0 as i64);
            command.writes.iter().for_each(|w| drop(model.write(command.stamp.0 as i64, w)));
        }
        partition.run(commands);
        let mut now = model.now;
        for (step, read) in reads {
            now += step - 10;
            let reply = partition.read(now.unsigned_abs(), &read);
            // What was once answered as expired stays so, even for a clock that is behind.
            model.now = model.now.max(partition.state.last_time.0 as i64);
            prop_assert_eq!(reply, model.read(now, &read), "{:?} at {}", read, now);
            model.now = partition.state.last_time.0 as i64;
        }
    }

    #[test]
    fn pages_together_hold_every_key_once(
        commands in commands(), step in 0..60_u64, count in 0..4_u32, limit in 0..4_u32,
    ) {
        let mut partition = Partition::default();
        let mut model = Model::default();
        for command in &commands {
            model.now = model.now.max(command.stamp.0 as i64);
            command.writes.iter().for_each(|w| drop(model.write(command.stamp.0 as i64, w)));
        }
        partition.run(commands);
        let now = partition.state.last_time.0 + step;
        model.now = now as i64;
        let mut keys = page_through(&mut partition, now, count);
        keys.sort();
        prop_assert_eq!(&keys, &model.live_keys());

        let (mut from, mut pairs) = (Bytes::new(), Vec::new());
        loop {
            let read = Read::ScanRange { from: from.clone(), to: None, limit };
            let Reply::Pairs(page) = partition.read(now, &read) else { panic!("no page") };
            prop_assert!(page.pairs.len() <= limit.max(1) as usize);
            pairs.extend(page.pairs);
            let Some(next) = page.next else { break };
            from = next;
        }
        let expected = model.live_keys().into_iter().map(|key| {
            let value = model.keys[&key].0.clone();
            (Bytes::from(key), Bytes::from(value))
        });
        prop_assert_eq!(pairs, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_key_that_stays_is_met_by_a_scan_whatever_is_written_meanwhile(
        stays in key(), others in prop::collection::vec(single_write(), 1..30),
    ) {
        let mut partition = Partition::default();
        partition.write(1, Write::set(stays.clone(), "here"));
        for other in 0..20 {
            partition.write(1, Write::set(format!("other{other}"), "x"));
        }
        let (mut position, mut met, mut others) = (0, 0, others.into_iter());
        loop {
            let read = Read::ScanByHash { position, count: 2, pattern: None };
            let Reply::Keys(page) = partition.read(1, &read) else { panic!("no page") };
            met += page.keys.iter().filter(|key| **key == stays).count();
            if let Some(write) = others.next().filter(|write| *write != Write::Flush) {
                partition.write(1, write);
                partition.write(1, Write::set(stays.clone(), "still here"));
            }
            let Some(next) = page.next else { break };
            position = next;
        }
        prop_assert_eq!(met, 1);
    }

    #[test]
    fn expiring_in_small_steps_removes_exactly_what_is_due_earliest_first(
        lives in prop::collection::vec(1..50_i64, 1..12), at in 0..60_u64, limit in 1..4_u32,
    ) {
        let mut partition = Partition::default();
        for (number, life) in lives.iter().enumerate() {
            let mut write = Write::set(format!("k{number}"), "x");
            if let Write::Set { expiry, .. } = &mut write {
                *expiry = flin_state::operation::Expiry::In(*life);
            }
            partition.write(0, write);
        }
        let mut due = lives.iter().filter(|life| **life as u64 <= at).count() as i64;
        while due > 0 {
            let removed = due.min(i64::from(limit));
            prop_assert_eq!(partition.write(at, Write::ExpireDue { limit }), Reply::Int(removed));
            due -= removed;
            let records = partition.records();
            let left = records.values().filter(|record| record.is_due(Timestamp(at))).count();
            prop_assert_eq!(left as i64, due);
        }
        prop_assert_eq!(partition.write(at, Write::ExpireDue { limit }), Reply::Int(0));
    }

    #[test]
    fn a_read_never_answers_an_expiry_that_only_the_reader_knows(
        commands in commands(), step in 0..60_u64, read in read(),
    ) {
        let mut partition = Partition::default();
        partition.run(commands);
        let last_time = partition.state.last_time.0;
        let early = partition.try_read(last_time, &read);
        prop_assert_ne!(&early, &ReadOutcome::ExpireFirst);
        // Without an expiry between, an answer later says no less is there than one before.
        if let (ReadOutcome::Reply(Reply::Nil), ReadOutcome::Reply(late)) =
            (early, partition.try_read(last_time + step, &read))
        {
            prop_assert_eq!(late, Reply::Nil);
        }
    }
}
