//! Reading what test programs print, in the form of Rust's own test harness.

use std::ops::AddAssign;

/// How many tests did what, and the names of those that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tests {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
    pub(crate) failures: Vec<String>,
    /// How many programs told their result. None means that nothing ran, whatever the counts say.
    pub(crate) programs: usize,
}

impl AddAssign<&Tests> for Tests {
    fn add_assign(&mut self, other: &Tests) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.programs += other.programs;
        self.failures.extend(other.failures.iter().cloned());
    }
}

/// Adds up the results of all programs in a log.
pub(crate) fn read(log: &str) -> Tests {
    let mut tests = Tests::default();
    for line in log.lines() {
        let line = line.trim();
        if let Some(result) = line.strip_prefix("test result: ") {
            add_result(&mut tests, result);
        } else if let Some(name) = failure(line) {
            tests.failures.push(name.to_owned());
        }
    }
    tests
}

/// Adds a line like `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`.
fn add_result(tests: &mut Tests, result: &str) {
    tests.programs += 1;
    let counts = result.split_once(". ").map_or(result, |(_, counts)| counts);
    for part in counts.split(';') {
        let mut words = part.split_whitespace();
        let (Some(count), Some(what)) = (words.next(), words.next()) else { continue };
        let Ok(count) = count.parse::<usize>() else { continue };
        match what {
            "passed" => tests.passed += count,
            "failed" => tests.failed += count,
            "ignored" => tests.ignored += count,
            _ => {}
        }
    }
}

/// The name in a line like `test apply::expired_key_is_absent ... FAILED`.
fn failure(line: &str) -> Option<&str> {
    let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    verdict.starts_with("FAILED").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
     Running unittests src/lib.rs (target/release/deps/flin_state-1)

running 3 tests
test slot::braces_choose_the_slot ... ok
test apply::expired_key_is_absent ... FAILED
test apply::slow ... ignored

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests flin_state

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

    #[test]
    fn results_of_all_programs_are_added() {
        let tests = read(LOG);
        assert_eq!((tests.passed, tests.failed, tests.ignored, tests.programs), (3, 1, 1, 2));
        assert_eq!(tests.failures, ["apply::expired_key_is_absent"]);
    }

    #[test]
    fn log_without_results_has_no_programs() {
        assert_eq!(read("error: could not compile `flin-state`").programs, 0);
    }
}
