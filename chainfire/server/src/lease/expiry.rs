use std::{sync::Arc, time::Duration};

use chainfire_core::{
    Halt, Origin, UserAnswer, UserCommand,
    lease::{self, ExpiredLease, Inherited, LeaseExpire, LeaseId},
};
use holdfast_keyspace::Read;
use holdfast_service::Stop;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use super::{Desk, Lessor, checkpoints};
use crate::{Error, metrics::Metrics, request::request_id, store::Store};

/// Ends leases whose time is over, while this server leads.
pub(crate) struct Expiry {
    pub(crate) store: Arc<Store>,
    pub(crate) lessor: Arc<Lessor>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) metrics: Metrics,
    /// What a new leader adds to every lease.
    pub(crate) extension: Duration,
    /// Between two checkpoints of the leases that are longer than that, if there are to be any.
    pub(crate) checkpoints: Option<Duration>,
}

/// From the end of one scan to the next, whatever else wakes the task: its own entries do.
const SCAN: Duration = Duration::from_millis(500);

/// Leases that one scan ends at most, so that a mass expiry leaves room for the clients' writes.
const SCAN_LEASES: usize = 500;

/// Leases of one log entry. Each takes its keys along, and the entry is applied in one go.
const ENTRY_LEASES: usize = 50;

const PAGE: usize = 10_000;

impl Expiry {
    pub(crate) async fn run(self, stop: Stop) {
        let mut status = self.store.group().status_changes();
        let mut scans = interval(SCAN);
        let period = self.checkpoints.unwrap_or(SCAN);
        let mut rounds = interval_at(Instant::now() + period, period);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reigning = None;
        loop {
            let (leads, term) = {
                let status = status.borrow_and_update();
                (status.is_leader, status.term)
            };
            if reigning.is_some_and(|reign| !leads || reign != term) {
                self.lessor.demote();
                reigning = None;
            }
            if leads && reigning.is_none() {
                reigning = self.take_over(term).await;
            }
            tokio::select! {
                () = stop.requested() => break,
                _ = scans.tick() => {
                    if reigning.is_some() && self.lessor.is_due(term) {
                        self.end_due(term).await;
                        scans.reset();
                    }
                }
                _ = rounds.tick(), if self.checkpoints.is_some() => {
                    if reigning.is_some() {
                        let long = self.lessor.longer_than(term, period);
                        checkpoints::write(&self.store, term, &long).await;
                    }
                }
                changed = status.changed() => if changed.is_err() { break },
            }
        }
        self.lessor.demote();
    }

    /// Starts all clocks once it is proven that this server leads, which also means that it has applied everything
    /// that its predecessors acknowledged.
    async fn take_over(&self, term: u64) -> Option<u64> {
        if self.desk.prove(Duration::ZERO).await != Ok(term) {
            return None;
        }
        self.lessor.promote(term);
        let view = self.store.view();
        match tokio::task::spawn_blocking(move || load(&view)).await {
            Ok(Ok(leases)) => {
                tracing::info!(term, leases = leases.len(), "leading: lease clocks started");
                self.lessor.promoted(term, leases, self.extension);
                Some(term)
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "leases cannot be read");
                None
            }
            Err(error) => {
                tracing::error!(%error, "leases cannot be read");
                None
            }
        }
    }

    async fn end_due(&self, term: u64) {
        // A leader that slept through an election must not trust its clock.
        if self.desk.prove(Duration::ZERO).await != Ok(term) {
            return;
        }
        let due = self.lessor.take_due(term, SCAN_LEASES);
        for part in due.chunks(ENTRY_LEASES) {
            match self.end(term, part).await {
                Ok(expired) => {
                    self.metrics.lease_expired.inc_by(expired);
                    tracing::debug!(expired, "leases expired");
                }
                // They come up again in a few seconds.
                Err(error) => {
                    tracing::warn!(%error, leases = part.len(), "leases could not be ended");
                    return;
                }
            }
        }
    }

    /// Proposes the end of `ids`. The term and the grants are named, so that whatever becomes of the proposal it ends
    /// only what was meant.
    async fn end(&self, term: u64, ids: &[LeaseId]) -> Result<u64, Error> {
        let view = self.store.view();
        let mut leases = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(lease) = lease::lease(&view, *id)? {
                leases.push(ExpiredLease { id: *id, granted_at: lease.granted_at });
            }
        }
        let origin = Origin::system("lease-expiry", request_id());
        let done = self.store.change(origin, UserCommand::LeaseExpire(LeaseExpire { term, leases })).await?;
        let UserAnswer::LeaseExpire { expired, .. } = done.answer else { return Err(Error::mismatch()) };
        Ok(expired)
    }
}

/// All leases of a state with their times.
fn load(read: &dyn Read) -> Result<Vec<Inherited>, Halt> {
    let mut found: Vec<Inherited> = Vec::new();
    loop {
        let page = lease::leases(read, found.last().map(|lease| lease.id), PAGE)?;
        let more = page.len() == PAGE;
        let seconds = |ttl: i64| Duration::from_secs(u64::try_from(ttl).unwrap_or(0));
        for (id, stored) in page {
            let whole = Inherited::whole(id, seconds(stored.ttl));
            found.push(match lease::remaining(read, id)? {
                Some(left) => Inherited { left: seconds(left), ..whole },
                None => whole,
            });
        }
        if !more {
            return Ok(found);
        }
    }
}
