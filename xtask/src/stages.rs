//! The stages of a test run: each is timed, a failed one does not stop the next, and all are told at the end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::libtest::Tests;
use crate::progress::{Progress, Step, human, told};

/// How a stage ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped(String),
}

/// One line of the table.
#[derive(Debug, Clone)]
struct Stage {
    name: String,
    took: Duration,
    tests: Option<Tests>,
    outcome: Outcome,
}

/// All stages so far.
#[derive(Debug)]
pub(crate) struct Stages<'a> {
    progress: &'a Progress,
    stages: Vec<Stage>,
}

impl<'a> Stages<'a> {
    pub(crate) fn new(progress: &'a Progress) -> Self {
        Self { progress, stages: Vec::new() }
    }

    /// Runs a stage that holds no tests. Returns whether it passed.
    pub(crate) fn check(&mut self, name: &str, act: impl FnOnce(&Step) -> Result<()>) -> bool {
        let started = Instant::now();
        let result = self.progress.step(name, act);
        self.record(name, started, None, result)
    }

    /// Runs a stage of tests. It fails if a test does, or if none ran.
    pub(crate) fn tests(&mut self, name: &str, act: impl FnOnce(&Step) -> Result<Tests>) -> bool {
        let started = Instant::now();
        let mut counted = None;
        let result = self.progress.step(name, |step| {
            let tests = counted.insert(act(step)?);
            step.note(format!("{} passed, {} failed", tests.passed, tests.failed));
            judge(tests)
        });
        self.record(name, started, counted, result)
    }

    /// Runs something that tells its own steps.
    pub(crate) fn group(&mut self, name: &str, act: impl FnOnce() -> Result<()>) -> bool {
        let started = Instant::now();
        let result = act();
        if let Err(error) = &result {
            println!("          FAILED {name}: {}", told(error).lines().next().unwrap_or_default());
        }
        self.record(name, started, None, result)
    }

    /// Notes a stage that cannot run because another failed.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        println!("          -- {name}: skipped, {why}");
        self.stages.push(Stage {
            name: name.to_owned(),
            took: Duration::ZERO,
            tests: None,
            outcome: Outcome::Skipped(why.to_owned()),
        });
    }

    fn record(
        &mut self,
        name: &str,
        started: Instant,
        tests: Option<Tests>,
        result: Result<()>,
    ) -> bool {
        let passed = result.is_ok();
        if let Err(error) = result {
            // The step has told the first line.
            if let Some((_, rest)) = told(&error).split_once('\n') {
                println!("{}", indented(rest));
            }
        }
        let outcome = if passed { Outcome::Passed } else { Outcome::Failed };
        self.stages.push(Stage { name: name.to_owned(), took: started.elapsed(), tests, outcome });
        passed
    }

    /// Whether every stage passed.
    pub(crate) fn passed(&self) -> bool {
        self.stages.iter().all(|stage| stage.outcome == Outcome::Passed)
    }

    /// The table of stages, and as its last line the whole run in one sentence.
    pub(crate) fn summary(&self, command: &str) -> String {
        let width = self.stages.iter().map(|stage| stage.name.len()).max().unwrap_or(0).max(5);
        let mut text = format!("{:<width$}  {:>7}  {:>6}  result\n", "stage", "time", "tests");
        let mut all = Tests::default();
        for stage in &self.stages {
            let count =
                stage.tests.as_ref().map_or("-".to_owned(), |t| (t.passed + t.failed).to_string());
            let result = match &stage.outcome {
                Outcome::Passed => "ok".to_owned(),
                Outcome::Failed => "FAILED".to_owned(),
                Outcome::Skipped(why) => format!("skipped: {why}"),
            };
            let _ = writeln!(
                text,
                "{:<width$}  {:>7}  {count:>6}  {result}",
                stage.name,
                human(stage.took)
            );
            if let Some(tests) = &stage.tests {
                all += tests;
            }
        }
        for failure in &all.failures {
            let _ = writeln!(text, "failed: {failure}");
        }
        let count = |outcome: fn(&Outcome) -> bool| {
            self.stages.iter().filter(|stage| outcome(&stage.outcome)).count()
        };
        let failed = count(|outcome| *outcome == Outcome::Failed);
        let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
        let stages = match (failed, skipped) {
            (0, 0) => format!("{} stages", self.stages.len()),
            (failed, 0) => format!("{} stages ({failed} failed)", self.stages.len()),
            (failed, skipped) => {
                format!("{} stages ({failed} failed, {skipped} skipped)", self.stages.len())
            }
        };
        let _ = write!(
            text,
            "\n{command}: {stages}, {} tests passed, {} failed, {}",
            all.passed,
            all.failed,
            human(self.progress.elapsed())
        );
        text
    }
}

fn judge(tests: &Tests) -> Result<()> {
    if tests.failed > 0 {
        anyhow::bail!("{} tests failed:\n  {}", tests.failed, tests.failures.join("\n  "));
    }
    if tests.programs == 0 {
        anyhow::bail!("no test ran");
    }
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("            {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    fn three_stages(progress: &Progress) -> Stages<'_> {
        let mut stages = Stages::new(progress);
        stages.check("format", |_| Ok(()));
        stages.tests("unit tests", |_| {
            Ok(Tests {
                passed: 3,
                failed: 1,
                programs: 1,
                failures: vec!["a::b".into()],
                ..Tests::default()
            })
        });
        stages.skip("scenarios", "no cluster");
        stages
    }

    #[test]
    fn last_line_tells_the_run_in_one_sentence() {
        let workspace = Workspace::open().unwrap();
        let progress = Progress::start(&workspace);
        let stages = three_stages(&progress);
        let summary = stages.summary("test");
        let last = summary.lines().last().unwrap();
        assert!(
            last.starts_with("test: 3 stages (1 failed, 1 skipped), 3 tests passed, 1 failed, "),
            "{last}"
        );
        assert!(summary.contains("failed: a::b"), "{summary}");
        assert!(!stages.passed());
    }

    #[test]
    fn stage_of_tests_without_any_fails() {
        assert!(judge(&Tests::default()).is_err());
        assert!(judge(&Tests { programs: 1, ..Tests::default() }).is_ok());
    }
}
