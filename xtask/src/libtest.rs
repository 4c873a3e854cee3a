//! Reading what tests print: Rust's own test harness, and our end-to-end scenarios.

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

/// What failed tests printed themselves, as the harness repeats it after the last of them. Empty when none failed.
pub(crate) fn said_by_failures(log: &str) -> String {
    let mut said = String::new();
    let mut within = false;
    for line in log.lines() {
        // A list of the failed names, which ends the part, is headed by the same word.
        if line == "failures:" || line.starts_with("test result: ") {
            within = line == "failures:" && !within;
        } else if within {
            said.push_str(line);
            said.push('\n');
        }
    }
    said.trim().to_owned()
}

/// Reads what `flin-e2e run` prints: a line for each scenario, `ok      install    2.1 s  ...`.
pub(crate) fn read_scenarios(log: &str) -> Tests {
    let mut tests = Tests::default();
    for line in log.lines() {
        if line.starts_with("ok      ") {
            tests.passed += 1;
        } else if let Some(rest) = line.strip_prefix("FAILED  ") {
            tests.failed += 1;
            let name = rest.split("  ").next().unwrap_or(rest);
            tests.failures.push(format!("scenario {}", name.trim()));
        }
    }
    tests.programs = usize::from(tests.passed + tests.failed > 0);
    tests
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
    fn failed_tests_are_quoted() {
        let log = "test a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\npanicked: 1\n\n\
                   failures:\n    b\n\ntest result: FAILED. 1 passed; 1 failed\n\n   Doc-tests c\n";
        assert_eq!(said_by_failures(log), "---- b stdout ----\npanicked: 1");
        assert_eq!(said_by_failures(LOG), "");
        let twice = format!("{log}{log}");
        assert_eq!(said_by_failures(&twice).matches("panicked").count(), 2);
    }

    #[test]
    fn scenarios_are_counted() {
        let log = "$ `flin-e2e run`\nok      install                 2.1 s  all is there\n\
                   FAILED  durability             60.0 s  50,000 keys survive\n        why\n\
                   FAILED  clean up\n";
        let tests = read_scenarios(log);
        assert_eq!((tests.passed, tests.failed, tests.programs), (1, 2, 1));
        assert_eq!(tests.failures, ["scenario durability", "scenario clean up"]);
        assert_eq!(read_scenarios("could not connect").programs, 0);
    }

    #[test]
    fn log_without_results_has_no_programs() {
        assert_eq!(read("error: could not compile `flin-state`").programs, 0);
    }
}
