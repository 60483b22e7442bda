//! The key ring in the system keyspace: one record, each step one compare-and-set.

use std::sync::Arc;

use iam_ca::{KeyAlgorithm, PrivateKey};
use iam_client::Identity;
use iam_core::{
    record::{RevokedKey, key},
    rotation::{Evidence, Item, Rotates, Set, Step, StepError, Terms, Waive, Windows},
    seal::Label,
    signing::{Algorithm, JwkSet, KeyRing, SigningKey},
};
use zeroize::Zeroizing;

use crate::{
    Error, Iam,
    genesis::PLANE,
    iam::Inner,
    records::{Change, Versioned},
};

/// What a new signing key is made of.
pub(crate) enum NewKey {
    Generate(Algorithm),
    Pem(Zeroizing<String>),
}

/// How a step is to be done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StepOptions {
    pub(crate) waive: Waive,
    /// Only say what would happen.
    pub(crate) dry_run: bool,
    /// Revoke what the key signed, instead of waiting for its end.
    pub(crate) revoke_population: bool,
    /// The revision that the caller looked at; 0 for any.
    pub(crate) expected_revision: u64,
}

/// The ring after a step, and what the step breaks.
pub(crate) struct Stepped {
    pub(crate) ring: Versioned<KeyRing>,
    pub(crate) breaks: String,
}

/// A new key, and the change that adds it to the ring of this revision.
pub(crate) struct Added {
    pub(crate) kid: String,
    pub(crate) ring: KeyRing,
    pub(crate) revision: u64,
    pub(crate) change: Change,
}

/// What a step is judged by.
pub(crate) struct Judge {
    pub(crate) windows: Windows,
    pub(crate) evidence: Evidence,
    pub(crate) now_ms: u64,
}

impl Inner {
    /// The key that signs tokens now, and its ring. Its tokens will last until `until_ms` at most.
    pub(crate) fn signer(&self, until_ms: u64) -> Result<(Arc<SigningKey>, Arc<Versioned<KeyRing>>), Error> {
        self.signed.noting(until_ms, || {
            let ring = self.key_ring()?;
            let active = ring.value.active().ok_or_else(|| Error::Corrupt("no signing key is active".to_owned()))?;
            let kid = active.id.clone();
            Ok((kid.clone(), (self.unsealed(&kid)?, ring)))
        })
    }

    fn unsealed(&self, kid: &str) -> Result<Arc<SigningKey>, Error> {
        let mut cached = self.signer.lock();
        if let Some((known, signer)) = cached.as_ref()
            && known == kid
        {
            return Ok(Arc::clone(signer));
        }
        let signer = Arc::new(self.unseal_signing_key(kid)?);
        *cached = Some((kid.to_owned(), Arc::clone(&signer)));
        Ok(signer)
    }

    fn unseal_signing_key(&self, kid: &str) -> Result<SigningKey, Error> {
        Ok(SigningKey::from_pkcs8(self.unseal(Label { kind: "signing-key", principal: PLANE, key: kid })?)?)
    }
}

impl Iam {
    pub(crate) fn key_ring(&self) -> Result<Arc<Versioned<KeyRing>>, Error> {
        self.0.key_ring()
    }

    pub(crate) fn jwks(&self) -> Result<JwkSet, Error> {
        Ok(self.0.key_ring()?.value.jwks()?)
    }

    /// Adds a pending key, and returns its name and the new ring.
    pub(crate) async fn add_signing_key(
        &self,
        by: &Identity,
        new: NewKey,
        dry_run: bool,
    ) -> Result<(String, Versioned<KeyRing>), Error> {
        let added = self.0.new_signing_key(new)?;
        let revision = match dry_run {
            true => added.revision,
            false => self.0.records.commit(by.origin(), added.change).await?,
        };
        Ok((added.kid, Versioned { value: added.ring, revision }))
    }

