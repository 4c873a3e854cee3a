//! Patterns of keys as Redis matches them.

/// Whether the whole of `text` matches `pattern`: `*` any bytes, `?` any byte, `[a-c]` and `[^a-c]` one of
/// some, `\` takes the next byte as it is. A class that is not closed ends with the pattern.
///
/// The work is at most the product of the lengths: only the last `*` met is ever tried again.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, read));
            continue;
        }
        let Some(byte) = text.get(read) else { return at == pattern.len() };
        if let Some(next) = one(pattern, at, *byte) {
            at = next;
            read += 1;
            continue;
        }
        let Some((after_star, begun)) = star else { return false };
        star = Some((after_star, begun + 1));
        (at, read) = (after_star, begun + 1);
    }
}

/// Where the pattern goes on if its item at `at` matches `byte`.
fn one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => class(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => literal(pattern[at + 1], byte, at + 2),
        literally => literal(literally, byte, at + 1),
    }
}

fn literal(expected: u8, byte: u8, next: usize) -> Option<usize> {
    if expected == byte { Some(next) } else { None }
}

/// The same for the class whose inside begins at `at`.
fn class(pattern: &[u8], mut at: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        match &pattern[at.min(pattern.len())..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [first, b'-', last, ..] => {
                found |= (*first.min(last)..=*first.max(last)).contains(&byte);
                at += 3;
            }
            [single, ..] => {
                found |= *single == byte;
                at += 1;
            }
        }
    }
    if found == negated { None } else { Some(at) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h*llo", "hllo", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            ("user:*:name", "user:1000:name", true),
            ("user:*:name", "user:1000:names", false),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c*", "xxaxxcxxbxx", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a\\", "a\\", true),
            ("[\\]]", "]", true),
            ("[abc", "c", true),
            ("[abc", "d", false),
            ("[", "x", false),
            ("[^", "x", true),
            ("[]", "]", false),
            ("**?", "", false),
            ("**?", "ab", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "*a".repeat(500) + "*b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(60_000).as_bytes()));
    }

    proptest! {
        #[test]
        fn any_pattern_is_answered(
            pattern in prop::collection::vec(prop::sample::select(b"*?[]^-\\ab".to_vec()), 0..12),
            text in prop::collection::vec(prop::sample::select(b"*?[]^-\\ab".to_vec()), 0..12),
        ) {
            matches(&pattern, &text);
        }

        #[test]
        fn a_text_matches_itself_escaped(text: Vec<u8>) {
            let pattern: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
            prop_assert!(matches(&pattern, &text));
        }
    }
}
