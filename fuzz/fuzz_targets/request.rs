//! Requests of RESP clients: decoded in whatever pieces they arrive, within the limits, or refused for good.
//!
//! The first byte chooses the limits, the second how the rest is cut.

#![no_main]

use bytes::{BufMut, Bytes, BytesMut};
use flin_fuzz::memory;
use flin_fuzz::stream::pieces;
use flin_resp::commands::{all, find};
use flin_resp::{Limits, ProtocolError, RequestDecoder};
use libfuzzer_sys::fuzz_target;

const LIMITS: [Limits; 3] = [
    Limits { request_bytes_max: 400, bulk_bytes_max: 60, arguments_max: 6, inline_bytes_max: 40 },
    Limits::UNAUTHENTICATED,
    Limits {
        request_bytes_max: 32 << 20,
        bulk_bytes_max: 16 << 20,
        arguments_max: 128 << 10,
        inline_bytes_max: 64 << 10,
    },
];

/// What one byte of input may cost: a word of one letter in an inline request is an allocation and a handle.
const BYTES_PER_BYTE: usize = 128;
const BYTES_ALWAYS: usize = 64 << 10;

type Decoded = (Vec<Vec<Bytes>>, Option<ProtocolError>);

fuzz_target!(|data: &[u8]| {
    let [choice, cuts, stream @ ..] = data else { return };
    let limits = LIMITS[usize::from(*choice) % LIMITS.len()];
    let whole =
        memory::within(stream.len() * BYTES_PER_BYTE + BYTES_ALWAYS, || decode(limits, &[stream]));
    assert_eq!(decode(limits, &pieces(stream, *cuts)), whole, "cut {cuts}");
    whole.0.iter().for_each(|request| check(limits, request));

    let (again, error) = decode(LIMITS[2], &[&multi_bulk(&whole.0)[..]]);
    assert_eq!((again, error), (whole.0, None));
});

/// Everything a decoder makes of a stream that arrives in these pieces.
fn decode(limits: Limits, pieces: &[&[u8]]) -> Decoded {
    let mut decoder = RequestDecoder::new(limits);
    let mut input = BytesMut::new();
    let mut requests = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut input), Err(error.clone()), "errors last");
                    return (requests, Some(error));
                }
            }
        }
        assert!(decoder.lacking_bytes(input.len()) <= limits.bulk_bytes_max + 2);
    }
    (requests, None)
}

fn check(limits: Limits, request: &[Bytes]) {
    assert!(!request.is_empty() && request.len() <= limits.arguments_max);
    let longest = limits.bulk_bytes_max.max(limits.inline_bytes_max);
    assert!(request.iter().all(|argument| argument.len() <= longest));
    let bytes: usize = request.iter().map(Bytes::len).sum();
    assert!(bytes <= limits.request_bytes_max.max(limits.inline_bytes_max));
    // The table is asked before anybody has looked at the arguments.
    for command in find(&request[0]).into_iter().chain(all()) {
        let keys = command.keys(request).inspect(|key| assert!(request[1..].contains(key)));
        assert!(keys.count() < request.len());
    }
    if let [_, name, ..] = request {
        let found = find(&request[0]).and_then(|command| command.subcommand(name));
        assert!(found.is_none_or(|command| command.name.as_bytes().eq_ignore_ascii_case(name)));
    }
}

fn multi_bulk(requests: &[Vec<Bytes>]) -> Vec<u8> {
    let mut wire = Vec::new();
    for request in requests {
        wire.put_slice(format!("*{}\r\n", request.len()).as_bytes());
        for argument in request {
            wire.put_slice(format!("${}\r\n", argument.len()).as_bytes());
            wire.put_slice(argument);
            wire.put_slice(b"\r\n");
        }
    }
    wire
}
