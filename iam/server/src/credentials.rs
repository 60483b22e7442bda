//! Access keys: sealed at rest, shown once, overlapping by design.

use std::collections::BTreeSet;

use chainfire_core::system::Expect;
use iam_client::{Evidence, Identity};
use iam_core::{
    Kind, PrincipalId,
    credential::{AccessKeyId, Credential, CredentialSet, ENTROPY, mint},
    credential_use::LastUses,
    record::{AccessKey, key},
    seal::{Label, MasterKey, NONCE, Sealed},
    secret,
};
use zeroize::Zeroizing;

use crate::{
    Entropy, Error, Iam,
    guess_limit::Target,
    iam::Inner,
    recorder::{Call, Event},
    records::{Change, Versioned},
};

const MAX_NOTE: usize = 256;
/// What a sealed secret of an access key is labelled.
const KIND: &str = "credential";

/// A new access key.
pub(crate) struct NewCredential {
    pub(crate) credential: Credential,
    pub(crate) secret: Zeroizing<String>,
    pub(crate) revision: u64,
}

/// Stands in for an access key that does not exist.
pub(crate) struct Decoy {
    id: AccessKeyId,
    principal: PrincipalId,
    sealed: Sealed,
}

impl Decoy {
    pub(crate) fn new(master: &MasterKey, entropy: &dyn Entropy) -> Result<Self, Error> {
        let (mut seed, mut nonce) = (Zeroizing::new([0; ENTROPY]), [0; NONCE]);
        entropy.fill(seed.as_mut_slice())?;
        entropy.fill(&mut nonce)?;
        let (id, secret) = mint(&seed);
        let principal = PrincipalId::new(Kind::Service, "nobody")?;
        let sealed = master.seal(label(&principal.to_string(), &id), secret.as_bytes(), nonce)?;
        Ok(Self { id, principal, sealed })
    }
}

impl Inner {
    /// The principal whose live access key `name` has this secret. Whatever is wrong, the same is looked up, unsealed
    /// and compared, so that the time of a no says nothing about which access keys there are.
    pub(crate) fn credential_principal(&self, name: &str, presented: &str) -> Result<Option<PrincipalId>, Error> {
        let decoy = &self.decoy;
        let id = AccessKeyId::parse(name).unwrap_or_else(|| decoy.id.clone());
        let found = self.records.get::<AccessKey>(&key::access_key(&id))?;
        let principal = found.map_or_else(|| decoy.principal.clone(), |found| found.value.principal);
        let set = self.records.get::<CredentialSet>(&key::credentials(&principal))?;
        let live = set.is_some_and(|set| set.value.is_live(&id));
        let sealed = self.records.get::<Sealed>(&key::sealed(KIND, id.as_str()))?;
        let may = self.holdings(&principal)?.is_some();
        let expected = match &sealed {
            Some(sealed) => self.master_keys.open(label(&principal.to_string(), &id), &sealed.value)?,
            None => self.master_keys.open(label(&decoy.principal.to_string(), &decoy.id), &decoy.sealed)?,
        };
        self.metrics.compared.inc();
        let right = secret::equal(presented.as_bytes(), &expected);
        Ok((right && sealed.is_some() && live && may).then_some(principal))
    }

    /// Whose secret somebody guesses who tries it with `name`.
    pub(crate) fn guessed_at(&self, name: &str) -> Result<Target, Error> {
        // Also of a name that can be none: the same is read, whatever the name.
        let id = AccessKeyId::parse(name).unwrap_or_else(|| self.decoy.id.clone());
        let found = self.records.get::<AccessKey>(&key::access_key(&id))?;
        Ok(found.map_or_else(|| Target::Name(name.to_owned()), |found| Target::Principal(found.value.principal)))
    }

    /// Whether the access key `name` may be used.
    pub(crate) fn is_live(&self, name: &str) -> Result<bool, Error> {
        let Some(id) = AccessKeyId::parse(name) else { return Ok(false) };
        Ok(self.credential(&id)?.is_some_and(|(_, set)| set.value.is_live(&id)))
    }

