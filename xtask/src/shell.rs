//! Running other programs: what they say is kept, and a failure shows its last lines.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

/// How many of a failed program's last lines are shown.
const TAIL_LINES: usize = 30;
/// How much of a log's end is read to find them.
const TAIL_BYTES: u64 = 16 * 1024;

/// One program to run, with everything it is given.
#[derive(Debug)]
pub(crate) struct Run {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    without_env: Vec<OsString>,
    dir: Option<PathBuf>,
    timeout: Option<Duration>,
}

/// Starts the description of a run of `program`.
pub(crate) fn run(program: impl AsRef<OsStr>) -> Run {
    Run {
        program: program.as_ref().to_owned(),
        args: Vec::new(),
        env: Vec::new(),
        without_env: Vec::new(),
        dir: None,
        timeout: None,
    }
}

impl Run {
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Keeps the program from seeing this variable of our own environment.
    pub(crate) fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.without_env.push(name.as_ref().to_owned());
        self
    }

    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Kills the program, and fails, when it has not ended after `timeout`.
    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What the program writes to its standard output, without the white space around it.
    pub(crate) fn output(self) -> Result<String> {
        let ended = self.capture()?;
        if ended.status.success() {
            return Ok(ended.out.trim().to_owned());
        }
        let said = if ended.err.trim().is_empty() { &ended.out } else { &ended.err };
        bail!("{self} ended with {}\n{}", ended.status, tail(said, TAIL_LINES))
    }

    /// Runs the program for its effect; what it says is shown only if it fails.
    pub(crate) fn quiet(self) -> Result<()> {
        self.output().map(drop)
    }

    /// Whether the program runs and ends well. Says nothing.
    pub(crate) fn succeeds(self) -> bool {
        self.capture().is_ok_and(|ended| ended.status.success())
    }

    /// Appends all that the program says to the file `log`.
    pub(crate) fn logged(self, log: &Path) -> Result<()> {
        let status = self.status_logged(log)?;
        if status.success() {
            return Ok(());
        }
        bail!("{self} ended with {status}; the end of {}:\n{}", log.display(), tail_of_file(log))
    }

    /// As [`Run::logged`], leaving it to the caller to judge the exit status.
    pub(crate) fn status_logged(&self, log: &Path) -> Result<ExitStatus> {
        if let Some(dir) = log.parent() {
            std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        }
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open {}", log.display()))?;
        writeln!(file, "$ {self}")?;
        let mut command = self.command();
        command.stdout(file.try_clone()?).stderr(file);
        let mut child = self.spawn(command)?;
        self.wait(&mut child)
    }

    /// Runs the program on the terminal of the user.
    pub(crate) fn shown(self) -> Result<()> {
        let mut child = self.spawn(self.command())?;
        let status = self.wait(&mut child)?;
        if status.success() { Ok(()) } else { bail!("{self} ended with {status}") }
    }

    /// Starts the program in a session of its own, so that it outlives this one.
    pub(crate) fn detached(self, log: &Path) -> Result<()> {
        let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let mut session = run("setsid").arg("--fork").arg(&self.program).args(&self.args);
        session.env.clone_from(&self.env);
        let mut command = session.command();
        command.stdout(file.try_clone()?).stderr(file);
        let mut child = session.spawn(command)?;
        session.wait(&mut child)?;
        Ok(())
    }

    /// Starts the program and leaves the waiting to the caller.
    pub(crate) fn background(self, log: &Path) -> Result<Child> {
        let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let mut command = self.command();
        command.stdout(file.try_clone()?).stderr(file);
        self.spawn(command)
    }

    /// Becomes the program. Returns only if that fails.
    pub(crate) fn replace(self) -> anyhow::Error {
        let error = self.command().exec();
        anyhow!(error).context(format!("start {self}"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        for name in &self.without_env {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    fn spawn(&self, mut command: Command) -> Result<Child> {
        command.stdin(Stdio::null()).spawn().with_context(|| format!("start {self}"))
    }

    fn capture(&self) -> Result<Ended> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.spawn(command)?;
        let out = child.stdout.take().map(read_in_background);
        let err = child.stderr.take().map(read_in_background);
        let status = self.wait(&mut child)?;
        let text = |reader: Option<std::thread::JoinHandle<String>>| {
            reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
        };
        Ok(Ended { status, out: text(out), err: text(err) })
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus> {
        let Some(timeout) = self.timeout else {
            return child.wait().with_context(|| format!("wait for {self}"));
        };
        let deadline = Instant::now() + timeout;
        let mut pause = Duration::from_millis(2);
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                child.kill().ok();
                child.wait().ok();
                bail!("{self} was still running after {} s", timeout.as_secs());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = Path::new(&self.program).file_name().unwrap_or(&self.program);
        let mut line = name.to_string_lossy().into_owned();
        for arg in &self.args {
            let _ = write!(line, " {}", arg.to_string_lossy());
        }
        // Secrets are never arguments, but some arguments are whole documents.
        match line.char_indices().nth(200) {
            Some((end, _)) => write!(f, "`{}...`", &line[..end]),
            None => write!(f, "`{line}`"),
        }
    }
}

struct Ended {
    status: ExitStatus,
    out: String,
    err: String,
}

fn read_in_background(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The last `lines` lines of `text`.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The last lines of a log, or a word on why there are none.
pub(crate) fn tail_of_file(path: &Path) -> String {
    end_of_file(path).map_or_else(
        |error| format!("({} cannot be read: {error})", path.display()),
        |text| tail(&text, TAIL_LINES),
    )
}

/// The last line of a log that holds anything, for a sign of life while it grows.
pub(crate) fn last_line(path: &Path) -> Option<String> {
    let text = end_of_file(path).ok()?;
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

fn end_of_file(path: &Path) -> std::io::Result<String> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where `program` is found on the search path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    // An ordinary user's path leaves out the folders of the administrator's programs.
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Whether this process has all the rights of the administrator's account.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_trimmed() {
        assert_eq!(run("echo").arg(" word ").output().unwrap(), "word");
    }

    #[test]
    fn failure_names_the_program_and_shows_what_it_said() {
        let error = run("sh").args(["-c", "echo broken >&2; exit 3"]).output().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`sh -c"), "{text}");
        assert!(text.contains("broken"), "{text}");
    }

    #[test]
    fn missing_program_is_named() {
        let error = run("no-such-program-here").quiet().unwrap_err();
        assert!(error.to_string().contains("no-such-program-here"));
    }

    #[test]
    fn program_that_does_not_end_is_stopped() {
        let error = run("sleep").arg("60").timeout(Duration::from_millis(50)).quiet().unwrap_err();
        assert!(error.to_string().contains("still running"));
    }

    #[test]
    fn tail_keeps_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 5), "a");
    }
}
