//! Telling the user what is going on: each step with its time, and a sign of life in long ones.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::shell;
use crate::workspace::Workspace;

/// How often a step that takes long says so.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// The record of a run, step by step. Steps of two lanes may overlap.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    log_dir: PathBuf,
    colour: bool,
    done: Mutex<Vec<(String, Duration)>>,
}

/// The step that is being taken.
#[derive(Debug)]
pub(crate) struct Step {
    log: PathBuf,
    note: Mutex<String>,
}

impl Step {
    /// Where programs run by this step write.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Says in a few words how the step went; shown when it ends.
    pub(crate) fn note(&self, words: impl Into<String>) {
        if let Ok(mut note) = self.note.lock() {
            *note = words.into();
        }
    }
}

impl Progress {
    pub(crate) fn start(workspace: &Workspace) -> Self {
        Self {
            started: Instant::now(),
            log_dir: workspace.cache.join("log"),
            colour: std::io::stdout().is_terminal(),
            done: Mutex::default(),
        }
    }

    /// Takes one step, telling its name before and its time after.
    pub(crate) fn step<T>(&self, name: &str, act: impl FnOnce(&Step) -> Result<T>) -> Result<T> {
        let file = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_lowercase();
        let log = self.log_dir.join(format!("{file}.log"));
        std::fs::remove_file(&log).ok();
        let step = Step { log, note: Mutex::default() };
        let started = Instant::now();
        let result = self.with_signs_of_life(name, &step, || act(&step));
        let took = started.elapsed();
        let note = step.note.lock().map(|note| note.clone()).unwrap_or_default();
        let note = if note.is_empty() { note } else { format!("  ({note})") };
        let mark = if result.is_ok() { self.paint("32", "ok") } else { self.paint("31", "FAILED") };
        println!("{:>8}  {mark} {name}{note}", human(took));
        if let Err(error) = &result {
            // All of it is told when everything else has ended, which may be minutes later.
            let why = error.to_string();
            println!("          {}", why.lines().next().unwrap_or_default());
        }
        if let Ok(mut done) = self.done.lock() {
            done.push((name.to_owned(), took));
        }
        result
    }

    /// Since the start of the run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn with_signs_of_life<T>(&self, name: &str, step: &Step, act: impl FnOnce() -> T) -> T {
        let (over, watch) = channel::<()>();
        let started = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while let Err(RecvTimeoutError::Timeout) = watch.recv_timeout(SIGN_OF_LIFE) {
                    let said = shell::last_line(&step.log).unwrap_or_default();
                    let said: String = said.chars().filter(|c| !c.is_control()).take(90).collect();
                    println!("{:>8}  .. {name}: {said}", human(started.elapsed()));
                }
            });
            let result = act();
            drop(over);
            result
        })
    }

    fn paint(&self, colour: &str, word: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() }
    }
}

/// A duration as people say it: `0.4s`, `37s`, `12m31s`, `1h02m`.
pub(crate) fn human(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", time.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// An error with all that led to it, and without the stack: these errors are for the user.
pub(crate) fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join("\nbecause: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_say_them() {
        assert_eq!(human(Duration::from_millis(420)), "0.4s");
        assert_eq!(human(Duration::from_secs(37)), "37s");
        assert_eq!(human(Duration::from_secs(751)), "12m31s");
        assert_eq!(human(Duration::from_secs(3720)), "1h02m");
    }
}
