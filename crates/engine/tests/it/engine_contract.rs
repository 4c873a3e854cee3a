//! What every engine promises, and what each loses in a crash.

use std::ops::ControlFlow;

use bytes::Bytes;
use flin_engine::memory::MemoryEngine;
use flin_state::engine::{Edit, Engine, Reader, WriteBatch};

fn put(key: &str, value: &str) -> Edit {
    Edit::Put { key: Bytes::from(key.to_owned()), value: Bytes::from(value.to_owned()) }
}

fn delete(key: &str) -> Edit {
    Edit::Delete { key: Bytes::from(key.to_owned()) }
}

fn delete_range(from: &str, to: &str) -> Edit {
    Edit::DeleteRange { from: Bytes::from(from.to_owned()), to: Bytes::from(to.to_owned()) }
}

fn write(engine: &dyn Engine, edits: &[Edit]) {
    engine.write(WriteBatch { edits: edits.to_vec() }).expect("write");
}

fn content(reader: &dyn Reader) -> Vec<String> {
    let mut pairs = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        let text = String::from_utf8_lossy;
        pairs.push(format!("{}={}", text(key), text(value)));
        ControlFlow::Continue(())
    };
    reader.scan(b"", b"~", &mut visit).expect("scan");
    pairs
}

fn get(reader: &dyn Reader, key: &str) -> Option<Bytes> {
    reader.get(key.as_bytes()).expect("get")
}

fn persisted(engine: &dyn Engine, key: &str) -> Option<Bytes> {
    engine.get_persisted(key.as_bytes()).expect("get")
}

fn edits_take_effect_in_order(engine: &dyn Engine) {
    write(engine, &[put("a", "1"), put("b", "1"), put("c", "1"), put("d", "1")]);
    write(engine, &[delete_range("b", "d"), put("c", "2"), delete("a"), delete("absent")]);
    write(engine, &[delete_range("z", "e")]);
    assert_eq!(content(engine), ["c=2", "d=1"]);
    assert_eq!(get(engine, "c").as_deref(), Some(&b"2"[..]));
    assert_eq!(get(engine, "b"), None);
}

