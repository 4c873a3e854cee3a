//! Bytes of a log that change by themselves.

use std::path::Path;

use flin_engine::disk::{Disk, MemoryDisk};

use crate::chance::Chance;

/// Where the log of a machine is.
pub const LOG: &str = "/log";

/// The end of what was written is left alone. A power failure may cut or tear it, so no log can tell damage there
/// from a write that was never acknowledged; one round is shorter than this.
const END_BYTES: usize = 16 << 10;

/// Flips a few bits somewhere in what the log holds, or overwrites a piece of it with another. Returns whether there
/// was anything to damage.
pub fn damage(disk: &MemoryDisk, seed: u64) -> bool {
    let mut chance = Chance::new(seed);
    let names = disk.list(Path::new(LOG)).unwrap_or_default();
    let mut segments: Vec<String> = names.into_iter().filter(|n| n.ends_with(".log")).collect();
    segments.sort_unstable();
    let last = segments.last().cloned();
    let able = |name: &String| {
        let path = Path::new(LOG).join(name);
        let bytes = disk.contents(&path)?;
        let written = bytes.iter().rposition(|byte| *byte != 0)? + 1;
        let spared = if Some(name) == last.as_ref() { END_BYTES } else { 0 };
        Some((path, written.checked_sub(spared).filter(|length| *length > 0)?))
    };
    let able: Vec<_> = segments.iter().filter_map(able).collect();
    let Some((path, length)) = chance.pick(&able) else { return false };
    let at = usize::try_from(chance.below(*length as u64)).unwrap_or(0);
    let misdirected = chance.percent(30);
    let bits = chance.between(1, 8);
    let source = usize::try_from(chance.below(*length as u64)).unwrap_or(0);
    let flips: Vec<u8> = (0..bits).map(|_| 1 << chance.below(8)).collect();
    disk.damage(path, |bytes| {
        if misdirected {
            // A write of a sector that went to another place.
            let piece = bytes[source..(source + 512).min(*length)].to_vec();
            let end = (at + piece.len()).min(*length);
            bytes[at..end].copy_from_slice(&piece[..end - at]);
        } else {
            for (offset, flip) in flips.iter().enumerate() {
                if at + offset < *length {
                    bytes[at + offset] ^= flip;
                }
            }
        }
    });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_disk_has_nothing_to_damage() {
        assert!(!damage(&MemoryDisk::new(), 1));
    }
}
