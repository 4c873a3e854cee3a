//! What pure code may not touch: clocks, randomness, files, sockets, threads, unordered maps.
//!
//! The state machine must come to the same result on every replica, and a simulation must be able to run a
//! whole cluster from one seed. Both end where code asks the machine it runs on.

use super::source::{code, line_with};
use super::{PURE, SourceFile};

/// Names that pure code does not use, and what they would let in.
const FORBIDDEN: &[(&str, &str)] = &[
    ("Instant", "a clock"),
    ("SystemTime", "a clock"),
    ("UNIX_EPOCH", "a clock"),
    ("rand::", "randomness"),
    ("getrandom", "randomness"),
    ("RandomState", "randomness"),
    ("HashMap", "an order that differs between runs"),
    ("HashSet", "an order that differs between runs"),
    ("std::fs", "files"),
    ("std::net", "sockets"),
    ("std::env", "the environment"),
    ("std::process", "other programs"),
    ("std::thread", "threads"),
    ("tokio::", "a runtime"),
];

pub(super) fn check(file: &SourceFile) -> Vec<String> {
    // Tests of pure code may read their scripts from files.
    if !PURE.contains(&file.part.as_str()) || !file.path.contains("/src/") {
        return Vec::new();
    }
    let code = code(&file.text);
    let mut complaints: Vec<String> = FORBIDDEN
        .iter()
        .filter_map(|(word, what)| {
            let line = line_with(&code, word).or_else(|| used(&code, word))?;
            Some(format!("{}:{line}: {} is pure: `{word}` brings in {what}", file.path, file.part))
        })
        .collect();
    for (at, line) in code.lines().enumerate() {
        // A length of time is a number; asking what time it is is not.
        if line.contains("std::time") && !line.contains("std::time::Duration") {
            complaints.push(format!(
                "{}:{}: {} is pure: `std::time` brings in a clock",
                file.path,
                at + 1,
                file.part
            ));
        }
    }
    complaints
}

/// A type is also used by its path, as in `std::collections::HashMap`.
fn used(code: &str, word: &str) -> Option<usize> {
    let path = format!("::{word}");
    let types = word.starts_with(char::is_uppercase);
    let found = |line: &str| {
        line.find(&path).is_some_and(|at| {
            let after = line[at + path.len()..].chars().next();
            !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    };
    code.lines().position(|line| types && found(line)).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(part: &str, text: &str) -> Vec<String> {
        let path = format!("crates/{part}/src/a.rs");
        check(&SourceFile { path, part: part.into(), text: text.into() })
    }

    #[test]
    fn clock_in_pure_code_is_found() {
        assert!(!complaints("state", "use std::time::Instant;\n").is_empty());
        assert!(!complaints("resp", "let now = std::time::SystemTime::now();\n").is_empty());
        assert!(complaints("state", "use std::time::Duration;\n").is_empty());
    }

    #[test]
    fn unordered_map_in_pure_code_is_found() {
        let found = complaints("check", "\nuse std::collections::{BTreeMap, HashMap};\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("crates/check/src/a.rs:2:"), "{found:?}");
        assert_eq!(complaints("state", "let a = std::collections::HashMap::new();\n").len(), 1);
    }

    #[test]
    fn shell_may_use_what_pure_code_may_not() {
        assert!(complaints("node", "use std::time::Instant;\nuse std::fs;\n").is_empty());
    }

    #[test]
    fn tests_of_pure_code_are_free() {
        let text = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert!(complaints("state", text).is_empty());
    }
}
