//! The log on a disk that lies, fails or fills up.

use std::path::PathBuf;

use flin_engine::disk::{Crash, Disk, MemoryDisk};
use flin_state::ids::GroupId;
use flin_state::log::{Log, LogError};

use crate::model::{all_entries, append, compact, create, entry, log_dir, open};

fn path_of(sequence: u64) -> PathBuf {
    log_dir().join(format!("{sequence:016}.log"))
}

/// A log of three synced entries in its first segment, and where the records of each end.
fn three_entries() -> (MemoryDisk, Vec<usize>) {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    let used = |disk: &MemoryDisk| {
        let bytes = disk.contents(&path_of(1)).expect("the first segment");
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    };
    log.write(&[create(1)]).expect("write");
    log.sync().expect("sync");
    let mut ends = vec![used(&disk)];
    for index in 6..9 {
        log.write(&[append(1, vec![entry(index, 6, vec![index as u8; 21])])]).expect("write");
        log.sync().expect("sync");
        ends.push(used(&disk));
    }
    disk.crash(Crash::LoseUnsynced);
    (disk, ends)
}

#[test]
fn damage_below_what_was_synced_is_corrupt_and_above_it_is_cut() {
    let (pristine, ends) = three_entries();
    let length = pristine.contents(&path_of(1)).expect("the first segment").len();
    for byte in 0..ends[3].next_multiple_of(8) + 16 {
        let (disk, _) = three_entries();
        disk.damage(&path_of(1), |bytes| bytes[byte] ^= 0x41);
        let opened = open(&disk);
        // The third entry's record says that everything before it was synced; nothing says so of it.
        if byte < ends[2] {
            match opened {
                Err(LogError::Corrupt { place, .. }) => assert!(place.contains(".log:"), "{place}"),
                // The format is part of the header; another one is not damage.
                Err(LogError::Disk { .. }) if (8..12).contains(&byte) => {}
                // Padding between records means nothing.
                Ok(log) if is_padding(&pristine, byte) => {
                    assert_eq!(all_entries(&log, 1).expect("read").len(), 3);
                }
                other => panic!("byte {byte} of {length}: {other:?}"),
            }
        } else {
            let log = opened.unwrap_or_else(|e| panic!("byte {byte} of {length}: {e}"));
            let expected = if byte < ends[3] && !is_padding(&pristine, byte) { 2 } else { 3 };
            let count = all_entries(&log, 1).expect("read").len();
            assert_eq!(count, expected, "byte {byte} of {length}, records end at {ends:?}");
        }
    }
}

/// Whether the byte is one that no checksum covers: those that bring a record to eight bytes.
fn is_padding(disk: &MemoryDisk, byte: usize) -> bool {
    let bytes = disk.contents(&path_of(1)).expect("the first segment");
    let mut at = 64;
    loop {
        let length = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().expect("four")) as usize;
        let (end, next) = (at + 16 + length, (at + 16 + length).next_multiple_of(8));
        if length == 0 || byte < next {
            return length != 0 && byte >= end;
        }
        at = next;
    }
}

#[test]
fn damage_in_a_full_segment_is_corrupt() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1)]).expect("write");
    for index in 6..30 {
        log.write(&[append(1, vec![entry(index, 6, vec![1; 500])])]).expect("write");
    }
    // Not synced: only beginning the next segment was.
    disk.crash(Crash::LoseUnsynced);
    disk.damage(&path_of(2), |bytes| bytes[3_000] ^= 1);
    let error = open(&disk).expect_err("the second segment is damaged");
    assert!(matches!(error, LogError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("0000000000000002.log"), "{error}");
}

#[test]
fn missing_segment_is_corrupt_when_something_in_it_is_live() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1)]).expect("write");
    for index in 6..30 {
        log.write(&[append(1, vec![entry(index, 6, vec![1; 500])])]).expect("write");
    }
    log.sync().expect("sync");
    disk.remove(&path_of(2)).expect("remove");
    let error = open(&disk).expect_err("the second segment is gone");
    assert!(matches!(error, LogError::Corrupt { .. }), "{error:?}");
}

#[test]
fn damaged_entry_is_never_returned() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1)]).expect("write");
    for index in 6..16 {
        log.write(&[append(1, vec![entry(index, 6, vec![1; 500])])]).expect("write");
    }
    disk.damage(&path_of(1), |bytes| bytes[600] ^= 1);
    let error = all_entries(&log, 1).expect_err("the first entry is damaged");
    assert!(matches!(error, LogError::Corrupt { .. }), "{error:?}");
}

#[test]
fn log_of_a_newer_version_is_refused_by_name() {
    let (disk, _) = three_entries();
    disk.damage(&path_of(1), |bytes| bytes[8] = 2);
    let error = open(&disk).expect_err("format 2 is not known");
    let LogError::Disk { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("newer version of Flin"), "{source}");
}