    fn credential(&self, id: &AccessKeyId) -> Result<Option<(PrincipalId, Versioned<CredentialSet>)>, Error> {
        let Some(found) = self.records.get::<AccessKey>(&key::access_key(id))? else { return Ok(None) };
        let principal = found.value.principal;
        let set = self.records.get(&key::credentials(&principal))?;
        Ok(set.map(|set| (principal, set)))
    }

    fn unseal_credential(&self, id: &AccessKeyId, principal: &PrincipalId) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.unseal(label(&principal.to_string(), id))
    }
}

impl Iam {
    pub(crate) async fn create_credential(
        &self,
        by: &Identity,
        principal: &PrincipalId,
        note: String,
    ) -> Result<NewCredential, Error> {
        self.0.check_approved()?;
        let lineage = self.lineage(by, principal)?;
        if principal.kind() == Kind::Node {
            // A node proves itself with its certificate; a secret would outlive its enrolment.
            return Err(Error::Invalid("a node has a certificate and gets no access key".to_owned()));
        }
        if note.chars().count() > MAX_NOTE || note.chars().any(char::is_control) {
            return Err(Error::Invalid(format!("a note has at most {MAX_NOTE} printable characters")));
        }
        self.0.holdings(principal)?.ok_or_else(|| Error::NotFound(principal.to_string()))?;
        let (id, secret) = mint(&Zeroizing::new(self.0.random()?));
        let at = key::credentials(principal);
        let current = self.0.records.get::<CredentialSet>(&at)?;
        let (revision, set) = current.map_or((None, CredentialSet::default()), |set| (Some(set.revision), set.value));
        let next = set.create(id.clone(), note, lineage.clone(), self.0.now_ms())?;
        let owner = principal.to_string();
        let mut change = Change::new("iam.CredentialCreate", format!("access-key/{}", id.as_str()))
            .expect(key::principal(principal), Expect::Present)
            .expect(at.clone(), revision.map_or(Expect::Absent, Expect::Revision))
            .put(at, &next)?
            .create(key::access_key(&id), &AccessKey { principal: principal.clone() })?;
        change = self.0.seal(change, label(&owner, &id), secret.as_bytes())?;
        if let Some(lin) = &lineage {
            // Not after its revocation, which has looked for what to take along.
            change = change
                .expect(key::revoked_token(lin), Expect::Absent)
                .put(key::lineage(lin), &AccessKey { principal: principal.clone() })?;
        }
        let revision = self.0.records.commit(by.origin(), change).await?;
        let credential = next.credentials.into_iter().find(|credential| credential.id == id);
        let credential = credential.ok_or_else(|| Error::Corrupt("a new access key vanished".to_owned()))?;
        Ok(NewCredential { credential, secret, revision })
    }

    /// The access keys, and when each was used last.
    pub(crate) fn list_credentials(
        &self,
        by: &Identity,
        principal: &PrincipalId,
    ) -> Result<(Vec<Credential>, LastUses), Error> {
        if !by.is_itself(principal) {
            self.0.authorize(by, "iam.Read", &principal.to_string())?;
        }
        let set = self.0.records.get::<CredentialSet>(&key::credentials(principal))?;
        Ok((set.map(|set| set.value.credentials).unwrap_or_default(), self.0.last_uses(principal)?))
    }

    pub(crate) async fn revoke_credential(&self, by: &Identity, name: &str, force: bool) -> Result<u64, Error> {
        let (id, principal, set) = self.find_credential(by, name)?;
        let next = set.value.revoke(&id, force, self.0.now_ms())?;
        if next == set.value {
            return Ok(set.revision);
        }
        let mut change = Change::new("iam.CredentialRevoke", format!("access-key/{name}"))
            .replace(key::credentials(&principal), set.revision, &next)?
            .delete(key::access_key(&id))
            .delete(key::sealed(KIND, name));
        if let Some(lin) =
            set.value.lineage(&id).filter(|lin| next.live().all(|left| left.lineage.as_ref() != Some(lin)))
        {
            change = change.delete(key::lineage(lin));
        }
        self.0.records.commit(by.origin(), change).await
    }

