//! What a log entry of a partition holds, and the operations and replies that nodes send each other.
//!
//! The first byte chooses what the rest is decoded as.

#![no_main]

use std::fmt::Debug;

use bytes::Bytes;
use flin_fuzz::memory;
use flin_state::Malformed;
use flin_state::command::Command;
use flin_state::operation::{Read, Reply, Write};
use libfuzzer_sys::fuzz_target;

/// The smallest operation is one byte, and a list doubles its room as it grows.
const BYTES_PER_BYTE: usize = 512;
/// Lists are given room for some items before any of them is decoded, at every level of nesting.
const BYTES_ALWAYS: usize = 256 << 10;

/// What a write takes beyond its estimate, which says so much of 16 bytes about what it adds to keys and values.
const WRITE_BYTES_BEYOND_ESTIMATE: usize = 16;

fuzz_target!(|data: &[u8]| {
    let [kind, bytes @ ..] = data else { return };
    let bytes = Bytes::copy_from_slice(bytes);
    match kind % 4 {
        0 => {
            if let Some(command) = round_trip(bytes, Command::decode, Command::encode) {
                check(&command.writes);
            }
        }
        1 => {
            if let Some(writes) = round_trip(bytes, Write::decode_all, |w| Write::encode_all(w)) {
                check(&writes);
            }
        }
        2 => {
            let reads = round_trip(bytes, Read::decode_all, |reads| Read::encode_all(reads));
            let refused = reads.iter().flatten().filter_map(|read| read.check().err());
            refused.for_each(|refusal| assert!(!refusal.words_for("get").is_empty()));
        }
        _ => drop(round_trip(bytes, Reply::decode_all, |replies| Reply::encode_all(replies))),
    }
});

/// What `bytes` decode to, having checked that it is encoded to what decodes to the same.
fn round_trip<T: Debug + PartialEq>(
    bytes: Bytes,
    decode: fn(Bytes) -> Result<T, Malformed>,
    encode: impl Fn(&T) -> Bytes,
) -> Option<T> {
    let length = bytes.len();
    let decoded = memory::within(length * BYTES_PER_BYTE + BYTES_ALWAYS, || decode(bytes));
    let decoded = match decoded {
        Ok(decoded) => decoded,
        Err(Malformed { offset, .. }) => {
            assert!(offset <= length, "an error at {offset} of {length} bytes");
            return None;
        }
    };
    let encoded = encode(&decoded);
    // Only numbers can be written in more than one way, and ours is the shortest.
    assert!(encoded.len() <= length);
    assert_eq!(decode(encoded.clone()).as_ref(), Ok(&decoded));
    assert!(decode(encoded.slice(..encoded.len() - 1)).is_err(), "cut short, it is malformed");
    Some(decoded)
}

/// Limits on proposals are kept by estimates, which must not be far below the truth.
fn check(writes: &[Write]) {
    let estimate: usize = writes.iter().map(estimated_bytes).sum();
    assert!(Write::encode_all(writes).len() <= estimate + 16);
    let refused = writes.iter().filter_map(|write| write.check().err());
    refused.for_each(|refusal| assert!(!refusal.words_for("set").is_empty()));
}

fn estimated_bytes(write: &Write) -> usize {
    let inside = match write {
        Write::Atomic(writes) => writes.len() * WRITE_BYTES_BEYOND_ESTIMATE,
        _ => 0,
    };
    write.size_bytes() + inside + WRITE_BYTES_BEYOND_ESTIMATE
}
