//! A Redis to compare with: it keeps nothing, and listens where nobody else comes.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use tempfile::TempDir;

use super::connection::Connection;
use crate::processes::cluster::PATIENCE;

/// The names of the server's program. The second is how Debian's redis-tools call it, which is one program for
/// all: it does what the name says that it is started by.
const PROGRAMS: [&str; 2] = ["redis-server", "redis-check-rdb"];

/// The longest value that Flin takes, so that Redis refuses the same ones.
const VALUE_BYTES_MAX: usize = 16 << 20;

pub struct RedisServer {
    directory: TempDir,
    process: Child,
}

impl RedisServer {
    /// Starts the server, and returns once it answers.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(program());
        command
            .arg0("redis-server")
            // No port that somebody else could have.
            .args(["--port", "0", "--unixsocket"])
            .arg(directory.path().join("socket"))
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--databases", "1"])
            .args(["--proto-max-bulk-len", &VALUE_BYTES_MAX.to_string(), "--dir"])
            .arg(directory.path())
            .arg("--logfile")
            .arg(directory.path().join("log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let process = command.spawn().expect("redis-server starts");
        let server = RedisServer { directory, process };
        server.connect().await;
        server
    }

    /// A new connection.
    pub async fn connect(&self) -> Connection {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Connection::unix(&self.directory.path().join("socket")).await {
                Ok(connection) => return connection,
                Err(error) if Instant::now() > deadline => panic!("{error}: {}", self.log()),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let places = PROGRAMS.iter().flat_map(|name| folders.iter().map(move |dir| dir.join(name)));
    places.into_iter().find(|file| file.is_file()).expect(
        "a Redis to compare with is not installed: `cargo xtask test` installs it; by hand it is \
         Debian's package redis-tools, or any redis-server on PATH",
    )
}
