//! The log as a replica uses it, in memory and on a real disk.

use flin_engine::disk::{MemoryDisk, RealDisk};
use flin_engine::log::{LogOptions, SharedLog};
use flin_state::ids::{GroupId, LogIndex, ReplicaId, Term};
use flin_state::log::{GroupRecord, HardState, Log, LogEdit, LogError};

use crate::model::{Model, all_entries, append, compact, create, entry, open};

const GROUP: GroupId = GroupId(1);

fn log_of_ten() -> SharedLog<MemoryDisk> {
    let log = open(&MemoryDisk::new()).expect("open");
    let entries = (6..16).map(|index| entry(index, 6, vec![index as u8; 100])).collect();
    log.write(&[create(1), append(1, entries)]).expect("write");
    log
}

#[test]
fn unknown_group_is_an_empty_log() {
    let log = open(&MemoryDisk::new()).expect("open");
    assert!(log.groups().is_empty());
    assert_eq!(log.hard_state(GROUP), HardState::default());
    assert_eq!((log.first_index(GROUP), log.last_index(GROUP)), (LogIndex(1), LogIndex(0)));
    assert_eq!(log.term(GROUP, LogIndex(0)).expect("the base"), Term(0));
}

#[test]
fn new_group_begins_after_its_base() {
    let log = open(&MemoryDisk::new()).expect("open");
    log.write(&[create(1)]).expect("write");
    assert_eq!(log.groups(), [(GROUP, GroupRecord::Hosted(ReplicaId(1)))]);
    assert_eq!((log.first_index(GROUP), log.last_index(GROUP)), (LogIndex(6), LogIndex(5)));
    assert_eq!(log.term(GROUP, LogIndex(5)).expect("the base"), Term(5));
    let expected = HardState { term: Term(5), vote: ReplicaId(0), commit: LogIndex(5) };
    assert_eq!(log.hard_state(GROUP), expected);
}

#[test]
fn entries_are_cut_at_the_bytes_asked_for_but_one_always_comes() {
    let log = log_of_ten();
    let count = |bytes_max| {
        let entries = log.entries(GROUP, LogIndex(6), LogIndex(16), bytes_max);
        entries.expect("read").len()
    };
    assert_eq!(count(0), 1);
    assert_eq!(count(100), 1);
    assert_eq!(count(250), 2);
    assert_eq!(count(u64::MAX), 10);
    assert!(log.entries(GROUP, LogIndex(8), LogIndex(8), 1).expect("read").is_empty());
}

#[test]
fn range_outside_the_log_says_on_which_side() {
    let log = log_of_ten();
    log.write(&[compact(1, 8)]).expect("write");
    let read = |from, to| log.entries(GROUP, LogIndex(from), LogIndex(to), u64::MAX);
    assert!(matches!(read(8, 10), Err(LogError::Compacted { first: LogIndex(9), .. })));
    assert!(matches!(read(9, 17), Err(LogError::Unavailable { last: LogIndex(15), .. })));
    assert_eq!(read(9, 16).expect("inside").len(), 7);
    assert_eq!(log.term(GROUP, LogIndex(8)).expect("the base"), Term(6));
    assert!(matches!(log.term(GROUP, LogIndex(7)), Err(LogError::Compacted { .. })));
    assert!(matches!(log.term(GROUP, LogIndex(16)), Err(LogError::Unavailable { .. })));
}

#[test]
fn refused_edit_leaves_no_trace_of_the_whole_write() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1)]).expect("write");
    let before = (Model::of(&log).expect("read"), disk.operations());
    let gap = append(1, vec![entry(9, 6, b"nine".to_vec())]);
    let good = append(1, vec![entry(6, 6, b"six".to_vec())]);
    let refused = log.write(&[create(2), good.clone(), gap]).expect_err("a gap");
    assert!(matches!(refused, LogError::Refused(_)), "{refused:?}");
    assert_eq!((Model::of(&log).expect("read"), disk.operations()), before);
    log.write(&[create(2), good]).expect("the log is still usable");
}

#[test]
fn edits_of_one_write_build_on_each_other() {
    let log = open(&MemoryDisk::new()).expect("open");
    let edits = [
        create(1),
        append(1, vec![entry(6, 6, b"a".to_vec()), entry(7, 6, b"b".to_vec())]),
        append(1, vec![entry(7, 8, b"c".to_vec()), entry(8, 8, b"d".to_vec())]),
        compact(1, 7),
    ];
    log.write(&edits).expect("write");
    assert_eq!(all_entries(&log, 1).expect("read"), [entry(8, 8, b"d".to_vec())]);
    assert_eq!(log.term(GROUP, LogIndex(7)).expect("the base"), Term(8));
}

#[test]
fn record_longer_than_a_segment_gets_a_segment_of_its_own() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1)]).expect("write");
    log.write(&[append(1, vec![entry(6, 6, vec![7; 100_000])])]).expect("write");
    log.write(&[append(1, vec![entry(7, 6, vec![8; 10])])]).expect("write");
    log.sync().expect("sync");
    let before = Model::of(&log).expect("read");
    let log = open(&disk).expect("open");
    assert_eq!(Model::of(&log).expect("read"), before);
}

#[test]
fn removed_replica_stays_removed_after_opening() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1)]).expect("write");
    log.write(&[LogEdit::Remove { group: GROUP, replica: ReplicaId(1) }]).expect("write");
    log.sync().expect("sync");
    let log = open(&disk).expect("open");
    assert_eq!(log.groups(), [(GROUP, GroupRecord::Removed(ReplicaId(1)))]);
    assert!(matches!(log.write(&[create(1)]), Err(LogError::Refused(_))));
}

#[test]
fn impossible_options_are_refused_by_name() {
    let disk = MemoryDisk::new();
    let dir = crate::model::log_dir();
    let tiny = LogOptions { segment_bytes: 1, ..LogOptions::default() };
    let error = SharedLog::open(disk.clone(), &dir, tiny).expect_err("too small");
    assert!(error.to_string().contains("log segments of 1 bytes"), "{error}");
    let tight = LogOptions { budget_bytes: 16 << 20, ..LogOptions::default() };
    let error = SharedLog::open(disk, &dir, tight).expect_err("too tight");
    assert!(error.to_string().contains("log budget"), "{error}");
}

#[test]
fn log_on_a_real_disk_survives_closing_and_reuses_its_segments() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    let options = LogOptions {
        segment_bytes: 64 << 10,
        budget_bytes: 512 << 10,
        cache_bytes: 16 << 10,
        prefill: true,
    };
    let log = SharedLog::open(RealDisk, &path, options.clone()).expect("open");
    log.write(&[create(1), create(2)]).expect("write");
    for index in 6..1_500 {
        let edits = [1, 2].map(|group| {
            let byte = index as u8 ^ group as u8;
            append(group, vec![entry(index, 6, vec![byte; 700])])
        });
        log.write(&edits).expect("write");
        if index % 50 == 0 {
            log.sync().expect("sync");
            log.write(&[compact(1, index - 40), compact(2, index - 40)]).expect("write");
            log.reclaim().expect("reclaim");
        }
    }
    log.sync().expect("sync");
    assert!(log.size_bytes() <= options.budget_bytes, "{} bytes", log.size_bytes());
    let before = Model::of(&log).expect("read");
    drop(log);
    let log = SharedLog::open(RealDisk, &path, options).expect("open again");
    assert_eq!(Model::of(&log).expect("read"), before);
}
