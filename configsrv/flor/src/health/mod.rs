//! Confirmations that nobody types: a version is kept when the servers are reached through it and everything that it
//! names as a probe has held for a while. A probe that fails does nothing; the deadline does.

mod candidate;
mod hold;
mod probes;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use configsrv_fleet::{
    Payload,
    artifact::{Check, Via},
};
use holdfast_service::Stop;
use tokio::time::{Instant, sleep};

pub(crate) use candidate::{AgentWatched, Candidate};

use crate::{Error, machine::Target};
use hold::Hold;
use probes::Prober;

/// What a version says that says nothing.
const HOLD: Duration = Duration::from_secs(30);
/// How often it is looked whether a version waits for its confirmation.
const LOOK: Duration = Duration::from_millis(500);
const SOONEST: Duration = Duration::from_millis(250);
const LATEST: Duration = Duration::from_secs(5);

/// Why the version that waits is not confirmed yet, for whoever asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict(Arc<Mutex<Option<String>>>);

/// A node whose pending versions are watched over.
#[async_trait]
pub(crate) trait Watched: Send + Sync {
    /// What waits for its confirmation.
    fn candidate(&self) -> Result<Option<Candidate>, Error>;

    /// Whether the servers are reached through it now, and all probes hold.
    async fn check(&self, candidate: &Candidate) -> Result<(), Error>;

    /// Keeps it.
    async fn confirm(&self, target: Target, evidence: String) -> Result<(), Error>;
}

/// Refuses what could never be confirmed here: the servers' own addresses can be reached while the data plane is broken,
/// so that something has to go through it.
pub(crate) fn confirmable(payload: &Payload, window: Option<Duration>) -> Result<(), Error> {
    let through = payload.probes.iter().any(|probe| matches!(probe.check, Check::Tunnel { .. }));
    if payload.sync.via == Via::Direct && !through {
        return Err(Error::Usage(
            "nothing could confirm this version: it syncs directly and has no probe through the data plane; give the \
             node probes with a target in nodes.yaml, or run its agent with --confirm-policy manual"
                .into(),
        ));
    }
    match window {
        Some(window) if hold_of(payload) >= window => Err(Error::Usage(format!(
            "nothing could confirm this version: its probes must hold for {} s, the window is {} s",
            hold_of(payload).as_secs(),
            window.as_secs()
        ))),
        _ => Ok(()),
    }
}

/// Asks the probes of a version once.
pub(crate) async fn probe(payload: &Payload, plane_runs: bool) -> Result<(), Error> {
    if payload.probes.is_empty() {
        return Ok(());
    }
    Prober::new()?.all(payload, plane_runs).await
}

fn hold_of(payload: &Payload) -> Duration {
    payload.sync.hold.map_or(HOLD, configsrv_fleet::Span::as_duration)
}

/// Watches until `stop`.
pub(crate) async fn run(watched: Arc<dyn Watched>, verdict: Verdict, stop: Stop) {
    let mut hold = Hold::default();
    loop {
        let wait = round(watched.as_ref(), &mut hold, &verdict).await;
        tokio::select! {
            () = stop.requested() => return,
            () = sleep(wait) => {}
        }
    }
}

/// One look; how long until the next.
async fn round(watched: &dyn Watched, hold: &mut Hold, verdict: &Verdict) -> Duration {
    let candidate = match watched.candidate() {
        Ok(Some(candidate)) => candidate,
        Ok(None) => {
            verdict.set(None);
            return LOOK;
        }
        Err(error) => {
            verdict.set(Some(error.to_string()));
            return LATEST;
        }
    };
    // Somebody may have synced by hand what only a person can confirm.
    if let Err(error) = confirmable(&candidate.payload, None) {
        verdict.set(Some(error.to_string()));
        return LATEST;
    }
    let (target, needed) = (candidate.target, hold_of(&candidate.payload));
    let again = (needed / 4).clamp(SOONEST, LATEST);
    match watched.check(&candidate).await {
        Err(error) => {
            hold.broken();
            verdict.set(Some(error.to_string()));
        }
        Ok(()) => match hold.well(target, Instant::now(), needed) {
            Some(left) => verdict.set(Some(format!("well; has to hold for {} s more", left.as_secs()))),
            None => {
                let evidence = format!("{} probes held for {} s", candidate.payload.probes.len(), needed.as_secs());
                match watched.confirm(target, evidence).await {
                    Ok(()) => verdict.set(None),
                    Err(error) => verdict.set(Some(error.to_string())),
                }
            }
        },
    }
    again
}

