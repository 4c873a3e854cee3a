//! The data directory: one process, one owner, and a clear word to everybody else.

use std::fs;
use std::path::Path;
use std::process::Command;

use flin_engine::lock::{DataDir, DataDirError, FORMAT, Identity};
use flin_state::ids::{ClusterId, NodeId};

const CLUSTER: ClusterId = ClusterId(0xABCD);

/// Names the directory that a child process of a test shall open.
const CHILD_DIR: &str = "FLIN_TEST_CHILD_DIR";

#[test]
fn new_directory_is_ours_once_it_has_an_identity() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("flin-data");
    let mut data = DataDir::open(&path).expect("open a new directory");
    assert_eq!(data.identity(), None);
    data.write_identity(CLUSTER, NodeId(7)).expect("write the identity");
    data.write_identity(CLUSTER, NodeId(7)).expect("saying it again is no error");
    fs::write(data.log_dir().join("some.log"), b"data").expect("write");
    drop(data);
    let expected = Identity { cluster_id: CLUSTER, node_id: NodeId(7), format: FORMAT };
    assert_eq!(DataDir::open(&path).expect("open").identity(), Some(expected));
}

#[test]
fn second_process_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = DataDir::open(dir.path()).expect("open");
    let child = || {
        let exe = std::env::current_exe().expect("this test binary");
        let mut command = Command::new(exe);
        command.args(["--exact", "data_dir::child_process_opens_the_directory_it_is_told"]);
        let output = command.env(CHILD_DIR, dir.path()).output().expect("run this binary again");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let refused = child();
    assert!(refused.contains("in use by another process"), "{refused}");
    drop(data);
    let opened = child();
    assert!(opened.contains("1 passed"), "{opened}");
}

#[test]
fn child_process_opens_the_directory_it_is_told() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    if let Err(error) = DataDir::open(Path::new(&dir)) {
        panic!("{error}");
    }
}

#[test]
fn foreign_directory_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("thesis.txt"), b"years of work").expect("write");
    let error = DataDir::open(dir.path()).expect_err("not ours");
    assert!(matches!(&error, DataDirError::Foreign { found, .. } if found == "thesis.txt"));
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1, "nothing was added");
}

#[test]
fn data_without_an_identity_is_foreign() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("log")).expect("create");
    fs::write(dir.path().join("log").join("0000000000000001.log"), b"data").expect("write");
    let error = DataDir::open(dir.path()).expect_err("whose data is it?");
    assert!(matches!(&error, DataDirError::Foreign { found, .. } if found == "log"), "{error}");
}

#[test]
fn fresh_volume_with_lost_and_found_is_empty_enough() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("lost+found")).expect("create");
    DataDir::open(dir.path()).expect("open");
    DataDir::open(dir.path()).expect("open what an earlier start left without an identity");
}

#[test]
fn newer_format_is_refused_whatever_follows_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = "flin data directory\nformat = 2\nsomething = else\n";
    fs::write(dir.path().join("identity"), text).expect("write");
    let error = DataDir::open(dir.path()).expect_err("format 2 is not known");
    assert!(matches!(error, DataDirError::Newer { found: 2, .. }), "{error}");
    assert!(error.to_string().contains("start the newer version"), "{error}");
}

#[test]
fn damaged_identity_is_refused_by_what_is_wrong() {
    let good = format!("flin data directory\nformat = 1\ncluster = {CLUSTER}\nnode = 7\n");
    for (bad, what) in [
        (String::new(), "does not begin with"),
        (good.replace("format", "fromat"), "no format"),
        (good.replace("cluster", "clutser"), "no cluster"),
        (good.replace("node = 7", "node = 0"), "no node"),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("identity"), bad).expect("write");
        let error = DataDir::open(dir.path()).expect_err("damaged").to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn identity_is_never_changed() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut data = DataDir::open(dir.path()).expect("open");
    data.write_identity(CLUSTER, NodeId(7)).expect("write the identity");
    for (cluster, node) in [(CLUSTER, NodeId(8)), (ClusterId(1), NodeId(7))] {
        let error = data.write_identity(cluster, node).expect_err("it has an identity");
        assert!(matches!(error, DataDirError::OtherIdentity { .. }), "{error}");
    }
}

#[test]
fn path_that_is_no_directory_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file");
    fs::write(&path, b"").expect("write");
    let error = DataDir::open(&path).expect_err("a file");
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn nonce_survives_a_crash_and_goes_with_the_identity() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = DataDir::open(dir.path()).expect("open");
    assert_eq!(data.nonce().expect("read"), None);
    data.keep_nonce("5f1c").expect("keep");
    drop(data);
    let mut data = DataDir::open(dir.path()).expect("a directory with a nonce is ours");
    assert_eq!(data.nonce().expect("read").as_deref(), Some("5f1c"));
    data.write_identity(CLUSTER, NodeId(7)).expect("write the identity");
    data.forget_nonce().expect("forget");
    data.forget_nonce().expect("forgetting twice is no error");
    assert_eq!(data.nonce().expect("read"), None);
}

#[test]
fn retired_directory_is_emptied_by_the_next_process_and_only_once() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("lost+found")).expect("create");
    let mut data = DataDir::open(dir.path()).expect("open");
    data.write_identity(CLUSTER, NodeId(7)).expect("write the identity");
    for file in ["log/1.log", "state/CURRENT", "founding", "cluster.json", "cluster.new"] {
        fs::write(dir.path().join(file), b"data").expect("write");
    }
    data.retire().expect("retire");
    assert!(dir.path().join("log/1.log").exists(), "a process that runs keeps its data");
    drop(data);

    let mut data = DataDir::open(dir.path()).expect("open what is retired");
    assert!(data.was_emptied());
    assert_eq!(data.identity(), None);
    let names = || {
        let entries = fs::read_dir(dir.path()).expect("list");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["lock", "log", "lost+found", "state"]);
    assert_eq!(fs::read_dir(data.log_dir()).expect("list").count(), 0);
    data.write_identity(CLUSTER, NodeId(8)).expect("a new node");
    drop(data);
    let data = DataDir::open(dir.path()).expect("open");
    assert!(!data.was_emptied());
    assert_eq!(data.identity().map(|identity| identity.node_id), Some(NodeId(8)));
}

#[test]
fn emptying_that_was_interrupted_is_finished() {
    // After each removal the directory must still be known as one that is to be emptied, also without its
    // identity.
    for left in [&["identity", "log/1.log"][..], &["log/1.log"], &["cluster.json"], &[]] {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("log")).expect("create");
        for file in left.iter().chain(&["retired"]) {
            fs::write(dir.path().join(file), b"damaged").expect("write");
        }
        let data = DataDir::open(dir.path()).expect("open");
        assert!(data.was_emptied() && data.identity().is_none(), "{left:?}");
        assert!(!dir.path().join("retired").exists(), "{left:?}");
    }
}
