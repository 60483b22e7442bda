//! The key ring in the system keyspace: one record, each step one compare-and-set.

use std::sync::Arc;

use iam_client::Identity;
use iam_core::{
    record::key,
    seal::{Label, Sealed},
    signing::{Algorithm, JwkSet, KeyRing, SigningKey, Step, StepError},
};
use zeroize::Zeroizing;

use crate::{
    Error, Iam, authority_key,
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
    /// Do not wait for the verifiers' caches.
    pub(crate) now: bool,
    /// Only say what would happen.
    pub(crate) dry_run: bool,
    /// The ring's revision that the caller looked at.
    pub(crate) expected_revision: Option<u64>,
}

impl Inner {
    /// The key that signs tokens now, and its ring.
    pub(crate) fn signer(&self) -> Result<(Arc<SigningKey>, Arc<Versioned<KeyRing>>), Error> {
        let ring = self.key_ring()?;
        let active = ring.value.active().ok_or_else(|| Error::Corrupt("no signing key is active".to_owned()))?;
        let mut cached = self.signer.lock();
        if let Some((kid, signer)) = cached.as_ref()
            && *kid == active.kid
        {
            return Ok((Arc::clone(signer), ring));
        }
        let signer = Arc::new(self.unseal_signing_key(&active.kid)?);
        *cached = Some((active.kid.clone(), Arc::clone(&signer)));
        drop(cached);
        Ok((signer, ring))
    }

    fn unseal_signing_key(&self, kid: &str) -> Result<SigningKey, Error> {
        let label = Label { kind: "signing-key", principal: PLANE, key: kid };
        let sealed = self.records.get::<Sealed>(&key::sealed(label.kind, label.key))?;
        let sealed = sealed.ok_or_else(|| Error::Corrupt(format!("signing key {kid} has no sealed half")))?;
        Ok(SigningKey::from_pkcs8(self.master.open(label, &sealed.value)?)?)
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
        let signing_key = match new {
            NewKey::Generate(Algorithm::EdDsa) => SigningKey::from_seed(&Zeroizing::new(self.0.random()?))?,
            NewKey::Generate(Algorithm::Es256) => SigningKey::from_pkcs8(authority_key::generate_p256()?)?,
            NewKey::Pem(pem) => SigningKey::from_pem(pem.as_bytes())?,
        };
        let kid = signing_key.public().kid()?;
        let ring = self.0.key_ring()?;
        let next = ring.value.add(signing_key.public().clone(), self.0.now_ms())?;
        if dry_run {
            return Ok((kid, Versioned { value: next, revision: ring.revision }));
        }
        let label = Label { kind: "signing-key", principal: PLANE, key: &kid };
        let sealed = self.0.master.seal(label, signing_key.pkcs8(), self.0.random()?)?;
        let change = Change::new("iam.SigningKeyAdd", format!("signing-key/{kid}"))
            .replace(key::RING.to_vec(), ring.revision, &next)?
            .create(key::sealed(label.kind, label.key), &sealed)?;
        let revision = self.0.records.commit(by.origin(), change).await?;
        Ok((kid, Versioned { value: next, revision }))
    }

    /// Takes `step` with the key `kid`. A step that is done already changes nothing.
    pub(crate) async fn step_signing_key(
        &self,
        by: &Identity,
        kid: &str,
        step: Step,
        options: StepOptions,
    ) -> Result<Versioned<KeyRing>, Error> {
        let ring = self.0.key_ring()?;
        if options.expected_revision.is_some_and(|expected| expected != ring.revision) {
            return Err(Error::Conflict { found: Some(ring.revision) });
        }
        let (timing, now_ms) = (self.0.settings.timing(), self.0.now_ms());
        let (action, next) = match step {
            Step::Activate => ("iam.SigningKeyActivate", ring.value.activate(kid, options.now, &timing, now_ms)),
            Step::Retire => ("iam.SigningKeyRetire", ring.value.retire(kid, &timing, now_ms)),
            Step::Purge => ("iam.SigningKeyPurge", ring.value.purge(kid, &timing, now_ms)),
        };
        let next = match next {
            // Purging what is gone is done already.
            Err(StepError::NotFound(_)) if step == Step::Purge => ring.value.clone(),
            next => next?,
        };
        if next == ring.value || options.dry_run {
            return Ok(Versioned { value: next, revision: ring.revision });
        }
        let change =
            Change::new(action, format!("signing-key/{kid}")).replace(key::RING.to_vec(), ring.revision, &next)?;
        let change = if step == Step::Purge { change.delete(key::sealed("signing-key", kid)) } else { change };
        let revision = self.0.records.commit(by.origin(), change).await?;
        Ok(Versioned { value: next, revision })
    }
}
