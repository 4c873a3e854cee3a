//! What recorders of the end-to-end tests write down: read back as it was written, and judged without a word
//! against a history in which nothing happened.

#![no_main]

use flin_check::{History, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let history = match History::parse(text) {
        Ok(history) => history,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let again = History::parse(&history.to_lines());
    assert_eq!(again.as_ref(), Ok(&history));
    let Ok(verdict) = check(&history) else { return };
    assert_eq!(verdict.is_clean(), verdict.findings.is_empty());
    // The order of the records means nothing.
    let mut records = history.records;
    records.reverse();
    let reversed = check(&History { records }).expect("the same records");
    assert_eq!(reversed.counts(), verdict.counts());
});
