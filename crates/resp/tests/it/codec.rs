use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use flin_resp::{Limit, Limits, Protocol, ProtocolError, ReplyDecoder, RequestDecoder, Value};
use proptest::prelude::*;

const SMALL: Limits =
    Limits { request_bytes_max: 400, bulk_bytes_max: 60, arguments_max: 6, inline_bytes_max: 40 };

type Decoded = (Vec<Vec<Bytes>>, Option<ProtocolError>);

/// Everything a decoder makes of input that arrives in these pieces.
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
    }
    (requests, None)
}

fn cut<'a>(input: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    at.sort_unstable();
    let mut pieces = Vec::new();
    let mut start = 0;
    for end in at.into_iter().chain([input.len()]) {
        pieces.push(&input[start..end]);
        start = end;
    }
    pieces
}

fn multi_bulk(requests: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut wire = Vec::new();
    for request in requests {
        wire.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
        for argument in request {
            wire.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            wire.extend_from_slice(argument);
            wire.extend_from_slice(b"\r\n");
        }
    }
    wire
}

/// Bytes that are nearly RESP, which finds more than plain noise.
fn nearly_resp() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"*2\r\n".to_vec()),
        Just(b"*-1\r\n*0\r\n".to_vec()),
        Just(b"$3\r\nGET\r\n".to_vec()),
        Just(b"$1\r\n".to_vec()),
        Just(b"$61\r\n".to_vec()),
        Just(b"$99999999999999999999\r\n".to_vec()),
        Just(b"PING \"a\\x00\" 'b'\r\n".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"%1\r\n+a\r\n_\r\n".to_vec()),
        Just(b"#t\r\n,1.5\r\n".to_vec()),
        Just(b"=5\r\ntxt:a\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
}

fn reply() -> impl Strategy<Value = Value> {
    let text = "[a-z ]{0,8}";
    let leaf = prop_oneof![
        text.prop_map(|text| Value::Simple(Cow::Owned(text))),
        text.prop_map(|text| Value::Error(Cow::Owned(text))),
        any::<i64>().prop_map(Value::Integer),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::bulk),
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<f64>().prop_filter("NaN equals nothing", |n| !n.is_nan()).prop_map(Value::Double),
        text.prop_map(|text| Value::Verbatim(text.into())),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let items = prop::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            items.clone().prop_map(Value::Array),
            items.clone().prop_map(Value::Set),
            items.prop_map(Value::Push),
            prop::collection::vec((inner.clone(), inner), 0..3).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn requests_come_out_as_they_went_in(
        requests in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..6), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let wire = multi_bulk(&requests);
        let (decoded, error) = decode(Limits::default(), &cut(&wire, &cuts));
        prop_assert_eq!(error, None);
        prop_assert_eq!(decoded, requests);
    }

    #[test]
    fn every_cut_decodes_alike(
        input in nearly_resp(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytewise: Vec<&[u8]> = input.chunks(1).collect();
        let whole = decode(SMALL, &[&input]);
        prop_assert_eq!(&decode(SMALL, &bytewise), &whole);
        prop_assert_eq!(&decode(SMALL, &cut(&input, &cuts)), &whole);
    }

    #[test]
    fn replies_come_out_of_resp3_as_they_went_in(
        replies in prop::collection::vec(reply(), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut wire = BytesMut::new();
        for reply in &replies {
            reply.encode(Protocol::Resp3, &mut wire);
        }
        let decoder = ReplyDecoder::default();
        let (mut input, mut decoded) = (BytesMut::new(), Vec::new());
        for piece in cut(&wire, &cuts) {
            input.extend_from_slice(piece);
            while let Some(reply) = decoder.decode(&mut input).expect("it was encoded by us") {
                decoded.push(reply);
            }
        }
        prop_assert_eq!(decoded, replies);
    }

    #[test]
    fn garbage_is_no_reply_but_does_no_harm(input in nearly_resp()) {
        let decoder = ReplyDecoder::new(SMALL);
        let mut input = BytesMut::from(&input[..]);
        while let Ok(Some(reply)) = decoder.decode(&mut input) {
            let mut out = BytesMut::new();
            reply.encode(Protocol::Resp2, &mut out);
        }
    }
}

fn error_of(limits: Limits, input: &str) -> Option<String> {
    decode(limits, &[input.as_bytes()]).1.map(|error| error.to_string())
}

#[test]
fn a_broken_limit_is_named() {
    for (input, limit) in [
        ("*7\r\n", "max_arguments (6)"),
        ("*1\r\n$61\r\n", "max_bulk_bytes (60)"),
        ("GET aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "max_inline_bytes (40)"),
    ] {
        let error = error_of(SMALL, input).expect("the limit is broken");
        assert!(error.contains(limit), "{error}");
    }
    let tight = Limits { request_bytes_max: 100, ..SMALL };
    let argument = format!("${}\r\n{}\r\n", 50, "x".repeat(50));
    let error = error_of(tight, &format!("*3\r\n{argument}{argument}")).expect("too much in all");
    assert!(error.contains("max_request_bytes (100)"), "{error}");
}

#[test]
fn many_empty_arguments_are_charged_for_what_they_cost() {
    let limits = Limits { request_bytes_max: 64 << 10, ..Limits::default() };
    let input = format!("*100000\r\n{}", "$0\r\n\r\n".repeat(10_000));
    let error = decode(limits, &[input.as_bytes()]).1;
    assert_eq!(error, Some(ProtocolError::TooBig { limit: Limit::RequestBytes, max: 64 << 10 }));
}

#[test]
fn malformed_requests_are_answered_in_the_words_of_redis() {
    for (input, words) in [
        ("*x\r\n", "invalid multibulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$abc\r\n", "invalid bulk length"),
        ("*1\r\nGET\r\n", "expected '$', got 'G'"),
        ("*1\r\n$1\r\nab\r\n", "expected CRLF at the end of an argument"),
        ("GET \"a\r\n", "unbalanced quotes in request"),
    ] {
        assert_eq!(error_of(Limits::default(), input).as_deref(), Some(words));
    }
}

#[test]
fn empty_requests_are_skipped() {
    let (requests, error) = decode(Limits::default(), &[b"\r\n*0\r\n*-1\r\n  \nPING\n"]);
    assert_eq!((requests, error), (vec![vec![Bytes::from_static(b"PING")]], None));
}