    /// Takes `step` with the key `kid`. A step that is done already changes nothing.
    pub(crate) async fn step_signing_key(
        &self,
        by: &Identity,
        kid: &str,
        step: Step,
        options: StepOptions,
    ) -> Result<Stepped, Error> {
        let waive = if options.revoke_population { Waive::Everything } else { options.waive };
        let (ring, judge, next) = self
            .0
            .given_a_moment(|| {
                let ring = self.0.key_ring()?;
                ring.expect(options.expected_revision)?;
                let judge = self.0.judge_keys(ring.revision)?;
                let next = match ring.value.step(kid, step, &judge.terms(waive)) {
                    // Purging what is gone is done already.
                    Err(StepError::NotFound { .. }) if step == Step::Purge => ring.value.clone(),
                    next => next?,
                };
                Ok((ring, judge, next))
            })
            .await?;
        let forced = ring.value.key(kid).filter(|_| waive == Waive::Everything);
        let breaks = forced.and_then(|key| key.breaks(&judge.terms(Waive::Nothing))).unwrap_or_default();
        let revision = if next == ring.value || options.dry_run {
            ring.revision
        } else {
            let change = key_change(&ring, &next, kid, step)?;
            let change = match options.revoke_population {
                true => change.put(key::revoked_key(kid), &RevokedKey { not_before_ms: self.0.now_ms() })?,
                false => change,
            };
            self.0.records.commit(by.origin(), change).await?
        };
        Ok(Stepped { ring: Versioned { value: next, revision }, breaks })
    }
}

impl Inner {
    /// A pending key that nobody has seen yet.
    pub(crate) fn new_signing_key(&self, new: NewKey) -> Result<Added, Error> {
        let signing_key = match new {
            NewKey::Generate(Algorithm::EdDsa) => SigningKey::from_seed(&Zeroizing::new(self.random()?))?,
            NewKey::Generate(Algorithm::Es256) => {
                SigningKey::from_pkcs8(PrivateKey::generate(KeyAlgorithm::P256)?.der())?
            }
            NewKey::Pem(pem) => SigningKey::from_pem(pem.as_bytes())?,
        };
        let kid = signing_key.public().kid()?;
        let Versioned { value, revision } = &*self.key_ring()?;
        let ring = value.add(signing_key.public().clone(), self.now_ms())?;
        let label = Label { kind: "signing-key", principal: PLANE, key: &kid };
        let change = Change::new("iam.SigningKeyAdd", format!("signing-key/{kid}"));
        let change = change.replace(key::RING.to_vec(), *revision, &ring)?;
        let change = self.seal(change, label, signing_key.pkcs8())?;
        Ok(Added { kid, ring, revision: *revision, change })
    }

    /// What steps with the signing keys, which are at `version`, are judged by now.
    pub(crate) fn judge_keys(&self, version: u64) -> Result<Judge, Error> {
        let (windows, evidence) = (self.settings.key_windows(), self.evidence(version, |word| word.versions.keys)?);
        Ok(Judge { windows, evidence, now_ms: self.now_ms() })
    }
}

impl Judge {
    /// The set after `step` with `item` of it, and what breaks where the step waits for nothing.
    pub(crate) fn step<T: Rotates>(
        &self,
        set: &Set<T>,
        item: &Item<T>,
        step: Step,
        waive: Waive,
    ) -> Result<(Set<T>, String), StepError> {
        let next = set.step(&item.id, step, &self.terms(waive))?;
        let breaks = if waive == Waive::Everything { item.breaks(&self.terms(Waive::Nothing)) } else { None };
        Ok((next, breaks.unwrap_or_default()))
    }

    pub(crate) fn terms(&self, waive: Waive) -> Terms<'_> {
        Terms { windows: &self.windows, evidence: &self.evidence, now_ms: self.now_ms, waive }
    }
}

/// The change from `ring` to `next`, which is `ring` after `step`.
pub(crate) fn key_change(ring: &Versioned<KeyRing>, next: &KeyRing, kid: &str, step: Step) -> Result<Change, Error> {
    let change = Change::new(step_action(step), format!("signing-key/{kid}"));
    let change = change.replace(key::RING.to_vec(), ring.revision, next)?;
    Ok(match step {
        Step::Purge => change.delete(key::sealed("signing-key", kid)).delete(key::revoked_key(kid)),
        Step::Activate | Step::Retire | Step::Compromise => change,
    })
}

/// As the history names a step.
pub(crate) fn step_action(step: Step) -> &'static str {
    match step {
        Step::Activate => "iam.SigningKeyActivate",
        Step::Retire => "iam.SigningKeyRetire",
        Step::Purge => "iam.SigningKeyPurge",
        Step::Compromise => "iam.SigningKeyCompromise",
    }
}
