//! The online certificate authority: it is made at genesis, its key is sealed, and it certifies nodes.

use std::time::Duration;

use iam_ca::{CertificateRequest, KeyAlgorithm, Leaf, PrivateKey, Signed, Usage, Validity};
use iam_core::{
    PrincipalId,
    rotation::{Item, State},
    seal::Label,
    trust::{Authorities, Root},
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{Error, genesis::PLANE, iam::Inner, trust::der};

/// Five years; it is replaced by overlap long before.
const AUTHORITY_LIFE: Duration = Duration::from_secs(5 * 365 * 24 * 3600);
/// Clocks of nodes may be behind.
const BACKDATE: Duration = Duration::from_secs(300);

/// Under which the key of the authority `id` is sealed.
pub(crate) fn label(id: &str) -> Label<'_> {
    Label { kind: "authority", principal: PLANE, key: id }
}

impl Inner {
    /// A new authority of the plane's own, and its key (PKCS #8).
    pub(crate) fn new_authority(&self) -> Result<(iam_ca::Authority, Zeroizing<Vec<u8>>), Error> {
        let key = PrivateKey::generate(KeyAlgorithm::P256)?;
        let pkcs8 = key.der();
        let common_name = format!("{} identity", self.settings.trust_domain.as_str());
        let root = iam_ca::Root { organization: Some("Holdfast"), common_name: &common_name, uri: None, below: 0 };
        Ok((iam_ca::Authority::root(&root, key, self.validity(AUTHORITY_LIFE)?)?, pkcs8))
    }

    /// Certifies the key of `request` for `node`, by the authority that issues, or by the one that the node knows. Nothing
    /// else of the request is used. The certificate may be handed out if the authorities are still at the revision that
    /// comes with it.
    pub(crate) fn certify(
        &self,
        node: &PrincipalId,
        request: &CertificateRequest,
        known: Option<&str>,
    ) -> Result<(Signed, u64), Error> {
        let trust = self.trust()?;
        let authority = match known {
            None => issuing(&trust.value)?,
            Some(id) => still_issuing(&trust.value, id)?,
        };
        // What one in overlap issues has to end when all else that it issued has, since its removal waits for that.
        let since = authority.superseded_ms.filter(|_| authority.state == State::Overlap);
        let passed = since.map_or(0, |since_ms| self.now_ms().saturating_sub(since_ms));
        let life = self.settings.lifetimes.certificate.saturating_sub(Duration::from_millis(passed));
        let certificate = der(authority)?;
        let key = PrivateKey::from_der(&self.unseal(label(&authority.id))?)?;
        let spiffe_id = self.settings.trust_domain.spiffe_id(node);
        let leaf = Leaf { common_name: node.name(), uri: &spiffe_id, usage: Usage::Client };
        let validity = self.validity(life)?;
        let signed = iam_ca::Authority::open(&certificate, key)?.certify(&leaf, &request.public_key, validity)?;
        Ok((signed, trust.revision))
    }

    /// The id of the authority that issues.
    pub(crate) fn issuing_authority(&self) -> Result<String, Error> {
        Ok(issuing(&self.trust()?.value)?.id.clone())
    }

    fn validity(&self, life: Duration) -> Result<Validity, Error> {
        let seconds = i64::try_from(self.now_ms() / 1000).unwrap_or(i64::MAX);
        let now = OffsetDateTime::from_unix_timestamp(seconds);
        let now = now.map_err(|error| Error::Certificate(error.to_string()))?;
        Ok(Validity { from: now - BACKDATE, until: now + life, serial: self.random()? })
    }
}

fn issuing(authorities: &Authorities) -> Result<&Item<Root>, Error> {
    authorities.roots.active().ok_or_else(|| Error::Corrupt("no authority may issue certificates".to_owned()))
}

/// The authority `id`, if nodes that know no other may still be certified by it.
fn still_issuing<'a>(authorities: &'a Authorities, id: &str) -> Result<&'a Item<Root>, Error> {
    let known = authorities.roots.get(id).filter(|root| matches!(root.state, State::Active | State::Overlap));
    known.ok_or_else(|| {
        Error::Precondition("the authority that this join token names is removed; make a new token".to_owned())
    })
}

/// When a certificate ends, in Unix milliseconds.
pub(crate) fn end_ms(signed: &Signed) -> u64 {
    u64::try_from(signed.until.unix_timestamp()).unwrap_or(0).saturating_mul(1000)
}
