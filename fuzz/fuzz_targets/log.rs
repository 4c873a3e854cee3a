//! A log that was written, lost its power and was damaged: it holds what had been written up to some moment,
//! what was synced included unless damage is reported, or it says that it is corrupt. Never an entry that
//! nobody wrote.

#![no_main]

use std::collections::BTreeSet;

use flin_engine::disk::{Crash, Disk, MemoryDisk};
use flin_fuzz::input::Input;
use flin_fuzz::log::{Model, SEGMENT_BYTES, log_dir, open, segment_path};
use flin_state::log::{Log, LogError};
use libfuzzer_sys::fuzz_target;

/// The unit in which a disk loses what it was given.
const SECTOR_BYTES: usize = 512;
/// CRC-32 notices every three wrong bits in records as short as ours.
const FLIPS_MAX: usize = 3;
/// Beyond this an input says nothing new, and takes long.
const STEPS_MAX: usize = 48;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let crash = match input.below(3) {
        0 => Crash::Kill,
        1 => Crash::LoseUnsynced,
        _ => Crash::Torn { seed: input.word() },
    };
    let (wounds, hurt) = (input.below(5), input.bytes(32));
    let disk = MemoryDisk::new();
    let story = write(&disk, &mut input);
    disk.crash(crash);
    let mut hurt = Input::new(hurt);
    let mut flips = 0;
    let damaged = (0..wounds).filter(|_| damage(&disk, &mut hurt, &mut flips)).count() > 0;
    judge(&disk, &story, damaged);
});

/// What the log held after each write, and from which of these moments on nothing was synced.
struct Story {
    moments: Vec<Model>,
    synced: usize,
}

fn write(disk: &MemoryDisk, input: &mut Input<'_>) -> Story {
    let mut log = open(disk).expect("an empty disk");
    let mut story = Story { moments: vec![Model::default()], synced: 0 };
    let mut model = Model::default();
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let last = story.moments.len() - 1;
        match input.below(8) {
            0 => {
                log.sync().expect("the disk works");
                story.synced = last;
            }
            1 => {
                log.reclaim().expect("the disk works");
            }
            2 => {
                drop(log);
                disk.crash(Crash::Kill);
                log = open(disk).expect("nothing is lost");
                // Whatever was seen by whoever opened it is durable.
                story.synced = last;
                assert_eq!(Model::of(&log).expect("nothing is damaged"), model);
            }
            _ => {
                let edits = model.edits(input);
                log.write(&edits).expect("edits that it accepts");
                story.moments.push(model.clone());
            }
        }
    }
    story
}

/// Hurts the disk; false if there was nothing to hurt.
fn damage(disk: &MemoryDisk, input: &mut Input<'_>, flips: &mut usize) -> bool {
    let names = disk.list(&log_dir()).expect("the directory is there");
    let segments: Vec<u64> =
        names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    if segments.is_empty() {
        return false;
    }
    let path = segment_path(*input.choose(&segments));
    let (at, kind) = (input.word() as usize % SEGMENT_BYTES, input.below(5));
    let sector = at / SECTOR_BYTES * SECTOR_BYTES;
    match kind {
        0 if *flips < FLIPS_MAX => {
            *flips += 1;
            let bit = 1 << input.below(8);
            disk.damage(&path, |bytes| {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bit;
                }
            });
        }
        1 => disk.damage(&path, |bytes| {
            let end = bytes.len().min(sector + SECTOR_BYTES);
            bytes[sector.min(end)..end].fill(0);
        }),
        2 => disk.damage(&path, |bytes| bytes.truncate(at)),
        3 => disk.remove(&path).expect("the file is there"),
        _ => {
            // What another segment had there: the disk wrote to the wrong place, or gave back old bytes.
            let other = disk.contents(&segment_path(*input.choose(&segments)));
            let other = other.unwrap_or_default();
            let stale = other.get(sector..other.len().min(sector + SECTOR_BYTES));
            let stale = stale.unwrap_or_default();
            disk.damage(&path, |bytes| {
                if let Some(place) = bytes.get_mut(sector..sector + stale.len()) {
                    place.copy_from_slice(stale);
                }
            });
        }
    }
    true
}

fn judge(disk: &MemoryDisk, story: &Story, damaged: bool) {
    let log = match open(disk) {
        Ok(log) => log,
        Err(LogError::Corrupt { place, what }) => {
            assert!(damaged, "corrupt at {place}: {what}");
            assert!(place.contains("/data/log") || place == "the log", "{place}");
            return;
        }
        // The format is part of the header: another one is a newer version, not damage.
        Err(LogError::Disk { source, .. }) if damaged => {
            return assert_eq!(source.kind(), std::io::ErrorKind::Unsupported, "{source}");
        }
        Err(error) => panic!("{error}"),
    };
    let held = Model::of(&log).expect("what was opened can be read");
    // A disk that lost whole files takes even the proof with it that something was there.
    let least = if damaged { 0 } else { story.synced };
    let moment = story.moments.iter().rposition(|moment| *moment == held);
    let moment = moment.unwrap_or_else(|| panic!("nobody wrote this: {held:?}"));
    assert!(moment >= least || story.moments[least] == held, "{moment} of {least} synced");
    // The log goes on from there, and what was seen stays.
    drop(log);
    disk.crash(Crash::LoseUnsynced);
    let log = open(disk).expect("it was just opened");
    assert_eq!(Model::of(&log).expect("it was just read"), held);
    let groups: BTreeSet<_> = log.groups().into_iter().map(|(group, _)| group).collect();
    assert_eq!(groups, held.0.keys().copied().collect());
}
