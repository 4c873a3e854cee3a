//! Replies as clients of our own decode them: pieces do not matter, and what was understood can be said again.
//!
//! The first byte chooses the limits, the second how the rest is cut.

#![no_main]

use bytes::BytesMut;
use flin_fuzz::memory;
use flin_fuzz::stream::pieces;
use flin_resp::{Limits, Protocol, ReplyDecoder, ReplyError, Value};
use libfuzzer_sys::fuzz_target;

const SMALL: Limits =
    Limits { request_bytes_max: 400, bulk_bytes_max: 60, arguments_max: 6, inline_bytes_max: 40 };

/// Beyond all that an encoder of ours can make of what was decoded: text that is no UTF-8 grows, and a double
/// is written with all its digits.
const LARGE: Limits = Limits {
    request_bytes_max: 1 << 30,
    bulk_bytes_max: 1 << 30,
    arguments_max: 1 << 30,
    inline_bytes_max: 1 << 30,
};

/// `_\r\n` is a whole value, and lists double their room as they grow.
const BYTES_PER_BYTE: usize = 128;
const BYTES_ALWAYS: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let [choice, cuts, stream @ ..] = data else { return };
    let limits = if *choice == 0 { Limits::default() } else { SMALL };
    let (values, error) =
        memory::within(stream.len() * BYTES_PER_BYTE + BYTES_ALWAYS, || decode(limits, &[stream]));
    let (in_pieces, error_in_pieces) = decode(limits, &pieces(stream, *cuts));
    assert_eq!((said(&in_pieces), error_in_pieces), (said(&values), error), "cut {cuts}");
    values.iter().for_each(check);
});

/// Everything a decoder makes of a stream that arrives in these pieces.
fn decode(limits: Limits, pieces: &[&[u8]]) -> (Vec<Value>, Option<ReplyError>) {
    let decoder = ReplyDecoder::new(limits);
    let (mut input, mut values) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(error) => return (values, Some(error)),
            }
        }
    }
    (values, None)
}

/// Values as text, in which a NaN equals itself.
fn said(values: &[Value]) -> String {
    format!("{values:?}")
}

/// Says `value` and hears it again.
fn echo(value: &Value, protocol: Protocol) -> (BytesMut, Value) {
    let mut wire = BytesMut::new();
    value.encode(protocol, &mut wire);
    let (values, error) = decode(LARGE, &[&wire[..]]);
    let [value]: [Value; 1] = values.try_into().expect("one value was said");
    assert_eq!(error, None);
    (wire, value)
}

fn check(value: &Value) {
    assert!(value.approximate_bytes() > 0);
    // The first time, line breaks inside simple texts become blanks.
    let (wire, once) = echo(value, Protocol::Resp3);
    let (wire_again, twice) = echo(&once, Protocol::Resp3);
    assert_eq!((&wire, format!("{once:?}")), (&wire_again, format!("{twice:?}")));
    if !format!("{value:?}").contains("\\r") {
        assert_eq!(format!("{value:?}"), format!("{once:?}"));
    }
    let (plain, heard) = echo(value, Protocol::Resp2);
    assert_eq!(plain, echo(&heard, Protocol::Resp2).0);
}
