//! Segments of the log whose checksums are right and whose content is anything: opening them understands or
//! refuses, takes no memory on their word, and reads back the same ever after.

#![no_main]

use std::path::Path;

use bytes::{BufMut, Bytes};
use flin_engine::disk::{Crash, Disk, DiskFile, MemoryDisk};
use flin_fuzz::input::Input;
use flin_fuzz::log::{Model, SEGMENT_BYTES, log_dir, open, segment_path};
use flin_fuzz::memory;
use flin_state::ids::{LogIndex, Term};
use flin_state::log::{Entry, EntryKind, GroupRecord, Log, LogEdit, LogError};
use libfuzzer_sys::fuzz_target;

/// No log gets here, and none has to go on from here.
const INDEX_END: LogIndex = LogIndex(1 << 56);

/// What opening two small segments may take: they are read as a whole, and each entry they can hold is 24
/// bytes in the index.
const BYTES_MAX: usize = 4 << 20;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new("/data/log")).expect("an empty disk");
    let end = segment(&disk, &mut input, 1, 0);
    if input.flag() {
        segment(&disk, &mut input, 2, end);
    }
    disk.sync_dir(&log_dir()).expect("the disk works");
    let log = match memory::within(BYTES_MAX, || open(&disk)) {
        Ok(log) => log,
        Err(LogError::Corrupt { place, what }) => {
            return assert!(!place.is_empty() && !what.is_empty());
        }
        Err(error) => panic!("{error}"),
    };
    let Ok(held) = Model::of(&log) else { return };
    drop(log);
    disk.crash(Crash::LoseUnsynced);
    let log = open(&disk).expect("it was just opened");
    assert_eq!(Model::of(&log).expect("it was just read"), held);
    go_on(&disk, &log, held);
});

/// What was understood can be written on to, and every segment can be given up.
fn go_on(disk: &MemoryDisk, log: &dyn Log, mut held: Model) {
    let hosted: Vec<_> = log.groups().into_iter().filter(|(_, record)| is_hosted(record)).collect();
    for (group, _) in hosted {
        let last = log.last_index(group);
        if last >= INDEX_END {
            continue;
        }
        let term = log.term(group, last).expect("the last entry has a term").max(Term(1));
        let (kind, data) = (EntryKind::Command, Bytes::from_static(b"next"));
        let entry = Entry { index: last.next(), term, kind, data };
        let edits = [
            LogEdit::Append { group, entries: vec![entry] },
            LogEdit::Compact { group, index: LogIndex(last.0) },
        ];
        log.write(&edits).expect("an entry follows the last one");
        edits.iter().for_each(|edit| held.apply(edit));
    }
    log.sync().expect("the disk works");
    log.reclaim().expect("the disk works");
    disk.crash(Crash::LoseUnsynced);
    let log = open(disk).expect("nothing is damaged");
    assert_eq!(Model::of(&log).expect("nothing is damaged"), held);
}

fn is_hosted(record: &GroupRecord) -> bool {
    matches!(record, GroupRecord::Hosted(_))
}

/// Puts a segment on the disk, and returns where its records end.
fn segment(disk: &MemoryDisk, input: &mut Input<'_>, sequence: u64, previous_end: usize) -> usize {
    // Mostly true, for what comes after would not be looked at.
    let lies = input.below(16) == 15;
    let previous = if lies { input.number() } else { sequence - 1 };
    let previous_end = if lies { input.number() as u32 } else { previous_end as u32 };
    let mut bytes = header(sequence, previous, previous_end);
    loop {
        let synced = input.number() as u32;
        put_record(&mut bytes, sequence, synced, &payload(input));
        if !input.flag() || bytes.len() > SEGMENT_BYTES {
            break;
        }
    }
    let end = bytes.len();
    bytes.resize(end.max(SEGMENT_BYTES), 0);
    let file = disk.create(&segment_path(sequence)).expect("an empty disk");
    file.write_at(&bytes, 0).and_then(|()| file.sync_data()).expect("the disk works");
    end
}

