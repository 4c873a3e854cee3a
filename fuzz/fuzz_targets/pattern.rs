//! Glob patterns of SCAN: the same answer as that of a matcher too simple to be wrong, and never a long one.
//!
//! The first byte says how much of the rest is the pattern; what follows it is the text.

#![no_main]

use flin_fuzz::input::Input;
use flin_state::read::matches;
use libfuzzer_sys::fuzz_target;

/// The simple matcher tries everything, which takes a time that grows with every star.
const SIMPLE_PATTERN_BYTES_MAX: usize = 12;
const SIMPLE_TEXT_BYTES_MAX: usize = 16;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let pattern = input.bytes(255);
    let text = input.rest();
    let found = matches(pattern, text);
    if pattern.len() <= SIMPLE_PATTERN_BYTES_MAX && text.len() <= SIMPLE_TEXT_BYTES_MAX {
        assert_eq!(found, simple(pattern, text), "{}", pattern.escape_ascii());
    }
    let escaped: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
    assert!(matches(&escaped, text));
    assert!(matches(b"*", text));
});

/// Redis's `stringmatchlen`, by trying: a star is nothing, or a byte and a star.
fn simple(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], text) => text.is_empty(),
        ([b'*', rest @ ..], text) => {
            simple(rest, text) || (!text.is_empty() && simple(pattern, &text[1..]))
        }
        (_, []) => false,
        ([b'?', rest @ ..], [_, text @ ..]) => simple(rest, text),
        ([b'[', rest @ ..], [byte, text @ ..]) => {
            let (within, rest) = class(rest, *byte);
            within && simple(rest, text)
        }
        ([b'\\', literal, rest @ ..], [byte, text @ ..]) => literal == byte && simple(rest, text),
        ([literal, rest @ ..], [byte, text @ ..]) => literal == byte && simple(rest, text),
    }
}

/// Whether `byte` is in the class that `pattern` begins with behind its `[`, and what stands behind the class.
fn class(pattern: &[u8], byte: u8) -> (bool, &[u8]) {
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut within = false;
    loop {
        rest = match rest {
            [] => return (within != negated, rest),
            [b']', rest @ ..] => return (within != negated, rest),
            [b'\\', literal, rest @ ..] => {
                within |= *literal == byte;
                rest
            }
            [from, b'-', to, rest @ ..] => {
                within |= (*from.min(to)..=*from.max(to)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                within |= *literal == byte;
                rest
            }
        };
    }
}
