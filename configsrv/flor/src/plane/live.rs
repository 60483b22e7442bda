use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use configsrv_fleet::{Payload, SpiffeId, diff::classify, revocation::narrow};
use configsrv_rete::{Counters, Identities, Plane};
use tokio::{sync::Mutex, time::Instant};

use super::{DataPlane, PlaneView, Reached, engine::Engine};
use crate::{Error, disk::RealDisk, identities::IdentityStore, machine::Failure};

/// After a plane did not start, e.g. because a port is taken.
const RETRY: Duration = Duration::from_secs(10);

/// The daemon's plane. It runs on a node that has identities and an active artifact.
pub(crate) struct LivePlane {
    store: IdentityStore,
    folder: PathBuf,
    engine: Engine,
    counters: Arc<Counters>,
    runs: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    wanted: Option<Payload>,
    /// Whether there ever was a plane.
    ran: bool,
    /// Who is subtracted from it.
    revoked: BTreeSet<SpiffeId>,
    /// Why it does not run.
    fault: Option<String>,
    again: Option<Instant>,
    /// When the identities were as they are known.
    as_of: Option<SystemTime>,
}

struct Running {
    plane: Plane,
    payload: Payload,
    /// The payload as it counts, without those who are revoked.
    narrowed: Payload,
}

impl Running {
    fn swap(&mut self, narrowed: Payload) {
        if (&self.narrowed.ingress, &self.narrowed.egress) != (&narrowed.ingress, &narrowed.egress) {
            let closed = self.plane.swap(&narrowed);
            tracing::info!(closed, "who may reach what is swapped");
        }
        self.narrowed = narrowed;
    }
}

impl LivePlane {
    pub(crate) fn new(store: IdentityStore, folder: PathBuf) -> Result<Self, Error> {
        let (engine, counters) = (Engine::new()?, Arc::default());
        Ok(Self { store, folder, engine, counters, runs: AtomicBool::new(false), state: Mutex::default() })
    }

    /// Takes over identities that were replaced meanwhile, and tries again what did not start.
    pub(crate) async fn look(&self) -> Reached {
        let mut state = self.state.lock().await;
        let as_of = changed(&self.folder);
        let renewed = as_of.is_some() && as_of != state.as_of;
        if renewed && let (Some(running), Ok(Some(identities))) = (&state.running, self.identities()) {
            running.plane.set_identities(identities);
            tracing::info!("the identities on disk count from now on");
            state.as_of = as_of;
        }
        let due = state.again.is_some_and(|again| Instant::now() >= again);
        if state.running.is_none() && state.wanted.is_some() && (renewed || due) {
            state.as_of = as_of;
            return self.reach(&mut state).await.unwrap_or(Reached::AsItWas);
        }
        Reached::AsItWas
    }

    /// Whether this is what it runs, or tries to.
    pub(crate) async fn wants(&self, payload: Option<&Payload>) -> bool {
        self.state.lock().await.wanted.as_ref() == payload
    }

    pub(crate) async fn view(&self) -> PlaneView {
        let state = self.state.lock().await;
        let status = state.running.as_ref().map(|running| running.plane.status());
        PlaneView::of(status.as_ref(), &self.counters, state.fault.clone())
    }

    pub(crate) async fn stop(&self) {
        self.runs.store(false, Ordering::Relaxed);
        let running = self.state.lock().await.running.take();
        if let Some(running) = running {
            running.plane.stop().await;
        }
    }

    async fn reach(&self, state: &mut State) -> Result<Reached, Failure> {
        let outcome = self.bring(state).await;
        self.runs.store(state.running.is_some(), Ordering::Relaxed);
        state.again = None;
        match &outcome {
            Ok(_) => state.fault = None,
            Err(Failure(reason)) => {
                if state.fault.as_ref() != Some(reason) {
                    tracing::error!(reason, "there is no data plane");
                }
                state.fault = Some(reason.clone());
                state.again = Some(Instant::now() + RETRY);
            }
        }
        outcome
    }

    async fn bring(&self, state: &mut State) -> Result<Reached, Failure> {
        let identities = self.identities().map_err(|error| Failure(error.to_string()))?;
        let (Some(wanted), Some(identities)) = (state.wanted.clone(), identities) else {
            if let Some(running) = state.running.take() {
                running.plane.stop().await;
            }
            return Ok(Reached::AsItWas);
        };
        match &mut state.running {
            Some(running) if !classify(&running.payload, &wanted).class.restarts() => {
                running.swap(narrow(&wanted, &state.revoked));
                running.payload = wanted;
                Ok(Reached::AsItWas)
            }
            running => {
                if let Some(before) = running.take() {
                    before.plane.stop().await;
                }
                state.as_of = changed(&self.folder);
                let narrowed = narrow(&wanted, &state.revoked);
                let plane = self.engine.start(narrowed.clone(), identities, Arc::clone(&self.counters)).await?;
                tracing::info!("the data plane runs");
                *running = Some(Running { plane, payload: wanted, narrowed });
                let ran_before = std::mem::replace(&mut state.ran, true);
                Ok(if ran_before { Reached::Restarted } else { Reached::AsItWas })
            }
        }
    }

    fn identities(&self) -> Result<Option<Identities>, Error> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let held = self.store.load(&RealDisk, u64::try_from(since.as_millis()).unwrap_or(u64::MAX))?;
        for fault in held.iter().flat_map(|held| &held.faults) {
            tracing::warn!(fault, "an identity cannot be used");
        }
        Ok(held.map(|held| held.identities))
    }
}

#[async_trait]
impl DataPlane for LivePlane {
    async fn apply(&self, payload: Option<&Payload>) -> Result<Reached, Failure> {
        let mut state = self.state.lock().await;
        state.wanted = payload.cloned();
        self.reach(&mut state).await
    }

    /// Needs neither ports nor identities, so that nothing keeps it from counting.
    async fn narrow(&self, revoked: BTreeSet<SpiffeId>) {
        let mut state = self.state.lock().await;
        if let Some(running) = &mut state.running {
            let narrowed = narrow(&running.payload, &revoked);
            running.swap(narrowed);
        }
        state.revoked = revoked;
    }

    fn runs(&self) -> bool {
        self.runs.load(Ordering::Relaxed)
    }
}

/// Identities are replaced by renaming, which changes the folder.
fn changed(folder: &std::path::Path) -> Option<SystemTime> {
    fs::metadata(folder).and_then(|folder| folder.modified()).ok()
}