/// `crates/engine/src/log/format.rs` says what it looks like.
fn header(sequence: u64, previous: u64, previous_end: u32) -> Vec<u8> {
    let mut rest = Vec::new();
    rest.put_u64_le(sequence);
    rest.put_u64_le(previous);
    rest.put_u32_le(previous_end);
    rest.resize(64 - 16, 0);
    let mut bytes = b"FLINLOG\0".to_vec();
    bytes.put_u32_le(1);
    bytes.put_u32_le(crc32fast::hash(&rest));
    bytes.extend(rest);
    bytes
}

fn put_record(segment: &mut Vec<u8>, sequence: u64, synced: u32, payload: &[u8]) {
    let mut frame = Vec::new();
    frame.put_u32_le(crc32fast::hash(payload));
    frame.put_u32_le(payload.len() as u32);
    frame.put_u32_le(synced);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&sequence.to_le_bytes());
    crc.update(&(segment.len() as u32).to_le_bytes());
    crc.update(&frame);
    segment.put_u32_le(crc.finalize());
    segment.extend(frame);
    segment.extend(payload);
    segment.resize(segment.len().next_multiple_of(8), 0);
}

/// `crates/engine/src/log/payload.rs` says what it looks like.
fn payload(input: &mut Input<'_>) -> Vec<u8> {
    const CHECKPOINT_END: u8 = 9;
    let mut out = Vec::new();
    for _ in 0..input.below(6) {
        operation(input, &mut out);
    }
    if out.is_empty() || input.below(4) == 0 {
        put(&mut out, CHECKPOINT_END, 0, &[]);
    }
    out
}

fn operation(input: &mut Input<'_>, out: &mut Vec<u8>) {
    const NUMBERS: [(u8, usize); 6] = [(1, 3), (3, 3), (4, 2), (5, 2), (6, 1), (8, 9)];
    const APPEND: u8 = 2;
    const MOVED: u8 = 7;
    let group = input.below(3) as u16;
    match input.below(12) {
        kind @ 0..6 => {
            let (tag, count) = NUMBERS[kind];
            let numbers: Vec<u64> = (0..count).map(|_| input.number()).collect();
            put(out, tag, group, &numbers);
        }
        6 => {
            let (replica, base, more, term) =
                (input.number(), input.number(), input.number(), input.number());
            let last = base.saturating_add(more);
            let hard_state = [term, input.number(), base];
            put(out, 8, group, &[1, replica, base, term, last, term]);
            hard_state.iter().for_each(|number| out.put_u64_le(*number));
        }
        7..10 => entries(input, out, APPEND, group),
        10 => entries(input, out, MOVED, group),
        _ => out.extend_from_slice(input.bytes(64)),
    }
}

fn put(out: &mut Vec<u8>, tag: u8, group: u16, numbers: &[u64]) {
    out.put_u8(tag);
    out.put_u16_le(group);
    numbers.iter().for_each(|number| out.put_u64_le(*number));
}

fn entries(input: &mut Input<'_>, out: &mut Vec<u8>, tag: u8, group: u16) {
    let (first, count) = (input.number(), input.below(4) as u64);
    let claimed = if input.below(16) == 15 { input.number() } else { count };
    put(out, tag, group, &[first, claimed]);
    for index in (0..count).map(|n| first.wrapping_add(n)) {
        let (term, kind, data) = (input.number(), input.byte() & 1, input.bytes(40));
        let mut entry = Vec::new();
        entry.put_u64_le(term);
        entry.put_u8(kind);
        entry.put_u32_le(data.len() as u32);
        entry.put_slice(data);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&group.to_le_bytes());
        crc.update(&index.to_le_bytes());
        crc.update(&entry);
        out.put_u32_le(crc.finalize());
        out.extend(entry);
    }
}
