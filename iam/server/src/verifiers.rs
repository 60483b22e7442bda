//! What is enforced where: this server's own word, and everybody's, as evidence for steps of rotations.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chainfire_core::Origin;
use holdfast_service::Stop;
use iam_client::Identity;
use iam_core::{
    Kind,
    record::key,
    rotation::{Acknowledgement, Evidence, Part, State, StepError, Verifier},
    verifier::{Acknowledged, Mark, Versions},
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    Doors, Error, Iam,
    iam::Inner,
    records::{Change, Versioned},
    settings::millis,
};

/// Changes that come together are acknowledged together.
const TOGETHER: Duration = Duration::from_millis(100);
/// Pause before an attempt is repeated.
const RETRY: Duration = Duration::from_secs(1);
/// A client that has said nothing for so long is gone.
const GONE_MS: u64 = 24 * 3_600_000;
/// A client says again that it is there.
const AGAIN_MS: u64 = GONE_MS / 4;
const PAGE: usize = 1000;
/// So long a step, or the answer to a change, waits for words of verifiers.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// The ends of the last tokens that this server signed, by key.
#[derive(Default)]
pub(crate) struct Signed(Mutex<BTreeMap<String, u64>>);

/// Somebody who verifies, and its last word.
pub(crate) struct Standing {
    pub(crate) name: String,
    pub(crate) part: Part,
    pub(crate) word: Option<Acknowledged>,
}

impl Signed {
    /// Runs `sign` and notes for the key that it names that its tokens last until `until_ms`. What this server
    /// acknowledges is taken under the same lock, so that no token is of a key that it has said not to use any more.
    pub(crate) fn noting<T>(
        &self,
        until_ms: u64,
        sign: impl FnOnce() -> Result<(String, T), Error>,
    ) -> Result<T, Error> {
        let mut signed = self.0.lock();
        let (kid, made) = sign()?;
        let last_ms = signed.entry(kid).or_default();
        *last_ms = until_ms.max(*last_ms);
        Ok(made)
    }
}

impl Inner {
    /// The versions that this server enforces. It keeps nothing above the state machine that is older, so these are
    /// those that are stored.
    pub(crate) fn versions(&self) -> Result<Versions, Error> {
        let mark = |key: &[u8]| Ok::<_, Error>(self.records.get::<Mark>(key)?.map_or(0, |mark| mark.revision));
        Ok(Versions {
            keys: self.key_ring()?.revision,
            trust: self.trust_version()?,
            policy: mark(key::POLICY_VERSION)?,
            revocations: mark(key::REVOCATIONS_VERSION)?,
            masters: self.masters_version()?,
        })
    }

    /// What every server and client is known to enforce. Of the servers all are there, also those that never said
    /// anything.
    pub(crate) fn standings(&self) -> Result<Vec<Standing>, Error> {
        let mut standings = Vec::new();
        for member in &self.settings.members {
            let word = self.records.get(&key::server(member))?.map(|found| found.value);
            standings.push(Standing { name: format!("server/{member}"), part: Part::Server, word });
        }
        let prefix = key::CLIENTS.as_bytes();
        let mut after = None;
        loop {
            let page = self.records.page::<Acknowledged>(prefix, after.as_deref(), PAGE)?;
            for (at, Versioned { value: word, .. }) in page.values {
                let name = String::from_utf8_lossy(at.get(prefix.len()..).unwrap_or_default()).into_owned();
                let gone = word.at_ms.saturating_add(GONE_MS) < self.now_ms();
                standings.extend((!gone).then_some(Standing { name, part: Part::Client, word: Some(word) }));
            }
            match page.next {
                None => return Ok(standings),
                next => after = next,
            }
        }
    }

    /// What is known about what is at `version`, of which a word has the version that `said` takes from it.
    pub(crate) fn evidence(&self, version: u64, said: impl Fn(&Acknowledged) -> u64) -> Result<Evidence, Error> {
        let verifier = |standing: Standing| Verifier {
            name: standing.name,
            part: standing.part,
            acknowledged: standing.word.map(|word| Acknowledgement {
                version: said(&word),
                at_ms: word.at_ms,
                in_use_until_ms: word.signed_until_ms,
            }),
        };
        Ok(Evidence { version, verifiers: self.standings()?.into_iter().map(verifier).collect() })
    }

    /// Repeats `attempt`, at a step, for a moment while it only waits for words of verifiers: those of servers come by
    /// themselves.
    pub(crate) async fn given_a_moment<T>(&self, attempt: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        let mut changes = self.records.store().changes();
        let patience = Instant::now() + PATIENCE;
        loop {
            changes.mark_unchanged();
            match attempt() {
                Err(Error::Step(StepError::NotYet(why)))
                    if !why.waiting_for.is_empty() && Instant::now() < patience =>
                {
                    // Whether a word came or none did: the next look tells.
                    let _ = timeout_at(patience, changes.changed()).await;
                }
                done => return done,
            }
        }
    }

