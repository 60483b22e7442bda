mod confirming;
mod drifting;
mod guarding;
mod looking;
mod mending;
mod telling;
mod viewing;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use configsrv_fleet::{
    Envelope, Payload, Sealed, Signer, Version,
    diff::{Change, Class, classify},
};

use crate::{
    Error,
    activate::{Activator, Way},
    clock::Clock,
    cluster::Cluster,
    drift::Watch,
    health,
    identities::IdentityStore,
    lane::Lane,
    machine::{Effect, Event, Failure, Looked, Offer, Pending, Phase, Refusal, SyncResult, Target, Told, World, step},
    outcome::{Freshness, Outcome, SyncRequest},
    server::{Intent, Offered, Server},
    store::Store,
    verify::{Verified, verify},
};
pub(crate) use confirming::Demand;
use telling::Reports;

/// Runs the state machine on a machine: loads the world, performs effects, asks and tells the server. Nothing that it does
/// depends on earlier calls, so that a daemon and single commands can take turns under the lock.
#[derive(Clone)]
pub(crate) struct Agent {
    cluster: Cluster,
    store: Store,
    identities: IdentityStore,
    activator: Activator,
    server: Arc<dyn Server>,
    clock: Arc<dyn Clock>,
    reports: Arc<Reports>,
    /// Looks at files remember what they have read.
    watch: Arc<Mutex<Watch>>,
    /// How the servers were looked at last.
    looked: Arc<Mutex<Option<Looked>>>,
}

/// What the servers have for this node.
pub(crate) enum News {
    Nothing,
    /// A version waits for its confirmation: nothing was asked.
    Pending,
    /// Files were changed, and somebody has to decide first: nothing was asked.
    Frozen(Error),
    Artifact(Vec<u8>),
}

/// An artifact that may become active.
struct Judged {
    verified: Verified,
    change: Change,
    offer: Offer,
    /// Whether anything is to be done about it.
    update: bool,
}

