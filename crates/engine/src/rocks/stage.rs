//! Ranges staged beside the engine and installed at once, redone at open if a crash interrupts them.
//!
//! ```text
//! stages/<name>/000001.sst ...  the pairs
//! stages/<name>/finished        the stage is whole: how many files it has
//! stages/<name>/installing      the stage is being installed: the range that it replaces
//! stages/<name>.gone/           being removed
//! ```
//! The files, and one that deletes the range, become part of the database in a single ingestion, which
//! RocksDB makes atomic and durable through its manifest. It consumes links, so that the stage stays
//! whole until the ingestion is known to be done, and doing it once more changes nothing.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use flin_state::engine::{EngineError, Result, Stage};
use rocksdb::{IngestExternalFileOptions, Options, SstFileWriter};

use super::RocksEngine;

/// Pairs kept in memory before they become a file of the stage.
const STAGE_FILE_BYTES: usize = 16 << 20;

const FINISHED: &str = "finished";
const INSTALLING: &str = "installing";
const GONE: &str = "gone";
const RANGE: &str = "range.sst";

/// The steps of an install, each durable before the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Marked,
    Prepared,
    Ingested,
    Cleared,
}

/// A stage being filled.
struct RocksStage {
    options: Arc<Options>,
    dir: PathBuf,
    files: u32,
    pairs: Vec<(Bytes, Bytes)>,
    bytes: usize,
    last: Vec<u8>,
}

impl RocksEngine {
    pub(super) fn begin_stage(&self, name: &str) -> Result<Box<dyn Stage + Send>> {
        self.remove_stage(name)?;
        let dir = self.stage_dir(name)?;
        let begun = fs::create_dir(&dir).and_then(|()| sync_dir(&self.stages));
        begun.map_err(failed("begin the stage", name))?;
        Ok(Box::new(RocksStage {
            options: self.options.clone(),
            dir,
            files: 0,
            pairs: Vec::new(),
            bytes: 0,
            last: Vec::new(),
        }))
    }

    pub(super) fn install_stage(&self, name: &str, from: &[u8], to: &[u8]) -> Result<()> {
        self.install_until(name, from, to, Step::Cleared)
    }

    pub(super) fn remove_stage(&self, name: &str) -> Result<()> {
        let dir = self.stage_dir(name)?;
        self.clear(&dir).map_err(failed("discard the stage", name))
    }

    /// Completes the installs that a crash interrupted and removes the stages that it left unfinished.
    pub(super) fn recover_stages(&self) -> Result<()> {
        let recover = failed("recover the stages of", "the engine");
        let list = || -> io::Result<Vec<PathBuf>> {
            fs::read_dir(&self.stages)?.map(|entry| Ok(entry?.path())).collect()
        };
        for dir in list().map_err(&recover)? {
            if dir.extension().is_some_and(|extension| extension == GONE) {
                fs::remove_dir_all(&dir).map_err(&recover)?;
            } else if let Some(range) = read_optional(&dir.join(INSTALLING)).map_err(&recover)? {
                let act = || format!("complete the install of the stage {}", dir.display());
                let (from, to) = decode_range(&range)
                    .ok_or_else(|| EngineError::new(act(), "its marker is damaged"))?;
                self.ingest(&dir, &from, &to).map_err(|e| EngineError::new(act(), e))?;
                self.clear(&dir).map_err(|e| EngineError::new(act(), e))?;
            } else if !dir.join(FINISHED).try_exists().map_err(&recover)? {
                self.clear(&dir).map_err(&recover)?;
            }
        }
        Ok(())
    }

    /// Installs a stage as far as `step`; tests stop early, as a crash would.
    fn install_until(&self, name: &str, from: &[u8], to: &[u8], step: Step) -> Result<()> {
        let dir = self.stage_dir(name)?;
        let failed = failed("install the stage", name);
        if from >= to {
            return Err(failed(io::Error::other("the range is empty")));
        }
        if read_optional(&dir.join(FINISHED)).map_err(&failed)?.is_none() {
            return Err(failed(io::Error::other("it is not finished")));
        }
        // Batches written before the install survive whenever it does.
        self.db.flush().map_err(|e| failed(io::Error::other(e)))?;
        write_durably(&dir, INSTALLING, &encode_range(from, to)).map_err(&failed)?;
        if step == Step::Marked {
            return Ok(());
        }
        let files = self.prepare(&dir, from, to).map_err(&failed)?;
        if step == Step::Prepared {
            return Ok(());
        }
        self.ingest_files(files).map_err(&failed)?;
        if step == Step::Ingested {
            return Ok(());
        }
        self.clear(&dir).map_err(&failed)
    }

