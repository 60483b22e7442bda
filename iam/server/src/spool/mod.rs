//! What IAM decides without changing state, in an append-only log on this server until it is shipped.
//!
//! Logins, issues and secret reads are on disk before they are answered; one thread writes and syncs for all of them
//! together. Denials are coalesced and have budgets of their own, on disk and for each caller's rows in a minute, so that
//! garbage can neither fill the disk (the history keeps what is shipped) nor stop anybody's login. Sequence numbers have no holes; a missing one is a lost record. They count within one spool, whose
//! random id lies beside the records: a folder that is lost, or replaced by an older copy, is seen by it. The files are
//! held open and looked after, so that one that somebody deletes is noticed at once and written anew.

mod denials;
mod displaced;
mod log;
mod measured;
mod segment;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use iam_client::{DecisionRecord, DecisionSource};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use uuid::{Builder, Uuid};

pub(crate) use denials::Denial;
use denials::Denials;
use log::Log;
pub(crate) use measured::Measured;

use crate::clock::{Clock, Entropy, EntropyError};

/// Bytes on disk that may wait for shipping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) decisions: u64,
    pub(crate) denials: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    #[error("the decision log has {bytes} bytes that are not shipped, its budget is {budget}")]
    Full { bytes: u64, budget: u64 },
    /// A write or a sync failed. After a write the log tries again within a second; after a sync it is not touched until a
    /// restart has read it.
    #[error("the decision log failed: {0}")]
    Failed(String),
    #[error("the decision log at {path}: {reason}")]
    Io { path: PathBuf, reason: String },
    #[error("the decision log has no record {sequence}; its newest is {newest}")]
    NoSuchRecord { sequence: u64, newest: u64 },
}

/// The log and its writer. Dropping it writes what waits.
pub(crate) struct Spool {
    shared: Arc<Shared>,
    writer: Option<thread::JoinHandle<()>>,
}

/// How full the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolStatus {
    pub newest: u64,
    pub shipped: u64,
    pub bytes: u64,
    pub budget: u64,
    /// Denials that found their budget spent, since the start.
    pub dropped_denials: u64,
    /// Files that somebody else deleted, replaced or cut, since the start.
    pub displaced_files: u64,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    log: Mutex<Log>,
    entropy: Arc<dyn Entropy>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    denials: Denials,
    stop: bool,
}

/// A record that somebody waits for.
struct Waiting {
    record: DecisionRecord,
    done: oneshot::Sender<Result<u64, SpoolError>>,
}

impl Spool {
    /// Reads what earlier lives left in `folder`, which is created if needed, and starts the writer.
    pub(crate) fn open(
        folder: &Path,
        budget: Budget,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, SpoolError> {
        let log = Log::open(folder, budget, random_id(entropy.as_ref())?)?;
        let shared = Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new(), log: Mutex::new(log), entropy });
        let run = Arc::clone(&shared);
        let writer = thread::Builder::new()
            .name("iam-decisions".to_owned())
            .spawn(move || writer::run(&run, clock.as_ref()))
            .map_err(|error| SpoolError::Io { path: folder.to_owned(), reason: error.to_string() })?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// Returns once the record is on disk. Its sequence number and event id are assigned
    /// there.
    pub(crate) async fn append(&self, record: DecisionRecord) -> Result<u64, SpoolError> {
        let (done, answer) = oneshot::channel();
        self.shared.queue.lock().waiting.push(Waiting { record, done });
        self.shared.wake.notify_one();
        answer.await.unwrap_or_else(|_| Err(SpoolError::Failed("its writer ended".to_owned())))
    }

    /// Counts a denial; it reaches the disk within a second, or a minute if its caller has many.
    pub(crate) fn deny(&self, denial: Denial, now_ms: u64) {
        self.shared.queue.lock().denials.add(denial, now_ms);
    }

    pub(crate) fn status(&self) -> SpoolStatus {
        let dropped = self.shared.queue.lock().denials.dropped();
        let log = self.shared.log.lock();
        SpoolStatus { dropped_denials: dropped + log.dropped_denials(), ..log.status() }
    }

    /// Whether nothing is written any more, because a write failed.
    pub(crate) fn is_failed(&self) -> bool {
        self.shared.log.lock().is_failed()
    }

    /// What an operator has to know about the files.
    pub(crate) fn warning(&self) -> Option<String> {
        self.shared.log.lock().displaced.warning()
    }
}

impl DecisionSource for Spool {
    fn id(&self) -> String {
        self.shared.log.lock().id().to_string()
    }

    fn position(&self) -> u64 {
        self.shared.log.lock().status().shipped
    }

    fn read(&self, after: u64, limit: usize) -> Result<Vec<Arc<DecisionRecord>>, String> {
        let segments = self.shared.log.lock().segments_after(after);
        log::read(&segments, after, limit).map_err(|error| error.to_string())
    }

    fn shipped(&self, sequence: u64) -> Result<(), String> {
        self.shared.log.lock().shipped(sequence).map_err(|error| error.to_string())
    }

    fn renew(&self) -> Result<(), String> {
        let id = random_id(self.shared.entropy.as_ref()).map_err(|error| error.to_string())?;
        self.shared.log.lock().renew(id).map_err(|error| error.to_string())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.queue.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to write.
            let _ = writer.join();
        }
    }
}

/// For spools and events: nobody may meet the same one twice.
fn random_id(entropy: &dyn Entropy) -> Result<Uuid, SpoolError> {
    let mut random = [0; 16];
    entropy.fill(&mut random)?;
    Ok(Builder::from_random_bytes(random).into_uuid())
}

impl From<EntropyError> for SpoolError {
    fn from(error: EntropyError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A record for the tests of the files.
#[cfg(test)]
fn sample(sequence: u64, outcome: &str) -> DecisionRecord {
    DecisionRecord {
        sequence,
        event_id: "e".into(),
        time_ms: 1,
        principal: "user/mira".into(),
        authenticated_by: "token".into(),
        source: None,
        token_id: None,
        request_id: "r".into(),
        action: "iam.TokenIssue".into(),
        resource: "user/mira".into(),
        outcome: outcome.into(),
        reason: None,
        count: 1,
    }
}
