//! The log under crashes: after each one it holds what some prefix of the writes made of it, and
//! everything that a sync had promised.

use flin_engine::disk::{Crash, MemoryDisk};
use flin_engine::log::SharedLog;
use flin_state::log::{Log, LogError};
use proptest::prelude::*;

use crate::model::{Chance, Model, all_entries, append, create, entry, open};

/// A log, the disk under it, and what it may hold after a crash.
struct World {
    disk: MemoryDisk,
    log: SharedLog<MemoryDisk>,
    /// What each write since the last sync made of it; the first is durable.
    history: Vec<Model>,
    chance: Chance,
}

impl World {
    fn new(seed: u64) -> World {
        let disk = MemoryDisk::new();
        let log = open(&disk).expect("open a new log");
        World { disk, log, history: vec![Model::default()], chance: Chance(seed) }
    }

    fn now(&self) -> &Model {
        self.history.last().expect("never empty")
    }

    /// Does one thing; if the disk stops in the middle of it, the power fails.
    fn act(&mut self, action: u8) {
        let result = match action {
            0..10 => self.write(),
            10..13 => self.log.sync().map(|()| self.all_durable()),
            13 => self.log.reclaim().map(|()| self.all_durable()),
            14 => {
                let operations = self.chance.below(12);
                self.disk.halt_after(operations);
                Ok(())
            }
            15 => {
                self.crash();
                Ok(())
            }
            _ => {
                let held = Model::of(&self.log).expect("read everything");
                assert_eq!(&held, self.now(), "what readers see");
                Ok(())
            }
        };
        if let Err(error) = result {
            assert!(self.disk.is_halted(), "unexpected error: {error}");
            self.crash();
        }
    }

    fn write(&mut self) -> Result<(), LogError> {
        let mut model = self.now().clone();
        let edits = self.chance.edits(&mut model);
        // A write that fails may have reached the disk or not.
        self.history.push(model);
        self.log.write(&edits)
    }

    fn all_durable(&mut self) {
        self.history.drain(..self.history.len() - 1);
    }

    fn crash(&mut self) {
        let how = match self.chance.below(4) {
            0 => Crash::Kill,
            1 => Crash::LoseUnsynced,
            _ => Crash::Torn { seed: self.chance.next() },
        };
        let was_halted = self.disk.is_halted();
        self.disk.crash(how);
        if self.chance.below(3) == 0 {
            // Opening is interrupted as well, perhaps several times.
            let operations = self.chance.below(12);
            self.disk.halt_after(operations);
        }
        match open(&self.disk) {
            Ok(log) => {
                self.log = log;
                // Opened just in time, the disk may still be about to halt.
                let held = match Model::of(&self.log) {
                    Err(_) if self.disk.is_halted() => return self.crash(),
                    held => held.expect("read everything"),
                };
                let floor =
                    if how == Crash::Kill && !was_halted { self.history.len() - 1 } else { 0 };
                let known = self.history[floor..].contains(&held);
                assert!(known, "after {how:?} the log holds\n{held:#?}\nof {:#?}", self.history);
                self.history = vec![held];
            }
            Err(error) => {
                assert!(self.disk.is_halted(), "opening after {how:?}: {error}");
                self.crash();
            }
        }
    }
}

proptest! {
    #[test]
    fn after_any_crash_the_log_holds_a_prefix_with_everything_synced(
        seed: u64,
        actions in prop::collection::vec(0_u8..17, 1..120),
    ) {
        let mut world = World::new(seed);
        for action in actions {
            world.act(action);
        }
        world.crash();
    }
}

#[test]
fn write_takes_one_operation_and_so_does_sync() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1), create(2)]).expect("write");
    let before = disk.operations();
    let entries = |first| vec![entry(first, 6, vec![1; 20]), entry(first + 1, 6, vec![2; 20])];
    log.write(&[append(1, entries(6)), append(2, entries(6))]).expect("write");
    assert_eq!(disk.operations(), before + 1);
    log.sync().expect("sync");
    assert_eq!(disk.operations(), before + 2);
    log.sync().expect("sync of nothing new");
    assert_eq!(disk.operations(), before + 2);
}

#[test]
fn synced_write_survives_and_a_later_one_does_not() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1), append(1, vec![entry(6, 6, b"six".to_vec())])]).expect("write");
    log.sync().expect("sync");
    log.write(&[append(1, vec![entry(7, 6, b"seven".to_vec())])]).expect("write");
    disk.crash(Crash::LoseUnsynced);
    let log = open(&disk).expect("open after the crash");
    assert_eq!(all_entries(&log, 1).expect("read"), [entry(6, 6, b"six".to_vec())]);
}

#[test]
fn opening_without_writing_leaves_no_trail_of_segments() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1), append(1, vec![entry(6, 6, b"six".to_vec())])]).expect("write");
    log.sync().expect("sync");
    for _ in 0..10 {
        disk.crash(Crash::LoseUnsynced);
        let log = open(&disk).expect("open again");
        assert_eq!(all_entries(&log, 1).expect("read").len(), 1);
        assert!(log.size_bytes() <= 2 * 4_096, "{} bytes", log.size_bytes());
    }
}

#[test]
fn cut_tail_does_not_come_back_behind_new_records() {
    // Two records are lost and kept in turn; what follows the cut must never be read again, even
    // though later records have the same length and place.
    for seed in 0..200 {
        let disk = MemoryDisk::new();
        let log = open(&disk).expect("open");
        log.write(&[create(1)]).expect("write");
        log.sync().expect("sync");
        for index in 6..9 {
            log.write(&[append(1, vec![entry(index, 6, vec![b'x'; 600])])]).expect("write");
        }
        disk.crash(Crash::Torn { seed });
        let log = open(&disk).expect("open");
        let kept = log.last_index(flin_state::ids::GroupId(1)).0;
        let next = kept + 1;
        log.write(&[append(1, vec![entry(next, 7, vec![b'y'; 600])])]).expect("write");
        log.sync().expect("sync");
        disk.crash(Crash::Torn { seed: !seed });
        let log = open(&disk).expect("open");
        let entries = all_entries(&log, 1).expect("read");
        let last = entries.last().expect("there is one");
        assert_eq!((last.index.0, last.term.0), (next, 7), "seed {seed}");
    }
}
