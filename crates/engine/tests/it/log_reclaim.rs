//! The log gives its space back, whatever some group holds on to, and loses nothing doing so.

use flin_engine::disk::{Crash, MemoryDisk};
use flin_engine::log::SharedLog;
use flin_state::ids::GroupId;
use flin_state::log::{Log, LogError};

use crate::model::{Model, all_entries, append, compact, create, entry, open, small_options};

fn cold_and_hot(log: &SharedLog<MemoryDisk>, rounds: u64) -> Result<(), LogError> {
    log.write(&[create(1), append(1, vec![entry(6, 6, b"cold".to_vec())])])?;
    log.write(&[create(2)])?;
    for round in 0..rounds {
        log.write(&[append(2, vec![entry(6 + round, 6, vec![round as u8; 500])])])?;
        if round % 8 == 7 {
            log.write(&[compact(2, round)])?;
        }
    }
    Ok(())
}

#[test]
fn cold_group_does_not_pin_the_log() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    cold_and_hot(&log, 400).expect("write");
    assert!(log.size_bytes() > 40 * 4_096, "nothing was reclaimed yet");
    log.reclaim().expect("reclaim");
    assert!(log.size_bytes() <= small_options().budget_bytes, "{} bytes", log.size_bytes());
    let cold = [entry(6, 6, b"cold".to_vec())];
    assert_eq!(all_entries(&log, 1).expect("read"), cold);
    let before = Model::of(&log).expect("read");
    disk.crash(Crash::LoseUnsynced);
    let log = open(&disk).expect("open");
    assert_eq!(Model::of(&log).expect("read"), before);
}

#[test]
fn log_stays_within_its_budget_for_ever() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    cold_and_hot(&log, 8).expect("write");
    for round in 8..2_000 {
        log.write(&[append(2, vec![entry(6 + round, 6, vec![round as u8; 500])])]).expect("write");
        log.write(&[compact(2, round)]).expect("write");
        if round % 20 == 0 {
            log.reclaim().expect("reclaim");
            let bytes = log.size_bytes();
            assert!(bytes <= small_options().budget_bytes, "{bytes} bytes after {round} rounds");
        }
    }
    assert_eq!(all_entries(&log, 1).expect("read").len(), 1);
}

#[test]
fn log_full_of_live_entries_is_left_alone() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1)]).expect("write");
    for index in 6..100 {
        log.write(&[append(1, vec![entry(index, 6, vec![1; 500])])]).expect("write");
    }
    let bytes = log.size_bytes();
    log.reclaim().expect("there is nothing to reclaim, which is no error");
    assert_eq!(log.size_bytes(), bytes);
}

#[test]
fn reclaim_interrupted_anywhere_loses_nothing() {
    for (operations, seed) in (0..).zip(1..) {
        let disk = MemoryDisk::new();
        let log = open(&disk).expect("open");
        cold_and_hot(&log, 100).expect("write");
        log.sync().expect("sync");
        let before = Model::of(&log).expect("read");
        disk.halt_after(operations);
        let result = log.reclaim();
        let finished = !disk.is_halted();
        for how in [Crash::Torn { seed }, Crash::LoseUnsynced] {
            disk.crash(how);
            let log = open(&disk).unwrap_or_else(|e| panic!("after {operations} steps: {e}"));
            assert_eq!(Model::of(&log).expect("read"), before, "after {operations} steps");
        }
        if finished {
            result.expect("nothing interrupted it");
            assert!(operations > 10, "the test reached only {operations} steps");
            break;
        }
    }
}

#[test]
fn segment_that_was_being_retired_is_not_reused_under_its_old_name() {
    for reclaiming in 0..40 {
        for opening in 0..12 {
            let disk = MemoryDisk::new();
            let log = open(&disk).expect("open");
            cold_and_hot(&log, 30).expect("write");
            log.write(&[compact(1, 6), compact(2, 35)]).expect("write");
            log.sync().expect("sync");
            let before = Model::of(&log).expect("read");
            disk.halt_after(reclaiming);
            // Interrupted or not, its names may not be durable yet when the process is killed.
            let _ = log.reclaim();
            disk.crash(Crash::Kill);
            disk.halt_after(opening);
            let _ = open(&disk);
            disk.crash(Crash::LoseUnsynced);
            let log = open(&disk).unwrap_or_else(|e| panic!("{reclaiming}, {opening}: {e}"));
            assert_eq!(Model::of(&log).expect("read"), before, "{reclaiming}, {opening}");
        }
    }
}

#[test]
fn reader_of_a_segment_that_retires_still_reads_it() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    cold_and_hot(&log, 8).expect("write");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..3_000 {
                let first = log.first_index(GroupId(2));
                let end = log.last_index(GroupId(2)).next();
                match log.entries(GroupId(2), first, end, u64::MAX) {
                    Ok(entries) => {
                        let good =
                            entries.iter().all(|e| e.data[..] == [(e.index.0 - 6) as u8; 500]);
                        assert!(good, "an entry of another time");
                    }
                    Err(LogError::Compacted { .. }) => {}
                    Err(error) => panic!("{error}: {error:?}"),
                }
            }
        });
        for round in 8..1_500 {
            let entries = vec![entry(6 + round, 6, vec![round as u8; 500])];
            log.write(&[append(2, entries), compact(2, round)]).expect("write");
            if round % 8 == 0 {
                log.reclaim().expect("reclaim");
            }
        }
        reader.join().expect("the reader read what was written");
    });
}
