//! Looking at Rust text as words: comments and strings left out, tests apart.

/// The code of a file before its module of tests, without comments and the content of strings.
///
/// Lines are kept, so that line numbers stay true.
pub(super) fn code(text: &str) -> String {
    let body = &text[..tests_start(text).unwrap_or(text.len())];
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        let skipped = skip(rest, out.chars().next_back());
        if skipped == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.extend(rest[..skipped].chars().filter(|&c| c == '\n'));
            out.push(' ');
            rest = &rest[skipped..];
        }
    }
    out
}

/// How many lines a file has before its module of tests.
pub(super) fn lines_without_tests(text: &str) -> usize {
    text[..tests_start(text).unwrap_or(text.len())].lines().count()
}

/// Where `#[cfg(test)]` stands at the start of a line before a module with a body.
fn tests_start(text: &str) -> Option<usize> {
    const MARK: &str = "\n#[cfg(test)]\nmod ";
    let mut from = 0;
    while let Some(at) = text[from..].find(MARK) {
        let start = from + at + 1;
        let line = text[start + MARK.len() - 1..].lines().next().unwrap_or_default();
        if line.trim_end().ends_with('{') {
            return Some(start);
        }
        from = start;
    }
    None
}

/// The length of the comment or string that `rest` starts with, or 0.
fn skip(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    if rest.starts_with('"') {
        return string_end(rest);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with('r') && !in_word {
        let hashes = rest[1..].chars().take_while(|&c| c == '#').count();
        if rest[1 + hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = 2 + hashes;
            return rest[body..].find(&close).map_or(rest.len(), |end| body + end + close.len());
        }
    }
    for quote in ["'\"'", "'\\\"'", "'\\''"] {
        if rest.starts_with(quote) {
            return quote.len();
        }
    }
    0
}

fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The number of the first line of `code` that holds `word` as a whole word, if any.
///
/// A word may be a path like `std::fs`. It does not count as a later part of another path.
pub(super) fn line_with(code: &str, word: &str) -> Option<usize> {
    code.lines().position(|line| has_word(line, word)).map(|at| at + 1)
}

fn has_word(line: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = &line[..at];
        let after = &line[at + word.len()..];
        let alone = !before.ends_with(part_of_name) && !before.ends_with("::");
        let complete = word.ends_with("::") || !after.starts_with(part_of_name);
        alone && complete
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let text = "let a = \"HashMap\"; // HashMap\n/* HashMap */ let b = r#\"HashMap \"#;\nlet c = '\"';\n";
        assert_eq!(line_with(&code(text), "HashMap"), None);
        assert_eq!(
            line_with(&code("\n// x\nuse std::collections::HashMap;\n"), "std::collections"),
            Some(3)
        );
    }

    #[test]
    fn module_of_tests_is_left_out() {
        let text = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(line_with(&code(text), "std::fs"), None);
        assert_eq!(lines_without_tests(text), 2);
    }

    #[test]
    fn words_are_whole_and_paths_start_at_their_start() {
        assert!(has_word("use raft::RawNode;", "raft::"));
        assert!(!has_word("use crate::raft::Node;", "raft::"));
        assert!(!has_word("let overcraft = 1;", "raft"));
        assert!(!has_word("Instantly", "Instant"));
        assert!(has_word("let a: Instant = b;", "Instant"));
    }
}