#[test]
fn failed_sync_stops_the_log_for_good() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1)]).expect("write");
    log.write(&[append(1, vec![entry(6, 6, b"six".to_vec())])]).expect("write");
    disk.fail_next_sync();
    assert!(log.sync().is_err());
    assert!(log.sync().is_err(), "a second sync that succeeds would prove nothing");
    assert!(log.write(&[append(1, vec![entry(7, 6, b"seven".to_vec())])]).is_err());
    assert!(log.reclaim().is_err());
    assert!(all_entries(&log, 1).is_err());
}

#[test]
fn failed_write_stops_the_log_for_good() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1)]).expect("write");
    disk.fail_next_write();
    assert!(log.write(&[append(1, vec![entry(6, 6, b"six".to_vec())])]).is_err());
    let error = log.sync().expect_err("it has stopped");
    assert!(error.to_string().contains("restart the node"), "{error}");
}

#[test]
fn what_is_read_after_a_failed_sync_is_durable_once_opened() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1), append(1, vec![entry(6, 6, b"six".to_vec())])]).expect("write");
    disk.fail_next_sync();
    assert!(log.sync().is_err());
    // The process restarts, and the page cache shows what the disk does not have.
    disk.crash(Crash::Kill);
    let log = open(&disk).expect("open");
    assert_eq!(all_entries(&log, 1).expect("read").len(), 1);
    disk.crash(Crash::LoseUnsynced);
    let log = open(&disk).expect("open");
    assert_eq!(all_entries(&log, 1).expect("read").len(), 1, "it was seen, so it must stay");
}

#[test]
fn full_disk_refuses_growth_and_freed_space_makes_writes_work_again() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1)]).expect("write");
    disk.set_full(true);
    let mut last = 5;
    let refused = loop {
        let edit = append(1, vec![entry(last + 1, 6, vec![1; 500])]);
        match log.write(std::slice::from_ref(&edit)) {
            Ok(()) => last += 1,
            Err(error) => break (edit, error),
        }
    };
    assert!(last > 5, "there was room in the first segment");
    let LogError::Disk { source, .. } = &refused.1 else { panic!("{:?}", refused.1) };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    log.sync().expect("what was written can still be synced");
    assert_eq!(all_entries(&log, 1).expect("and read").len() as u64, last - 5);
    log.write(&[compact(1, last)]).expect("and little things fit");

    disk.set_full(false);
    log.write(&[refused.0]).expect("the same write succeeds once there is space");
    log.sync().expect("sync");
    disk.crash(Crash::LoseUnsynced);
    let log = open(&disk).expect("open");
    assert_eq!(log.last_index(GroupId(1)).0, last + 1);
}

#[test]
fn foreign_file_with_the_name_of_a_segment_is_refused() {
    let (disk, _) = three_entries();
    disk.create(&path_of(9)).expect("create");
    assert!(matches!(open(&disk), Err(LogError::Corrupt { .. })));
}

#[test]
fn spare_files_of_a_lost_log_are_not_read_as_a_new_one() {
    let disk = MemoryDisk::new();
    let log = open(&disk).expect("open");
    log.write(&[create(1)]).expect("write");
    for index in 6..14 {
        log.write(&[append(1, vec![entry(index, 6, vec![1; 500])])]).expect("write");
    }
    log.write(&[compact(1, 13)]).expect("write");
    log.reclaim().expect("reclaim");
    drop(log);
    let names = disk.list(&log_dir()).expect("list");
    assert!(names.iter().any(|name| name.starts_with("spare-")), "{names:?}");
    for segment in names.iter().filter(|name| name.ends_with(".log")) {
        disk.remove(&log_dir().join(segment)).expect("remove");
    }
    // The first segment of the new log must not bring back what the first one of the old log held, neither at
    // once nor when the log is opened again.
    for _ in 0..3 {
        let log = open(&disk).expect("open");
        assert_eq!(log.groups(), []);
        drop(log);
        disk.crash(Crash::LoseUnsynced);
    }
}

#[test]
fn segment_cut_behind_its_last_entry_opens_with_all_of_them() {
    let (pristine, ends) = three_entries();
    let aligned = ends[3].next_multiple_of(8);
    assert!(is_padding(&pristine, ends[3]), "records end at {ends:?}");
    for length in ends[3]..aligned {
        let (disk, _) = three_entries();
        disk.damage(&path_of(1), |bytes| bytes.truncate(length));
        for _ in 0..3 {
            let log = open(&disk).unwrap_or_else(|e| panic!("{length} bytes: {e}"));
            assert_eq!(all_entries(&log, 1).expect("read").len(), 3, "{length} bytes");
            drop(log);
            disk.crash(Crash::LoseUnsynced);
        }
    }
}
