//! `cargo xtask tidy`: the rules that no compiler checks.

use std::process::ExitCode;

use anyhow::Result;

use crate::tidy;
use crate::workspace::Workspace;

pub(crate) fn tidy(workspace: &Workspace) -> Result<ExitCode> {
    match tidy::check(&workspace.root) {
        Ok(()) => {
            println!("tidy");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            println!("{error}");
            Ok(ExitCode::FAILURE)
        }
    }
}