impl Verdict {
    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, text: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::atomic::{AtomicBool, Ordering},
    };

    use configsrv_fleet::{Digest, Version};
    use serde_json::json;

    use super::*;

    fn payload(patch: &serde_json::Value) -> Payload {
        let mut payload = json!({
            "schema_version": "1.1", "node": "pier2", "labels": {}, "local_users": [], "local_services": [],
            "local_node": { "spiffe_id": "spiffe://quay.test/node/pier2", "socks5_proxy": "127.0.0.1:1080" },
            "ingress": [], "egress": [], "files": [], "trust": { "authorized_mgmt_signers": [] },
            "sync": {
                "via": "rete", "principal": "spiffe://quay.test/node/pier2",
                "config_server": "spiffe://quay.test/service/config-server", "urls": [], "hold": "10s",
            },
        });
        for (field, value) in patch.as_object().unwrap() {
            payload[field] = value.clone();
        }
        serde_json::from_value(payload).unwrap()
    }

    /// A node whose checks end as told, and well from then on.
    struct Node {
        checks: Mutex<VecDeque<bool>>,
        begun: Instant,
        confirmed: Mutex<Option<Duration>>,
        refuses: AtomicBool,
        stop: Stop,
    }

    #[async_trait]
    impl Watched for Node {
        fn candidate(&self) -> Result<Option<Candidate>, Error> {
            let target = Target { version: Version::new(2).unwrap(), digest: Digest::of(b"two") };
            Ok(Some(Candidate { target, payload: payload(&json!({})) }))
        }

        async fn check(&self, _candidate: &Candidate) -> Result<(), Error> {
            match self.checks.lock().unwrap().pop_front() {
                Some(false) => Err(Error::Unreachable("probe ledger: refused".into())),
                Some(true) | None => Ok(()),
            }
        }

        async fn confirm(&self, _target: Target, evidence: String) -> Result<(), Error> {
            assert_eq!(evidence, "0 probes held for 10 s");
            if self.refuses.swap(false, Ordering::Relaxed) {
                return Err(Error::Unreachable("the proof failed".into()));
            }
            *self.confirmed.lock().unwrap() = Some(self.begun.elapsed());
            self.stop.request();
            Ok(())
        }
    }

    /// After how long it was confirmed.
    async fn confirmed_after(checks: &[bool], refuses: bool) -> f64 {
        let stop = Stop::new();
        let node = Arc::new(Node {
            checks: Mutex::new(checks.iter().copied().collect()),
            begun: Instant::now(),
            confirmed: Mutex::default(),
            refuses: AtomicBool::new(refuses),
            stop: stop.clone(),
        });
        run(Arc::clone(&node) as _, Verdict::default(), stop).await;
        let confirmed = node.confirmed.lock().unwrap().unwrap();
        confirmed.as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn everything_has_to_hold_without_a_break() {
        assert!((confirmed_after(&[], false).await - 10.0).abs() < 2.6);
        // A break in the middle begins it anew, at 7.5 s.
        let broken = confirmed_after(&[true, true, false], false).await;
        assert!((broken - 17.5).abs() < 2.6, "{broken}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_proof_that_fails_at_the_end_is_tried_again() {
        let after = confirmed_after(&[], true).await;
        assert!(after > 10.0 && after < 20.0, "{after}");
    }

    #[test]
    fn what_nothing_could_confirm_is_refused() {
        let minute = Some(Duration::from_secs(60));
        confirmable(&payload(&json!({})), minute).unwrap();
        assert!(confirmable(&payload(&json!({})), Some(Duration::from_secs(10))).is_err(), "held until it is too late");
        let mut direct = payload(&json!({ "probes": [{ "name": "up", "check": { "url": "http://127.0.0.1:1/" } }] }));
        direct.sync.via = Via::Direct;
        assert!(confirmable(&direct, minute).is_err());
        let (mira, stock) = ("spiffe://quay.test/user/mira", "spiffe://quay.test/service/stock");
        let tunnel = json!([{ "name": "stock", "check": { "tunnel": { "as": mira, "target": stock } } }]);
        confirmable(&Payload { sync: direct.sync, ..payload(&json!({ "probes": tunnel })) }, minute).unwrap();
    }
}