    fn ingest(&self, dir: &Path, from: &[u8], to: &[u8]) -> io::Result<()> {
        let files = self.prepare(dir, from, to)?;
        self.ingest_files(files)
    }

    /// Makes the files that the ingestion consumes: first the one that deletes the range.
    fn prepare(&self, dir: &Path, from: &[u8], to: &[u8]) -> io::Result<Vec<PathBuf>> {
        let finished = fs::read(dir.join(FINISHED))?;
        let count = decode_finished(&finished)
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the stage is damaged"))?;
        let range = dir.join(RANGE);
        remove_if_there(&range)?;
        let mut writer = SstFileWriter::create(&self.options);
        writer.open(&range).map_err(io::Error::other)?;
        writer.delete_range(from, to).map_err(io::Error::other)?;
        writer.finish().map_err(io::Error::other)?;
        let mut files = vec![range];
        for number in 1..=count {
            let link = dir.join(format!("{number:06}.link.sst"));
            remove_if_there(&link)?;
            fs::hard_link(stage_file(dir, number), &link)?;
            files.push(link);
        }
        Ok(files)
    }

    fn ingest_files(&self, files: Vec<PathBuf>) -> io::Result<()> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        // Later files win over earlier ones where they overlap: the pairs over the deleted range.
        self.db.ingest_external_file_opts(&options, files).map_err(io::Error::other)
    }

    /// Removes a stage at once: under its new name nobody takes it for a stage.
    fn clear(&self, dir: &Path) -> io::Result<()> {
        let gone = dir.with_extension(GONE);
        if gone.try_exists()? {
            fs::remove_dir_all(&gone)?;
        }
        match fs::rename(dir, &gone) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        sync_dir(&self.stages)?;
        fs::remove_dir_all(&gone)
    }

    fn stage_dir(&self, name: &str) -> Result<PathBuf> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if name.is_empty() || !name.bytes().all(plain) {
            let what = "its name is not of the form [a-z0-9-]+";
            return Err(EngineError::new(format!("use the stage `{name}`"), what));
        }
        Ok(self.stages.join(name))
    }
}

impl Stage for RocksStage {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.files + self.pairs.len() as u32 > 0 && key <= &self.last[..] {
            let what = "its key is not above the one before";
            return Err(EngineError::new(format!("stage a pair in {}", self.dir.display()), what));
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        self.pairs.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        self.bytes += key.len() + value.len();
        if self.bytes >= STAGE_FILE_BYTES { self.write_file() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if !self.pairs.is_empty() {
            self.write_file()?;
        }
        let act = |e| EngineError::new(format!("finish the stage {}", self.dir.display()), e);
        // The names of the files become durable before the one that vouches for them.
        sync_dir(&self.dir).map_err(act)?;
        write_durably(&self.dir, FINISHED, &encode_finished(self.files)).map_err(act)
    }
}

impl RocksStage {
    /// Writes the pairs in memory to the next file, durably.
    fn write_file(&mut self) -> Result<()> {
        let path = stage_file(&self.dir, self.files + 1);
        let write = |pairs: &[(Bytes, Bytes)]| -> io::Result<()> {
            let mut writer = SstFileWriter::create(&self.options);
            writer.open(&path).map_err(io::Error::other)?;
            for (key, value) in pairs {
                writer.put(key, value).map_err(io::Error::other)?;
            }
            writer.finish().map_err(io::Error::other)?;
            File::open(&path)?.sync_all()
        };
        write(&self.pairs)
            .map_err(|e| EngineError::new(format!("write the stage file {}", path.display()), e))?;
        self.files += 1;
        self.pairs.clear();
        self.bytes = 0;
        Ok(())
    }
}

fn failed<'a>(act: &'a str, name: &'a str) -> impl Fn(io::Error) -> EngineError + 'a {
    move |source| EngineError::new(format!("{act} {name}"), source)
}

fn stage_file(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:06}.sst"))
}

/// Writes a small file that is there wholly or not at all.
fn write_durably(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = dir.join(format!("{name}.new"));
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, dir.join(name))?;
    sync_dir(dir)
}