impl Agent {
    pub(crate) fn new(
        cluster: Cluster,
        store: Store,
        identities: IdentityStore,
        activator: Activator,
        server: Arc<dyn Server>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            cluster,
            store,
            identities,
            activator,
            server,
            clock,
            reports: Arc::default(),
            watch: Arc::default(),
            looked: Arc::default(),
        }
    }

    /// The fast lane of revocation, for the same node.
    pub(crate) fn lane(&self) -> Lane {
        let (server, clock) = (Arc::clone(&self.server), Arc::clone(&self.clock));
        Lane::new(self.cluster.clone(), self.store.clone(), self.activator.clone(), server, clock)
    }

    /// Brings whatever an earlier run left to a good end, and rolls back what was not confirmed in time.
    pub(crate) async fn recover(&self) -> Result<World, Error> {
        let mut world = self.store.load()?;
        self.drive(&mut world, Event::Boot).await?;
        self.drive(&mut world, Event::Tick(None)).await?;
        // What a killed agent staged and nothing refers to. It is in nobody's way if it stays.
        if let Err(error) = self.store.sweep(&world.retained()) {
            tracing::warn!(%error, "staged sets were not removed");
        }
        // A staged artifact that cannot be read shows when it is needed.
        if let Ok(payload) = self.active_payload(&world) {
            self.server.follow(payload.as_ref());
        }
        Ok(world)
    }

    /// Makes the data plane what the active version says.
    pub(crate) async fn connect(&self) -> Result<(), Error> {
        let payload = self.active()?;
        self.server.follow(payload.as_ref());
        let connected = self.activator.connect(payload.as_ref()).await;
        connected.map_err(|Failure(reason)| Error::Unexpected(reason))
    }

    /// What the active version says, as the disk has it.
    pub(crate) fn active(&self) -> Result<Option<Payload>, Error> {
        self.active_payload(&self.store.load()?)
    }

    fn active_payload(&self, world: &World) -> Result<Option<Payload>, Error> {
        world.active().map(|active| self.staged(world, active.version)).transpose()
    }

    fn staged(&self, world: &World, version: Version) -> Result<Payload, Error> {
        Ok(self.envelope(world, version)?.payload)
    }

    fn envelope(&self, world: &World, version: Version) -> Result<Envelope, Error> {
        self.store.envelope(version, world.digest(version), world.signer(version))
    }

    /// Fetches, verifies, stages and activates; or only looks.
    pub(crate) async fn sync(&self, request: &SyncRequest) -> Result<Outcome, Error> {
        let ended = self.fetch_and_take(request).await;
        self.noted(request, ended).await
    }

    async fn fetch_and_take(&self, request: &SyncRequest) -> Result<Outcome, Error> {
        let mut world = self.recover().await?;
        free(&world, request)?;
        self.thawed(&world, request)?;
        self.mend(&world).await?;
        let have = have(&world, request);
        let intent = if request.dry_run { Intent::DryRun } else { Intent::Sync };
        let offered = self.in_window(&world, self.server.fetch(have, Duration::ZERO, intent)).await?;
        if !request.dry_run {
            self.catch_up(&mut world).await?;
        }
        match offered {
            Offered::Nothing => {
                // A report of what happened before may have been lost.
                if !request.dry_run {
                    self.tell(&world, &Told::Unchanged).await;
                }
                unchanged(&world, have)
            }
            Offered::Artifact(bytes) => self.take_in(world, &bytes, request).await,
        }
    }

    /// Waits for what a sync would fetch, without a turn and without touching anything. A version to `skip` is not asked
    /// for again.
    pub(crate) async fn news(&self, skip: Option<Version>, patience: Duration) -> Result<News, Error> {
        let world = self.store.load()?;
        if world.pending.is_some() {
            return Ok(News::Pending);
        }
        if let Err(frozen) = self.thawed(&world, &SyncRequest::default()) {
            return Ok(News::Frozen(frozen));
        }
        // What is damaged is mended by whoever has the turn, so anything is news.
        let whole = world.state.confirmed.is_none_or(|confirmed| self.staged(&world, confirmed.version).is_ok());
        let have = skip.or_else(|| have(&world, &SyncRequest::default()).filter(|_| whole));
        Ok(match self.server.fetch(have, patience, Intent::Sync).await? {
            Offered::Nothing => News::Nothing,
            Offered::Artifact(bytes) => News::Artifact(bytes),
        })
    }

    /// Whether this content failed here, and was not let in again since.
    pub(crate) fn has_failed(&self, artifact: &Sealed) -> bool {
        let target = Target { version: artifact.version(), digest: artifact.payload_digest() };
        self.store.load().is_ok_and(|world| world.state.rejection(&target).is_some())
    }

    /// A sync with what was fetched before.
    pub(crate) async fn take(&self, bytes: &[u8], request: &SyncRequest) -> Result<Outcome, Error> {
        let ended = self.take_fetched(bytes, request).await;
        self.noted(request, ended).await
    }

    async fn take_fetched(&self, bytes: &[u8], request: &SyncRequest) -> Result<Outcome, Error> {
        let world = self.recover().await?;
        free(&world, request)?;
        self.thawed(&world, request)?;
        if request.carried {
            self.mend_with(&world, bytes)?;
        }
        self.mend(&world).await?;
        self.take_in(world, bytes, request).await
    }

    async fn take_in(&self, mut world: World, bytes: &[u8], request: &SyncRequest) -> Result<Outcome, Error> {
        let judged = self.judge(&world, bytes, request);
        let Judged { verified, change, offer, update } = match judged {
            Err(error @ (Error::Untrusted(_) | Error::Replay(_) | Error::Usage(_))) if !request.dry_run => {
                let version = Sealed::parse(bytes).ok().map(|sealed| sealed.version());
                self.drive(&mut world, Event::Refused { version, reason: error.to_string() }).await?;
                return Err(error);
            }
            judged => judged?,
        };
        if request.dry_run {
            return Ok(Outcome::Available {
                version: offer.to.version,
                active: world.active().map(|active| active.version),
                class: change.class,
                changes: change.reasons,
                update,
            });
        }
        if !update {
            return Ok(Outcome::Unchanged { version: offer.to.version });
        }
        self.guarded(&world, &verified.envelope.payload, change.class, request)?;
        if verified.first_contact {
            tracing::info!(signers = ?verified.envelope.payload.trust.authorized_mgmt_signers, "pinning the first signers");
        }
        self.store.stage(&verified.sealed)?;
        self.drive(&mut world, Event::Offer(offer.clone())).await?;
        self.outcome_of(&world, &offer)
    }

    /// Everything that can be said against an artifact before anything is staged.
    fn judge(&self, world: &World, bytes: &[u8], request: &SyncRequest) -> Result<Judged, Error> {
        let verified = verify(bytes, &self.cluster, self.trusted(world), request.carried)?;
        let now = self.clock.now()?;
        self.identities.cover(self.store.disk(), &verified.envelope.payload, now.wall_ms)?;
        let change = self.change(world, &verified)?;
        if request.unattended && change.class != Class::Noop {
            health::confirmable(&verified.envelope.payload, request.window())?;
        }
        let offer = offer(&verified, &change, request);
        let update = if request.dry_run {
            // A look goes on while a version waits for its confirmation: it shows what a sync would do that replaces it.
            let looked_at = Offer { supersede: true, ..offer.clone() };
            !step(world, Event::Offer(looked_at), &now)?.is_empty() && world.active() != Some(offer.to)
        } else {
            !step(world, Event::Offer(offer.clone()), &now)?.is_empty()
        };
        Ok(Judged { verified, change, offer, update })
    }

    pub(crate) fn node(&self) -> &str {
        self.cluster.node.as_str()
    }

    pub(crate) fn plane_runs(&self) -> bool {
        self.activator.plane_runs()
    }

    /// How often the active version wants to be asked for the next one.
    pub(crate) fn poll_interval(&self) -> Option<Duration> {
        let world = self.store.load().ok()?;
        let payload = self.active_payload(&world).ok()??;
        payload.sync.poll_interval.map(configsrv_fleet::Span::as_duration)
    }

    /// Rolls back what is overdue, for which `not_yet` may know why. Milliseconds until something must happen by itself; `None`
    /// when nothing is pending.
    pub(crate) async fn tick(&self, not_yet: Option<String>) -> Result<Option<u64>, Error> {
        let mut world = self.store.load()?;
        self.drive(&mut world, Event::Tick(not_yet)).await?;
        self.left_ms(&world)
    }

    /// When what runs is to have been followed by something newer.
    fn expiry(&self, world: &World) -> Option<u64> {
        let active = world.active()?;
        let envelope = self.envelope(world, active.version).ok()?;
        u64::try_from(envelope.expires_at?.unix_timestamp()).ok()?.checked_mul(1000)
    }

    /// Since when the servers, or whoever stands between, should have shown something newer.
    pub(crate) fn expired(&self) -> Result<Option<Freshness>, Error> {
        let (world, now) = (self.store.load()?, self.clock.now()?);
        let freshness = self.expiry(&world).map(|until_ms| Freshness::of(until_ms, now.wall_ms));
        Ok(freshness.filter(|freshness| freshness.expired))
    }

    fn left_ms(&self, world: &World) -> Result<Option<u64>, Error> {
        let guard = world.pending.as_ref().and_then(|pending| pending.guard.as_ref());
        guard.map(|guard| Ok(guard.left_ms(&self.clock.now()?))).transpose()
    }

    /// Feeds an event, performs what it demands, and feeds what that results in.
    async fn drive(&self, world: &mut World, event: Event) -> Result<(), Error> {
        let (mut events, confirmed) = (VecDeque::from([event]), world.state.confirmed);
        while let Some(event) = events.pop_front() {
            for effect in step(world, event, &self.clock.now()?)? {
                let result = self.perform(world, &effect).await?;
                world.apply(&effect);
                if let Effect::Tell(Told::RolledBack { .. } | Told::Degraded { .. }) = &effect {
                    self.activator.tally().ended(SyncResult::RolledBack);
                }
                if let Effect::Tell(told) = &effect
                    && self.tell(world, told).await
                    && !world.state.carried.is_empty()
                {
                    events.push_back(Event::Heard(world.state.carried.clone()));
                }
                events.extend(result);
            }
        }
        // Somebody may be settled with what is confirmed now.
        if world.state.confirmed != confirmed
            && let Err(error) = self.lane().narrow().await
        {
            tracing::error!(%error, "who is revoked is not known");
        }
        Ok(())
    }

    async fn perform(&self, world: &World, effect: &Effect) -> Result<Option<Event>, Error> {
        match effect {
            Effect::SaveState(state) => self.store.save_state(state)?,
            Effect::SavePending(pending) => {
                self.store.save_pending(pending)?;
                log(world, pending);
            }
            Effect::ClearPending => self.store.clear_pending()?,
            Effect::Point(version) => self.store.point(*version)?,
            Effect::DropOriginals => self.store.drop_originals()?,
            Effect::Sweep { keep } => self.store.sweep(keep)?,
            Effect::Activate { from, to } => {
                return Ok(Some(Event::Activated(self.bring(world, *from, Some(*to), Way::Forward).await)));
            }
            Effect::Restore { from, to } => {
                return Ok(Some(Event::Restored(self.bring(world, Some(*from), *to, Way::Back).await)));
            }
            Effect::Rewrite { version, paths } => {
                return Ok(Some(Event::Rewritten(self.rewrite(world, *version, paths).await)));
            }
            Effect::Tell(_) => {}
        }
        Ok(None)
    }

    async fn bring(&self, world: &World, from: Option<Version>, to: Option<Version>, way: Way) -> Result<(), Failure> {
        let payload = |version: Option<Version>| version.map(|version| self.staged(world, version)).transpose();
        let target = payload(to).map_err(|error| Failure(error.to_string()))?;
        // On the way back the set that failed may be damaged; what was kept of the files is enough.
        let origin = match payload(from) {
            Ok(origin) => origin,
            Err(error) if way == Way::Back => {
                tracing::warn!(%error, "going back without the version that failed");
                None
            }
            Err(error) => return Err(Failure(error.to_string())),
        };
        self.activator.bring(&self.store, origin.as_ref(), target.as_ref(), way).await?;
        self.server.follow(target.as_ref());
        Ok(())
    }

    fn trusted<'a>(&'a self, world: &'a World) -> &'a [Signer] {
        if world.state.signers.is_empty() { &self.cluster.signers } else { &world.state.signers }
    }

    /// What becoming `verified` would mean for what runs now.
    fn change(&self, world: &World, verified: &Verified) -> Result<Change, Error> {
        let Some(active) = world.active() else {
            return Ok(Change {
                class: Class::Structural,
                reasons: vec!["the first configuration of this node".into()],
            });
        };
        if active.digest == verified.sealed.payload_digest() {
            return Ok(Change { class: Class::Noop, reasons: Vec::new() });
        }
        let running = self.staged(world, active.version)?;
        Ok(classify(&running, &verified.envelope.payload))
    }

    fn outcome_of(&self, world: &World, offer: &Offer) -> Result<Outcome, Error> {
        let version = offer.to.version;
        if let Some(pending) = world.pending.as_ref().filter(|pending| pending.to == offer.to) {
            let deadline_ms = pending.guard.as_ref().map(|guard| guard.deadline_wall_ms).unwrap_or_default();
            return Ok(Outcome::Pending {
                version,
                class: pending.class,
                deadline_ms,
                left_ms: self.left_ms(world)?.unwrap_or_default(),
                back_to: pending.from.map(|from| from.version),
                carried: pending.carried,
            });
        }
        if world.state.confirmed == Some(offer.to) {
            return Ok(Outcome::Committed { version, class: offer.class });
        }
        let reason = world.state.rejection(&offer.to).map(|rejected| rejected.reason.clone()).unwrap_or_default();
        let now = world.active().map_or("nothing".to_owned(), |active| format!("version {}", active.version));
        match &world.state.degraded {
            Some(degraded) => {
                Err(Error::RolledBack(format!("version {version} failed: {degraded}; running {now}, DEGRADED")))
            }
            None => {
                Err(Error::RolledBack(format!("version {version} failed and was rolled back: {reason}; running {now}")))
            }
        }
    }

    /// A refusal because nothing is pending, with what became of it.
    fn explain(&self, world: &World, error: Error) -> Error {
        match (&error, &world.state.last) {
            (Error::State(text), Some(last)) if world.pending.is_none() => {
                Error::State(format!("{text}: version {} was {}", last.version, last.result))
            }
            _ => error,
        }
    }
}