    /// What an earlier run of this server may have signed counts as signed now, unless its last word still stands.
    fn recall_signed(&self) -> Result<(), Error> {
        let ring = self.key_ring()?;
        let own = self.records.get::<Acknowledged>(&key::server(&self.settings.member))?;
        let word = own.map(|own| own.value).filter(|word| word.versions.keys == ring.revision);
        let worst_ms = self.now_ms().saturating_add(millis(self.settings.lifetimes.longest_token));
        let mut signed = self.signed.0.lock();
        for item in ring.value.keys.items.iter().filter(|item| item.state.verifies()) {
            let until_ms = match (item.state, &word) {
                (State::Pending, _) if item.activated_ms.is_none() => continue,
                (State::Overlap, Some(word)) => word.signed_until_ms.get(&item.id).copied().unwrap_or_default(),
                _ => worst_ms,
            };
            let last_ms = signed.entry(item.id.clone()).or_default();
            *last_ms = until_ms.max(*last_ms);
        }
        Ok(())
    }

    fn own_word(&self) -> Result<Acknowledged, Error> {
        let mut signed = self.signed.0.lock();
        let versions = self.versions()?;
        let ring = self.key_ring()?;
        signed.retain(|kid, _| ring.value.key(kid).is_some());
        Ok(Acknowledged {
            versions,
            at_ms: self.now_ms(),
            signed_until_ms: signed.clone(),
            closed: 0,
            master_keys: self.master_keys.ids(),
        })
    }

    /// Commits what this server enforces, if that is news. Connections of those who may not go on are closed before.
    async fn acknowledge_own(self: &Arc<Self>) -> Result<(), Error> {
        let at = key::server(&self.settings.member);
        let stored = self.records.get::<Acknowledged>(&at)?.map(|stored| stored.value);
        let versions = self.versions()?;
        let holds = |stored: &Acknowledged| stored.master_keys == self.master_keys.ids();
        if stored.as_ref().is_some_and(|stored| stored.versions == versions && holds(stored)) {
            return Ok(());
        }
        if stored.as_ref().is_none_or(|stored| stored.versions.masters != versions.masters) {
            self.publish_check()?;
        }
        if stored.as_ref().is_none_or(|stored| stored.versions.trust != versions.trust) {
            self.publish_roots()?;
        }
        let mut word = self.own_word()?;
        let inner = Arc::clone(self);
        let looked = tokio::task::spawn_blocking(move || inner.cut_ended()).await;
        looked.map_err(|error| Error::Corrupt(format!("open connections were not looked at: {error}")))?;
        let closed = self.closed.swap(0, Ordering::Relaxed);
        word.closed = stored.map_or(0, |stored| stored.closed).saturating_add(closed);
        let resource = format!("verifier/server/{}", self.settings.member);
        let change = Change::new("iam.Acknowledge", resource).put(at, &word)?;
        let origin = Origin::system("iam", format!("acknowledge-{}", hex::encode(self.random::<8>()?)));
        let said = self.records.commit(origin, change).await;
        if said.is_err() {
            self.closed.fetch_add(closed, Ordering::Relaxed);
        }
        said.map(drop)
    }
}

impl Iam {
    /// Says what this server enforces, whenever that changes, for as long as its doors are open.
    pub(crate) async fn keep_acknowledged(&self, stop: &Stop) {
        let mut changes = self.0.records.store().changes();
        let mut doors = self.0.doors.subscribe();
        let mut recalled = false;
        loop {
            changes.mark_unchanged();
            let open = *doors.borrow_and_update() == Doors::Open;
            let said = async {
                if open && !recalled {
                    self.0.recall_signed()?;
                    recalled = true;
                }
                if open { self.0.acknowledge_own().await } else { Ok(()) }
            };
            let pause = match said.await {
                Ok(()) => TOGETHER,
                Err(error) => {
                    tracing::debug!(error = %error, "what this server enforces is not said yet");
                    RETRY
                }
            };
            let next = async {
                sleep(pause).await;
                if pause == TOGETHER {
                    tokio::select! {
                        changed = changes.changed() => changed.is_ok(),
                        changed = doors.changed() => changed.is_ok(),
                    }
                } else {
                    true
                }
            };
            tokio::select! {
                () = stop.requested() => return,
                goes_on = next => if !goes_on { return },
            }
        }
    }

    /// The word of a client, and what there is to enforce.
    pub(crate) async fn acknowledge(&self, by: &Identity, versions: Versions) -> Result<Versions, Error> {
        let id = match by.principal.principal() {
            Some(id) if matches!(id.kind(), Kind::Node | Kind::Service) && by.is_itself(id) => id,
            _ => {
                return Err(Error::Invalid(
                    "nodes and services acknowledge, for themselves, and not by a narrowed token".to_owned(),
                ));
            }
        };
        let current = self.0.versions()?;
        if !current.covers(&versions) {
            return Err(Error::Invalid("nobody enforces what is not there yet".to_owned()));
        }
        let at = key::client(id);
        let now_ms = self.0.now_ms();
        let stored = self.0.records.get::<Acknowledged>(&at)?;
        let known = |stored: &Versioned<Acknowledged>| {
            stored.value.versions == versions && now_ms < stored.value.at_ms.saturating_add(AGAIN_MS)
        };
        if !stored.as_ref().is_some_and(known) {
            let word = Acknowledged {
                versions,
                at_ms: now_ms,
                signed_until_ms: BTreeMap::new(),
                closed: 0,
                master_keys: Vec::new(),
            };
            let change = Change::new("iam.Acknowledge", format!("verifier/{id}")).put(at, &word)?;
            self.0.records.commit(by.origin(), change).await?;
        }
        Ok(current)
    }
}