fn read_optional(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// A checksum in front of the bytes that it covers. Persisted: keep stable.
fn checked(bytes: Vec<u8>) -> Vec<u8> {
    let mut checked = crc32fast::hash(&bytes).to_le_bytes().to_vec();
    checked.extend(bytes);
    checked
}

fn check(mut bytes: &[u8]) -> Option<&[u8]> {
    let crc = bytes.try_get_u32_le().ok()?;
    (crc32fast::hash(bytes) == crc).then_some(bytes)
}

fn encode_finished(files: u32) -> Vec<u8> {
    checked(files.to_le_bytes().to_vec())
}

fn decode_finished(bytes: &[u8]) -> Option<u32> {
    check(bytes)?.try_get_u32_le().ok()
}

fn encode_range(from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u64_le(from.len() as u64);
    bytes.extend_from_slice(from);
    bytes.extend_from_slice(to);
    checked(bytes)
}

fn decode_range(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut bytes = check(bytes)?;
    let from_length = usize::try_from(bytes.try_get_u64_le().ok()?).ok()?;
    let (from, to) = bytes.split_at_checked(from_length)?;
    Some((from.to_vec(), to.to_vec()))
}

#[cfg(test)]
mod tests {
    use flin_state::engine::{Edit, Engine, Reader, WriteBatch};

    use super::*;
    use crate::rocks::RocksOptions;

    fn put(engine: &RocksEngine, key: &'static str, value: &'static str) {
        let edit = Edit::Put { key: Bytes::from(key), value: Bytes::from(value) };
        engine.write(WriteBatch { edits: vec![edit] }).expect("write");
    }

    fn content(engine: &RocksEngine) -> Vec<String> {
        let mut pairs = Vec::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            let text = String::from_utf8_lossy;
            pairs.push(format!("{}={}", text(key), text(value)));
            std::ops::ControlFlow::Continue(())
        };
        engine.scan(b"", b"~", &mut visit).expect("scan");
        pairs
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("create");
        for entry in fs::read_dir(from).expect("list") {
            let entry = entry.expect("list");
            let target = to.join(entry.file_name());
            if entry.file_type().expect("stat").is_dir() {
                copy(&entry.path(), &target);
            } else {
                // RocksDB removes logs that are no longer needed in the background.
                match fs::copy(entry.path(), target) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    other => drop(other.expect("copy")),
                }
            }
        }
    }

    #[test]
    fn install_interrupted_at_any_step_is_completed_by_opening() {
        for step in [Step::Marked, Step::Prepared, Step::Ingested, Step::Cleared] {
            let dir = tempfile::tempdir().expect("a directory");
            let engine = RocksEngine::open(dir.path().join("a"), RocksOptions::default());
            let engine = engine.expect("open");
            for (key, value) in [("a1", "old"), ("b1", "old"), ("b2", "old"), ("c1", "old")] {
                put(&engine, key, value);
            }
            let mut stage = engine.stage("b").expect("stage");
            stage.put(b"b2", b"new").expect("put");
            stage.put(b"b3", b"new").expect("put");
            stage.finish().expect("finish");
            engine.install_until("b", b"b", b"c", step).expect("install");
            put(&engine, "z", "after, and not flushed");

            // What a process that is killed here leaves behind.
            copy(&dir.path().join("a"), &dir.path().join("b"));
            for round in 0..2 {
                let reopened = RocksEngine::open(dir.path().join("b"), RocksOptions::default());
                let reopened = reopened.expect("open what a crash left");
                let expected = ["a1=old", "b2=new", "b3=new", "c1=old"];
                assert_eq!(content(&reopened), expected, "after {step:?}, opened {round} times");
                let left = fs::read_dir(&reopened.stages).expect("list").count();
                assert_eq!(left, 0, "after {step:?}");
            }
        }
    }

    #[test]
    fn unfinished_stage_is_removed_by_opening_and_a_finished_one_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let engine = RocksEngine::open(dir.path(), RocksOptions::default()).expect("open");
        let mut unfinished = engine.stage("unfinished").expect("stage");
        unfinished.put(b"a", b"1").expect("put");
        drop(unfinished);
        let mut finished = engine.stage("finished").expect("stage");
        finished.put(b"b", b"2").expect("put");
        finished.finish().expect("finish");
        drop(engine);

        let engine = RocksEngine::open(dir.path(), RocksOptions::default()).expect("open");
        assert!(engine.install("unfinished", b"a", b"b").is_err());
        engine.install("finished", b"b", b"c").expect("install");
        assert_eq!(content(&engine), ["b=2"]);
    }

    #[test]
    fn markers_read_back_and_damage_is_noticed() {
        assert_eq!(decode_finished(&encode_finished(7)), Some(7));
        let range = encode_range(b"from", b"to");
        assert_eq!(decode_range(&range), Some((b"from".to_vec(), b"to".to_vec())));
        for byte in 0..range.len() {
            let mut bad = range.clone();
            bad[byte] ^= 1;
            assert_eq!(decode_range(&bad), None, "byte {byte}");
        }
    }
}
