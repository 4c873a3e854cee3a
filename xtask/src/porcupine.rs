//! A second opinion on the checker of linearizability: porcupine, a Go module, judges the same histories.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::gotools::go;
use crate::libtest::Tests;
use crate::progress::Step;
use crate::shell::run;
use crate::workspace::Workspace;

/// How many histories both judge.
const HISTORIES: u32 = 3_000;

/// Has both judge the same histories; that they agree about all of them counts as one test.
pub(crate) fn compare(workspace: &Workspace, step: &Step) -> Result<Tests> {
    let judge = workspace.tool("porcupine-judge");
    go(workspace)
        .dir(workspace.root.join("crates/check/porcupine"))
        .args(["build", "-trimpath", "-o"])
        .arg(&judge)
        .arg(".")
        .logged(step.log())?;
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let histories = workspace.target().join("release/examples/histories");
    let (histories, judge) = (histories.display(), judge.display());
    let both = format!("'{histories}' --seed {seed} --count {HISTORIES} | '{judge}'");
    run("sh").args(["-c", &both]).logged(step.log())?;
    step.note(format!("{HISTORIES} histories from seed {seed}, no disagreement"));
    Ok(Tests { programs: 1, passed: 1, ..Tests::default() })
}
