//! Inline requests: words of a line, with the quoting of `redis-cli` (Redis's `sdssplitargs`).

use bytes::Bytes;

/// The words of `line`; `None` when a quote is not closed, or is closed in the middle of a word.
///
/// Inside double quotes `\n \r \t \b \a \xHH` and an escaped byte mean themselves; inside single quotes only
/// `\'` is an escape.
pub(crate) fn split(line: &[u8]) -> Option<Vec<Bytes>> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let (word, tail) = word(rest)?;
        words.push(Bytes::from(word));
        rest = tail.trim_ascii_start();
    }
    Some(words)
}

/// The first word of `text` and what follows it.
fn word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match first {
            b'"' | b'\'' => {
                let tail = quoted(*first, tail, &mut word)?;
                if tail.first().is_some_and(|next| !next.is_ascii_whitespace()) {
                    return None;
                }
                return Some((word, tail));
            }
            byte if byte.is_ascii_whitespace() => break,
            byte => word.push(*byte),
        }
        rest = tail;
    }
    Some((word, rest))
}

/// Appends what stands before the closing `quote`, and answers what stands behind it.
fn quoted<'a>(quote: u8, mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [first, tail @ ..] if *first == quote => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(nibble(*high) << 4 | nibble(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] if quote == b'"' => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = tail;
            }
            [b'\\', b'\'', tail @ ..] if quote == b'\'' => {
                word.push(b'\'');
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<Vec<u8>>> {
        Some(split(line.as_bytes())?.iter().map(|word| word.to_vec()).collect())
    }

    #[test]
    fn words_are_parted_by_any_blank() {
        assert_eq!(words("  SET  a\tb "), Some(vec![b"SET".into(), b"a".into(), b"b".into()]));
        assert_eq!(words(""), Some(vec![]));
    }

    #[test]
    fn quotes_and_escapes_follow_redis_cli() {
        assert_eq!(
            words(r#"SET "a b\x00\n" 'it\'s' """#),
            Some(vec![b"SET".into(), b"a b\0\n".into(), b"it's".into(), b"".into()])
        );
        assert_eq!(words(r#"GET "a"#), None);
        assert_eq!(words(r#"GET "a"b"#), None);
    }
}
