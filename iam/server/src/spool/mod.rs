//! What IAM decides without changing state, in an append-only log on this server until it is shipped.
//!
//! Logins, issues and secret reads are on disk before they are answered; one thread writes and syncs for all of them
//! together. Denials are coalesced and have budgets of their own, on disk and for each caller's rows in a minute, so that
//! garbage can neither fill the disk (the history keeps what is shipped) nor stop anybody's login. Sequence numbers have no
//! holes; a missing one is a lost record. They count within one spool, whose random id lies beside the records: a folder
//! that is lost, or replaced by an older copy, is seen by it. The files are held open and looked after, so that one that
//! somebody deletes is noticed at once and written anew.
//!
//! The writer alone touches the disk. Everybody else looks at what it published last, so that a disk that hangs holds up those
//! who wait for it, each for a bounded time, and nobody else.

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
    time::Duration,
};

use iam_client::{DecisionRecord, DecisionSource};
use parking_lot::{Condvar, Mutex};
use tokio::{sync::oneshot, time::timeout};
use uuid::{Builder, Uuid};

pub(crate) use denials::Denial;
use denials::Denials;
use log::Log;
pub(crate) use measured::Measured;
use segment::Segment;

use crate::clock::{Clock, Entropy, EntropyError};

/// How long somebody waits for a record to be on disk.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long somebody who needs another id waits for the writer.
const TURN: Duration = Duration::from_millis(500);

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
    /// The writer holds it while the disk works, however long that takes.
    log: Mutex<Log>,
    seen: Mutex<Arc<Seen>>,
    entropy: Arc<dyn Entropy>,
}

/// The log after its last change.
struct Seen {
    id: Uuid,
    status: SpoolStatus,
    failed: bool,
    warning: Option<String>,
    segments: Vec<Segment>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    denials: Denials,
    /// How far everything is safe elsewhere; the writer makes room.
    shipped: u64,
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
        let seen = Mutex::new(Arc::new(log.seen()));
        let (queue, wake, log) = (Mutex::default(), Condvar::new(), Mutex::new(log));
        let shared = Arc::new(Shared { queue, wake, log, seen, entropy });
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
        match timeout(PATIENCE, answer).await {
            Ok(Ok(written)) => written,
            Ok(Err(_)) => Err(SpoolError::Failed("its writer ended".to_owned())),
            Err(_) => Err(SpoolError::Failed("its disk does not answer; the record may yet reach it".to_owned())),
        }
    }

    /// Counts a denial; it reaches the disk within a second, or a minute if its caller has many.
    pub(crate) fn deny(&self, denial: Denial, now_ms: u64) {
        self.shared.queue.lock().denials.add(denial, now_ms);
    }

    pub(crate) fn status(&self) -> SpoolStatus {
        let (dropped, shipped) = {
            let queue = self.shared.queue.lock();
            (queue.denials.dropped(), queue.shipped)
        };
        let status = self.shared.seen().status;
        let dropped_denials = dropped + status.dropped_denials;
        SpoolStatus { dropped_denials, shipped: shipped.max(status.shipped), ..status }
    }

    /// Whether nothing is written any more, because a write failed.
    pub(crate) fn is_failed(&self) -> bool {
        self.shared.seen().failed
    }

    /// What an operator has to know about the files.
    pub(crate) fn warning(&self) -> Option<String> {
        self.shared.seen().warning.clone()
    }
}

impl Shared {
    fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen.lock())
    }

    fn publish(&self, log: &Log) {
        *self.seen.lock() = Arc::new(log.seen());
    }
}

impl DecisionSource for Spool {
    fn id(&self) -> String {
        self.shared.seen().id.to_string()
    }

    fn position(&self) -> u64 {
        self.status().shipped
    }

    fn read(&self, after: u64, limit: usize) -> Result<Vec<Arc<DecisionRecord>>, String> {
        log::read(&self.shared.seen().segments, after, limit).map_err(|error| error.to_string())
    }

    fn shipped(&self, sequence: u64) -> Result<(), String> {
        let newest = self.shared.seen().status.newest;
        if sequence > newest {
            return Err(SpoolError::NoSuchRecord { sequence, newest }.to_string());
        }
        let mut queue = self.shared.queue.lock();
        queue.shipped = queue.shipped.max(sequence);
        drop(queue);
        self.shared.wake.notify_one();
        Ok(())
    }

    fn renew(&self) -> Result<(), String> {
        let id = random_id(self.shared.entropy.as_ref()).map_err(|error| error.to_string())?;
        let mut log = self.shared.log.try_lock_for(TURN).ok_or("the decision log's disk does not answer")?;
        log.renew(id).map_err(|error| error.to_string())?;
        self.shared.publish(&log);
        Ok(())
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