    /// The secret again, so that a client can prove that its new key works before the old one goes.
    pub(crate) async fn credential_secret(&self, by: &Identity, name: &str) -> Result<Zeroizing<String>, Error> {
        let (id, principal, set) = self.find_credential(by, name)?;
        // A token ends; with a secret that it did not make itself its thief would stay.
        if by.claims().is_some_and(|claims| claims.scope.is_some() || set.value.lineage(&id) != Some(&claims.lin)) {
            self.0.authorize(by, "iam.Admin", &principal.to_string())?;
        }
        if !set.value.is_live(&id) {
            return Err(Error::NotFound(format!("live access key {name}")));
        }
        let secret = self.0.unseal_credential(&id, &principal)?;
        let secret = String::from_utf8(secret.to_vec())
            .map_err(|_| Error::Corrupt(format!("access key {name} has a secret that is no text")))?;
        self.0.record(&Call::of(by), Event::done("iam.CredentialSecretRead", format!("access-key/{name}"))).await?;
        Ok(Zeroizing::new(secret))
    }

    /// The caller's own access key, or anybody's for an admin. Who may not see it learns nothing about it.
    fn find_credential(
        &self,
        by: &Identity,
        name: &str,
    ) -> Result<(AccessKeyId, PrincipalId, Versioned<CredentialSet>), Error> {
        let not_found = || Error::NotFound(format!("access key {name:?}"));
        let id = AccessKeyId::parse(name).ok_or_else(not_found)?;
        let Some((principal, set)) = self.0.credential(&id)? else {
            self.0.authorize(by, "iam.Admin", "iam/credentials")?;
            return Err(not_found());
        };
        self.own_or_admin(by, &principal)?;
        Ok((id, principal, set))
    }

    /// What a new access key of `principal` is to be revoked with, if the caller may make one.
    fn lineage(&self, by: &Identity, principal: &PrincipalId) -> Result<Option<String>, Error> {
        self.own_or_admin(by, principal)?;
        if by.principal.principal() != Some(principal) {
            return Ok(None);
        }
        if let Evidence::AccessKey(name) = &by.evidence {
            // Its own origin goes on.
            let (id, _, set) = self.find_credential(by, name)?;
            return Ok(set.value.lineage(&id).cloned());
        }
        let Some(claims) = by.claims() else { return Ok(None) };
        if claims.is_derived() {
            self.0.authorize(by, "iam.Admin", &principal.to_string())?;
        }
        Ok(Some(claims.lin.clone()))
    }

    /// Takes along the access keys that the token `jti` made.
    pub(crate) fn revoke_made_by(&self, change: Change, jti: &str, now_ms: u64) -> Result<Change, Error> {
        let at = key::lineage(jti);
        let Some(made) = self.0.records.get::<AccessKey>(&at)? else { return Ok(change.expect(at, Expect::Absent)) };
        self.revoke_made(change, &made.value.principal, now_ms, |lin| lin == jti)
    }

    /// Takes along the access keys that any token of `principal` made.
    pub(crate) fn revoke_all_made(
        &self,
        change: Change,
        principal: &PrincipalId,
        now_ms: u64,
    ) -> Result<Change, Error> {
        self.revoke_made(change, principal, now_ms, |_| true)
    }

    fn revoke_made(
        &self,
        mut change: Change,
        principal: &PrincipalId,
        now_ms: u64,
        doomed: impl Fn(&str) -> bool,
    ) -> Result<Change, Error> {
        let at = key::credentials(principal);
        let Some(set) = self.0.records.get::<CredentialSet>(&at)? else {
            return Ok(change.expect(at, Expect::Absent));
        };
        let (next, revoked) = set.value.revoke_made_by(doomed, now_ms);
        change = change.replace(at, set.revision, &next)?;
        let lineages: BTreeSet<_> = revoked.iter().filter_map(|id| set.value.lineage(id)).collect();
        for id in &revoked {
            change = change.delete(key::access_key(id)).delete(key::sealed(KIND, id.as_str()));
        }
        Ok(lineages.into_iter().fold(change, |change, lin| change.delete(key::lineage(lin))))
    }

    fn own_or_admin(&self, by: &Identity, principal: &PrincipalId) -> Result<(), Error> {
        if !by.is_itself(principal) {
            self.0.authorize(by, "iam.Admin", &principal.to_string())?;
        }
        Ok(())
    }
}

fn label<'a>(principal: &'a str, id: &'a AccessKeyId) -> Label<'a> {
    Label { kind: KIND, principal, key: id.as_str() }
}
