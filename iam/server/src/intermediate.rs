//! The plane's authority below an offline root: its key is made here and never leaves the servers, the root's holder
//! certifies it, and its certificate may be replaced while the root stays.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chainfire_core::system::Expect;
use iam_ca::{Anchor, Authority, Intermediate, KeyAlgorithm, Leaf, PrivateKey, Usage, verify};
use iam_client::Identity;
use iam_core::{
    Kind, PrincipalId,
    record::key,
    rotation::StepError,
    seal::Label,
    trust::{Issuing, word},
};

use crate::{
    Error, Iam,
    genesis::PLANE,
    iam::Inner,
    issuer,
    records::{Change, Versioned},
    trust::{Changed, der, unchanged},
};

/// Under which the key is sealed that waits for its certificate. There is one at a time.
const REQUESTED: Label<'_> = Label { kind: "authority-request", principal: PLANE, key: "next" };

/// A request for the certificate of an authority.
pub(crate) struct Requested {
    /// SHA-256 of the key (SubjectPublicKeyInfo), hex.
    pub(crate) id: String,
    pub(crate) csr_der: Vec<u8>,
}

impl Iam {
    /// A request for a key that waits for its certificate: a new key, unless one is waiting.
    pub(crate) async fn request_certificate(&self, by: &Identity) -> Result<Requested, Error> {
        let key = match self.0.requested_key()? {
            Some((key, _)) => key,
            None => {
                let key = PrivateKey::generate(KeyAlgorithm::P256)?;
                let change = Change::new("iam.AuthorityRequest", format!("authority/{}", key.id()));
                self.0.records.commit(by.origin(), self.0.seal(change, REQUESTED, &key.der())?).await?;
                key
            }
        };
        Ok(Requested { id: key.id(), csr_der: key.request(&self.0.authority_name())? })
    }

    /// Issues with `certificate` (DER) in the name of the root `id`. What was issued before stays good until it ends.
    pub(crate) async fn issue_with(
        &self,
        by: &Identity,
        id: &str,
        certificate: &[u8],
        dry_run: bool,
    ) -> Result<Changed, Error> {
        let inner = &self.0;
        let trust = inner.trust()?;
        let missing = || StepError::NotFound { noun: "certificate authority", id: id.to_owned() };
        let root = trust.value.roots.get(id).ok_or_else(missing)?;
        if !root.state.verifies() {
            return Err(Error::Precondition(format!("{id} is {}: it issues nothing any more", word(root.state))));
        }
        let before = root.value.issuing.as_ref();
        let change = Change::new("iam.AuthorityIssueWith", format!("authority/{id}"));
        let (issuing, change) = inner.take_into_use(change, &der(root)?, certificate, before)?;
        let next = trust.value.issuing_with(id, &issuing);
        if dry_run || next == trust.value {
            return Ok(unchanged(Versioned { value: next, revision: trust.revision }, id.to_owned(), String::new()));
        }
        let mut change = change.replace(key::AUTHORITIES.to_vec(), trust.revision, &next)?;
        if let Some(before) = before.filter(|before| before.id != issuing.id) {
            let label = issuer::label(&before.id);
            change = change.delete(key::sealed(label.kind, label.key));
        }
        self.change_roots(by, change, next, id.to_owned(), String::new()).await
    }
}

impl Inner {
    /// Judges the certificate `der` of an authority below `root` (DER), whose key has to be the one that waits, or the one
    /// in use `before`, and adds to `change` what keeps its key.
    pub(crate) fn take_into_use(
        &self,
        change: Change,
        root: &[u8],
        der: &[u8],
        before: Option<&Issuing>,
    ) -> Result<(Issuing, Change), Error> {
        let intermediate = Intermediate::parse(der).map_err(|error| Error::Invalid(error.to_string()))?;
        let Intermediate { id, .. } = &intermediate;
        let (key, change) = match self.requested_key()? {
            _ if before.is_some_and(|before| before.id == *id) => {
                (PrivateKey::from_der(&self.unseal(issuer::label(id))?)?, change)
            }
            Some((key, revision)) if key.id() == *id => {
                let at = key::sealed(REQUESTED.kind, REQUESTED.key);
                let change = change.expect(at.clone(), Expect::Revision(revision)).delete(at);
                let change = self.seal(change, issuer::label(id), &key.der())?;
                (key, change)
            }
            Some(_) | None => {
                return Err(Error::Precondition(format!(
                    "{id} is not the key that waits for its certificate: have the request of `iam trust request` certified"
                )));
            }
        };
        self.judge(&intermediate, root, &Authority::open(der, key)?)?;
        Ok((Issuing { id: id.clone(), certificate: STANDARD.encode(der) }, change))
    }

    /// Refuses an authority that would not issue under `root` (DER) what this plane's nodes need, or could issue more.
    fn judge(&self, intermediate: &Intermediate, root: &[u8], authority: &Authority) -> Result<(), Error> {
        let no = |why: String| Err(Error::Invalid(format!("the issuing certificate is refused: {why}")));
        let domain = self.settings.trust_domain.as_str();
        if intermediate.hosts != [domain] {
            return no(format!("it has to be constrained to URIs of {domain}"));
        }
        if intermediate.expires_ms <= self.now_ms() {
            return no("it has ended".to_owned());
        }
        let root_ends_ms = Anchor::parse(root).map_err(|error| Error::Corrupt(error.to_string()))?.expires_ms;
        if intermediate.expires_ms > root_ends_ms {
            return no("it ends after its root".to_owned());
        }
        // What it would issue, judged as every server judges what a node shows.
        let node = PrincipalId::new(Kind::Node, "trial")?;
        let uri = self.settings.trust_domain.spiffe_id(&node);
        let leaf = Leaf { common_name: node.name(), uri: &uri, usage: Usage::Client };
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519)?.public_key_info();
        let leaf = authority.certify(&leaf, &key, self.validity(self.settings.lifetimes.certificate)?)?;
        match verify(&[&leaf.der, authority.der()], &[root], self.now_ms()) {
            Ok(_) => Ok(()),
            Err(fault) => no(format!("what it issues would not count under this root: {fault}")),
        }
    }

    /// The key that waits for its certificate, and the revision of its record.
    fn requested_key(&self) -> Result<Option<(PrivateKey, u64)>, Error> {
        let Some(revision) = self.records.revision(&key::sealed(REQUESTED.kind, REQUESTED.key))? else {
            return Ok(None);
        };
        Ok(Some((PrivateKey::from_der(&self.unseal(REQUESTED)?)?, revision)))
    }
}