/// One change at a time, unless it is to be replaced.
fn free(world: &World, request: &SyncRequest) -> Result<(), Refusal> {
    match &world.pending {
        Some(pending) if !request.supersede && !request.dry_run => {
            Err(Refusal::AlreadyPending { version: pending.to.version })
        }
        Some(_) | None => Ok(()),
    }
}

/// What the server need not send again: what is confirmed, or a newer version that failed here.
fn have(world: &World, request: &SyncRequest) -> Option<Version> {
    if world.pending.is_some() {
        return None;
    }
    match world.failed().filter(|_| !request.retry_rejected) {
        Some(failed) => Some(failed.target.version),
        None => world.state.confirmed.map(|confirmed| confirmed.version),
    }
}

/// The server has nothing newer than what this node has, or than what failed here.
fn unchanged(world: &World, have: Option<Version>) -> Result<Outcome, Error> {
    let version = have.unwrap_or(Version::NONE);
    match world.failed().filter(|failed| failed.target.version == version) {
        Some(failed) => Err(Refusal::Rejected { version, reason: failed.reason.clone() }.into()),
        None => Ok(Outcome::Unchanged { version }),
    }
}

fn offer(verified: &Verified, change: &Change, request: &SyncRequest) -> Offer {
    Offer {
        to: Target { version: verified.sealed.version(), digest: verified.sealed.payload_digest() },
        signed_by: Some(verified.signer.clone()),
        class: change.class,
        signers: verified.envelope.payload.trust.authorized_mgmt_signers.clone(),
        window: request.window(),
        supersede: request.supersede,
        retry_rejected: request.retry_rejected,
        carried: request.carried,
    }
}

/// Transitions that are durable, and not every write of what is left of a window.
fn log(world: &World, pending: &Pending) {
    let before = world.pending.as_ref().map(|pending| &pending.phase);
    if before == Some(&pending.phase) {
        return;
    }
    let version = pending.to.version;
    match &pending.phase {
        Phase::Activating => tracing::info!(%version, class = %pending.class, "activating"),
        Phase::Guarded => tracing::info!(%version, "active, waiting for its confirmation"),
        Phase::RollingBack { reason, .. } => tracing::warn!(%version, reason, "rolling back"),
    }
}
