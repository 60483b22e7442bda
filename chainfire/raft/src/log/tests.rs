//! openraft's own suite on log and state, and what damage does to the log.

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use holdfast_keyspace::{Overlay, Table};
use openraft::{
    EntryPayload, RaftLogReader as _, StorageError,
    storage::{IOFlushed, RaftLogStorage as _},
    testing::log::{StoreBuilder, Suite},
    type_config::TypeConfigExt as _,
};
use tempfile::TempDir;

use super::{Durable, LogDb, LogStore};
use crate::{
    Applied, Error, FatalHook, GroupId, Halt, Limits, Machine, Position, StateDb,
    machine::Applier,
    types::{Command, Entry, LogId, TypeConfig, Vote},
};

/// A machine that keeps nothing: the suite applies no commands.
struct Nothing;

impl Machine for Nothing {
    type Effect = ();

    fn tables(&self) -> &'static [Table] {
        &[]
    }

    fn apply(&self, _: &mut Overlay<'_>, _: Position, _: &[u8]) -> Result<Applied<()>, Halt> {
        Ok(Applied { answer: Vec::new(), effects: Vec::new() })
    }

    fn publish(&self, _: Position, _: Vec<()>) {}

    fn restored(&self) {}
}

/// The suite purges entries that it never applies.
struct AlwaysDurable;

impl Durable for AlwaysDurable {
    fn durable(&self) -> u64 {
        u64::MAX
    }

    fn make_durable(&self) -> std::io::Result<u64> {
        Ok(u64::MAX)
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Applier<Nothing>, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Applier<Nothing>), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir.path().join("log")).unwrap();
        let state = StateDb::open(dir.path().join("state"), Nothing.tables()).unwrap();
        let applier = Applier::new(Arc::new(Nothing), state, FatalHook::default()).unwrap();
        Ok((dir, log, applier))
    }
}

#[test]
fn openrafts_suite_passes() {
    TypeConfig::run(async { Suite::test_all(Builder).await }).unwrap();
}

fn open(path: &Path) -> Result<LogStore, Error> {
    let db = Arc::new(LogDb::open(path, FatalHook::default())?);
    LogStore::open(db, GroupId(1), Limits::default(), Arc::new(AlwaysDurable))
}

/// Writes entries 0..count, each in a record of its own, and waits until they are on disk.
async fn fill(log: &mut LogStore, count: u64) {
    let mut synced = Vec::new();
    for index in 0..count {
        let payload = EntryPayload::Normal(Command(Bytes::from(format!("command number {index:05}"))));
        let entry = Entry { log_id: LogId::new_term_index(1, index), payload };
        let (done, waiting) = TypeConfig::oneshot();
        log.append([entry], IOFlushed::signal(done)).await.unwrap();
        synced.push(waiting);
    }
    for waiting in synced {
        waiting.await.unwrap().unwrap();
    }
}

fn write_ahead_log(path: &Path) -> PathBuf {
    let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|kind| kind == "log")).collect();
    logs.sort();
    logs.pop().unwrap()
}

#[tokio::test]
async fn a_vote_and_everything_before_it_survive() {
    let dir = tempfile::tempdir().unwrap();
    let vote = Vote::new(3, 1);
    {
        let mut log = open(dir.path()).unwrap();
        fill(&mut log, 10).await;
        log.save_vote(&vote).await.unwrap();
    }
    let mut log = open(dir.path()).unwrap();
    assert_eq!(log.get_log_reader().await.read_vote().await.unwrap(), Some(vote));
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(LogId::new_term_index(1, 9)));
}

#[tokio::test]
async fn a_torn_tail_is_tolerated() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut log = open(dir.path()).unwrap();
        fill(&mut log, 100).await;
    }
    let wal = write_ahead_log(dir.path());
    let length = fs::metadata(&wal).unwrap().len();
    fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(length - 7).unwrap();
    let mut log = open(dir.path()).unwrap();
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(LogId::new_term_index(1, 98)));
}

#[tokio::test]
async fn damage_in_the_middle_is_refused() {
    // A log of many blocks, and one that has not filled its first.
    for count in [3000, 100] {
        let dir = tempfile::tempdir().unwrap();
        {
            let mut log = open(dir.path()).unwrap();
            fill(&mut log, count).await;
        }
        let wal = write_ahead_log(dir.path());
        let middle = fs::metadata(&wal).unwrap().len() / 2;
        let mut file = fs::OpenOptions::new().write(true).open(&wal).unwrap();
        file.seek(SeekFrom::Start(middle)).unwrap();
        file.write_all(&[0x55; 16]).unwrap();
        drop(file);
        let error = open(dir.path()).err().unwrap();
        assert!(matches!(&error, Error::Corrupt { message, .. } if message.contains("cannot be opened")), "{error}");
    }
}

#[tokio::test]
async fn a_missing_entry_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut log = open(dir.path()).unwrap();
        fill(&mut log, 5).await;
        let entry = Entry { log_id: LogId::new_term_index(1, 7), payload: EntryPayload::Blank };
        log.append([entry], IOFlushed::noop()).await.unwrap();
        log.save_vote(&Vote::new(1, 1)).await.unwrap();
    }
    let error = open(dir.path()).err().unwrap();
    assert!(error.to_string().contains("entry 5 of group 1 is missing"), "{error}");
}

#[tokio::test]
async fn an_entry_stays_until_its_effect_is_durable() {
    struct Behind;
    impl Durable for Behind {
        fn durable(&self) -> u64 {
            3
        }

        fn make_durable(&self) -> std::io::Result<u64> {
            Ok(5)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let db = Arc::new(LogDb::open(dir.path(), FatalHook::default()).unwrap());
    let mut log = LogStore::open(db, GroupId(1), Limits::default(), Arc::new(Behind)).unwrap();
    fill(&mut log, 10).await;
    log.purge(LogId::new_term_index(1, 4)).await.unwrap();
    assert!(log.purge(LogId::new_term_index(1, 5)).await.is_err());
    let mut reader = log.get_log_reader().await;
    let rest: Vec<u64> = reader.try_get_log_entries(..).await.unwrap().iter().map(|entry| entry.log_id.index).collect();
    assert_eq!(rest, [5, 6, 7, 8, 9]);
}
