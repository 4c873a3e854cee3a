//! The program `flin`: looks at Flin clusters and tells them what to do, through any node's gRPC port.
//!
//! What a person reads is a table; what a program reads (`-o json`, `-o yaml`) has names that stay. Answers go
//! to the standard output, everything else to the standard error, and the exit code says how it went
//! ([`failure`]).

// A test that unwraps fails with the line it stands on, which is all that a test needs.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cluster;
mod command;
mod connection;
mod failure;
mod output;
mod progress;
mod units;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::main()
}
