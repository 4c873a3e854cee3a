//! The program `flin-node`; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    flin_node::command::main()
}
