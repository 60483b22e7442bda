use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chainfire_client::SystemStore;
use chainfire_core::Origin;
use configsrv_fleet::{Sequence, Version};
use holdfast_service::Stop;
use iam_client::{Authority, Identity, Refusal};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};

use crate::{
    Error, Metrics, Settings,
    fleetlock::{LockMetrics, NoRoom, Seen},
    keys,
    notes::Notes,
    readers::Readers,
    record::Current,
    store::Records,
    waiting::Waiting,
};

/// How often the metrics about nodes are brought up to date, if anything has changed or somebody is overdue.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// Versions, artifacts, node status and locks over the system store. Clones share one state; every server of the
/// cluster runs one, and each answers everything.
#[derive(Clone)]
pub struct ConfigService(Arc<Inner>);

struct Inner {
    records: Records,
    authority: Arc<dyn Authority>,
    settings: Settings,
    /// The current version as this server shows it. One task follows the store, so that ten thousand waiting nodes
    /// do not each re-read it at every change.
    current: watch::Sender<Version>,
    /// The revocations as this server shows them, likewise.
    sequence: watch::Sender<Sequence>,
    metrics: Metrics,
    readers: Readers,
    waiting: Waiting,
    notes: Notes,
    lock_metrics: LockMetrics,
    lock_seen: Seen,
    no_room: NoRoom,
}

impl ConfigService {
    /// The service does nothing by itself until [`ConfigService::run`]; without it, long polls only time out.
    pub fn new(store: Arc<dyn SystemStore>, authority: Arc<dyn Authority>, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            records: Records::new(store),
            authority,
            settings,
            current: watch::channel(Version::NONE).0,
            sequence: watch::channel(Sequence::NONE).0,
            metrics: Metrics::default(),
            readers: Readers::default(),
            waiting: Waiting::default(),
            notes: Notes::default(),
            lock_metrics: LockMetrics::default(),
            lock_seen: Seen::default(),
            no_room: NoRoom::default(),
        }))
    }

    /// Follows the store, collects what is no longer needed and counts the fleet, until `stop`.
    pub async fn run(self, stop: Stop) -> Result<(), Error> {
        tokio::select! {
            followed = self.follow(&stop) => followed,
            () = self.keep_house() => Ok(()),
        }
    }

    async fn follow(&self, stop: &Stop) -> Result<(), Error> {
        let mut changes = self.records().store().changes();
        loop {
            changes.borrow_and_update();
            self.announce()?;
            tokio::select! {
                () = stop.requested() => return Ok(()),
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    /// Beside [`ConfigService::follow`], so that no node waits for it; it never ends.
    async fn keep_house(&self) {
        let (mut collect, mut count) = (rounds(self.settings().collect_every), rounds(COUNT_EVERY));
        // As of which revision, and until when that holds if nothing changes.
        let mut counted: Option<(u64, u64)> = None;
        loop {
            tokio::select! {
                _ = collect.tick() => self.collect_once().await,
                _ = count.tick() => {
                    let revision = self.records().store().applied().system_revision;
                    if counted.is_none_or(|(of, until_ms)| of != revision || until_ms <= now_ms()) {
                        counted = self.count_once().await.map(|until_ms| (revision, until_ms));
                    }
                }
            }
        }
    }

    /// What the distribution counts, for the registry of the process.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The metrics of the lock, for the registry of the process.
    pub fn lock_metrics(&self) -> &LockMetrics {
        &self.0.lock_metrics
    }

    pub(crate) fn readers(&self) -> &Readers {
        &self.0.readers
    }

    pub(crate) fn waiting(&self) -> &Waiting {
        &self.0.waiting
    }

    pub(crate) fn notes(&self) -> &Notes {
        &self.0.notes
    }

    pub(crate) fn lock_seen(&self) -> &Seen {
        &self.0.lock_seen
    }

    pub(crate) fn no_room(&self) -> &NoRoom {
        &self.0.no_room
    }

    pub(crate) fn records(&self) -> &Records {
        &self.0.records
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Follows the current version; [`Version::NONE`] before the first publish.
    pub(crate) fn versions(&self) -> watch::Receiver<Version> {
        self.0.current.subscribe()
    }

    /// Follows the revocations; [`Sequence::NONE`] before the first ones.
    pub(crate) fn sequences(&self) -> watch::Receiver<Sequence> {
        self.0.sequence.subscribe()
    }

    pub(crate) fn current(&self) -> Result<Option<Current>, Error> {
        self.records().value(keys::CURRENT)
    }

    pub(crate) fn authorize(&self, identity: &Identity, action: &str, resource: &str) -> Result<(), Error> {
        Ok(self.0.authority.authorize(identity, action, resource)?)
    }

    pub(crate) fn still_holds(&self, identity: &Identity) -> Result<(), Refusal> {
        self.0.authority.still_holds(identity)
    }

    /// Leaves a refusal that is the service's own to the one who keeps denials.
    pub(crate) fn record_denial(&self, origin: &Origin, action: &str, resource: &str, reason: &str) {
        self.0.authority.record_denial(origin, action, resource, reason);
    }

    fn announce(&self) -> Result<(), Error> {
        let newest = self.current()?.map_or(Version::NONE, |current| current.version);
        tell(&self.0.current, newest);
        tell(&self.0.sequence, self.lane()?.map_or(Sequence::NONE, |lane| lane.sequence));
        Ok(())
    }

    /// Shows in the metrics how many nodes are where. Returns until when that holds if nothing changes.
    async fn count_once(&self) -> Option<u64> {
        match self.census().await {
            Ok(census) => {
                self.metrics().show(&census);
                Some(census.until_ms.unwrap_or(u64::MAX))
            }
            Err(error) => {
                tracing::warn!(?error, "the nodes were not counted");
                None
            }
        }
    }

    async fn collect_once(&self) {
        match self.collect().await {
            Ok(done) if done.is_nothing() => {}
            Ok(done) => tracing::info!(
                versions = done.versions,
                heads = done.heads,
                payloads = done.payloads,
                "collected old configuration"
            ),
            // Without a quorum there is nothing to do but to try again later.
            Err(error) => tracing::debug!(%error, "old configuration was not collected"),
        }
    }
}

fn rounds(period: Duration) -> Interval {
    let mut rounds = interval(period);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds
}

/// Wakes those who wait, if there is something to tell them.
fn tell<T: PartialEq>(told: &watch::Sender<T>, newest: T) {
    told.send_if_modified(|known| {
        let moved = *known != newest;
        *known = newest;
        moved
    });
}

/// Work that takes long, or reads much of the store, on a thread that serves no connections.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.to_string()))?
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