fn scan_has_bounds_and_can_stop(engine: &dyn Engine) {
    write(engine, &[put("a", ""), put("b", ""), put("c", ""), put("d", "")]);
    let scan = |from: &[u8], to: &[u8], most: usize| {
        let mut keys = Vec::new();
        let mut visit = |key: &[u8], _: &[u8]| {
            keys.push(key.to_vec());
            if keys.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        engine.scan(from, to, &mut visit).expect("scan");
        keys.concat()
    };
    assert_eq!(scan(b"b", b"d", 9), b"bc");
    assert_eq!(scan(b"aa", b"z", 2), b"bc");
    assert_eq!(scan(b"c", b"b", 9), b"");
}

fn snapshot_does_not_change(engine: &dyn Engine) {
    write(engine, &[put("a", "1"), put("b", "1")]);
    let mut read = |snapshot: &dyn Reader| {
        write(engine, &[put("a", "2"), delete("b"), put("c", "2")]);
        assert_eq!(content(snapshot), ["a=1", "b=1"]);
        assert_eq!(get(snapshot, "a").as_deref(), Some(&b"1"[..]));
        Ok(())
    };
    engine.with_snapshot(&mut read).expect("snapshot");
    assert_eq!(content(engine), ["a=2", "c=2"]);
}

fn only_flushed_values_are_persisted(engine: &dyn Engine) {
    write(engine, &[put("a", "1")]);
    engine.flush().expect("flush");
    write(engine, &[put("a", "2"), put("b", "2")]);
    assert_eq!(get(engine, "a").as_deref(), Some(&b"2"[..]));
    assert_eq!(persisted(engine, "a").as_deref(), Some(&b"1"[..]));
    assert_eq!(persisted(engine, "b"), None);
    engine.flush().expect("flush");
    assert_eq!(persisted(engine, "b").as_deref(), Some(&b"2"[..]));
}

fn install_replaces_exactly_its_range(engine: &dyn Engine) {
    write(engine, &[put("a", "old"), put("b1", "old"), put("b2", "old"), put("c", "old")]);
    engine.flush().expect("flush");
    write(engine, &[put("b3", "old")]);
    let mut stage = engine.stage("group-7").expect("stage");
    stage.put(b"b2", b"new").expect("put");
    stage.put(b"b4", b"new").expect("put");
    assert!(stage.put(b"b4", b"again").is_err(), "keys ascend");
    stage.finish().expect("finish");
    assert_eq!(content(engine), ["a=old", "b1=old", "b2=old", "b3=old", "c=old"]);
    engine.install("group-7", b"b", b"c").expect("install");
    assert_eq!(content(engine), ["a=old", "b2=new", "b4=new", "c=old"]);
    assert_eq!(persisted(engine, "b4").as_deref(), Some(&b"new"[..]));
    assert_eq!(persisted(engine, "b3"), None);
    write(engine, &[put("b1", "later")]);
    assert_eq!(get(engine, "b1").as_deref(), Some(&b"later"[..]));
    assert!(engine.install("group-7", b"b", b"c").is_err(), "it was used up");
}

fn stage_can_be_empty_discarded_and_begun_again(engine: &dyn Engine) {
    write(engine, &[put("a", "1"), put("b", "1")]);
    engine.stage("empty").expect("stage").finish().expect("finish");
    engine.install("empty", b"a", b"b").expect("install");
    assert_eq!(content(engine), ["b=1"]);

    let unfinished = engine.stage("x").expect("stage");
    assert!(engine.install("x", b"a", b"z").is_err(), "it is not finished");
    drop(unfinished);
    engine.discard_stage("x").expect("discard");
    engine.discard_stage("x").expect("an absent one is no error");

    let mut first = engine.stage("y").expect("stage");
    first.put(b"a", b"first").expect("put");
    first.finish().expect("finish");
    let mut second = engine.stage("y").expect("stage");
    second.put(b"c", b"second").expect("put");
    second.finish().expect("finish");
    engine.install("y", b"a", b"z").expect("install");
    assert_eq!(content(engine), ["c=second"]);
}

type Check = fn(&dyn Engine);

const CHECKS: [Check; 6] = [
    edits_take_effect_in_order,
    scan_has_bounds_and_can_stop,
    snapshot_does_not_change,
    only_flushed_values_are_persisted,
    install_replaces_exactly_its_range,
    stage_can_be_empty_discarded_and_begun_again,
];

#[test]
fn memory_engine_keeps_the_contract() {
    CHECKS.iter().for_each(|check| check(&MemoryEngine::new()));
}

#[test]
fn memory_engine_loses_what_was_not_flushed_and_keeps_whole_batches() {
    for kept in 0..4 {
        let engine = MemoryEngine::new();
        write(&engine, &[put("a", "0")]);
        engine.flush().expect("flush");
        for batch in 1..4 {
            write(&engine, &[put("a", &batch.to_string()), put(&format!("b{batch}"), "")]);
        }
        engine.crash(kept);
        let value = get(&engine, "a").expect("it was flushed");
        assert_eq!(value, kept.to_string());
        assert_eq!(content(&engine).len(), 1 + kept);
    }
}

#[cfg(feature = "rocksdb")]
mod rocks {
    use std::process::Command;

    use flin_engine::rocks::{RocksEngine, RocksOptions};

    use super::*;

    /// Names the directory that a child process shall write to until it dies.
    const CHILD_DIR: &str = "FLIN_TEST_CHILD_DIR";

    const BATCHES: usize = 500;

    fn small_buffers() -> RocksOptions {
        RocksOptions { write_buffer_bytes: 64 << 10, ..RocksOptions::default() }
    }

    #[test]
    fn rocks_engine_keeps_the_contract() {
        for check in CHECKS {
            let dir = tempfile::tempdir().expect("a directory");
            let engine = RocksEngine::open(dir.path(), RocksOptions::default()).expect("open");
            check(&engine);
        }
    }

    #[test]
    fn killed_rocks_engine_keeps_a_prefix_of_whole_batches() {
        let dir = tempfile::tempdir().expect("a directory");
        let child = "engine_contract::rocks::child_process_writes_until_it_dies";
        let exe = std::env::current_exe().expect("this test binary");
        let mut command = Command::new(exe);
        let output = command.args(["--exact", child]).env(CHILD_DIR, dir.path()).output();
        assert!(!output.expect("run this binary again").status.success(), "it was to die");

        let engine = RocksEngine::open(dir.path(), small_buffers()).expect("open");
        let applied = get(&engine, "applied").expect("several memtables were full");
        let applied: usize = String::from_utf8_lossy(&applied).parse().expect("a number");
        assert!(applied < BATCHES - 1, "the last memtable was not flushed");
        assert_eq!(content(&engine).len(), 1 + applied + 1, "exactly the batches up to `applied`");
    }

    #[test]
    fn child_process_writes_until_it_dies() {
        let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
        let engine = RocksEngine::open(dir, small_buffers()).expect("open");
        for batch in 0..BATCHES {
            let own = format!("b{batch:04}");
            write(&engine, &[put("applied", &batch.to_string()), put(&own, &"x".repeat(500))]);
        }
        while persisted(&engine, "applied").is_none() {
            std::thread::yield_now();
        }
        std::process::abort();
    }

    #[test]
    fn closed_rocks_engine_has_everything_when_it_is_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let engine = RocksEngine::open(dir.path(), RocksOptions::default()).expect("open");
        write(&engine, &[put("a", "1")]);
        engine.flush().expect("flush");
        assert!(engine.size_bytes() > 0);
        drop(engine);
        let engine = RocksEngine::open(dir.path(), RocksOptions::default()).expect("open");
        assert_eq!(content(&engine), ["a=1"]);
    }
}
