//! The online certificate authority: it is made at genesis, its key is sealed, and it certifies nodes.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use iam_ca::{CertificateRequest, KeyAlgorithm, Leaf, PrivateKey, Root, Signed, Usage, Validity};
use iam_core::{
    PrincipalId,
    record::{Authority, AuthorityState, key},
    seal::{Label, Sealed},
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{Error, genesis::PLANE, iam::Inner};

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
        let root = Root { organization: Some("Holdfast"), common_name: &common_name, uri: None, below: 0 };
        Ok((iam_ca::Authority::root(&root, key, self.validity(AUTHORITY_LIFE)?)?, pkcs8))
    }

    /// Certifies the key of `request` for `node`. Nothing else of the request is used.
    pub(crate) fn certify(&self, node: &PrincipalId, request: &CertificateRequest) -> Result<Signed, Error> {
        let authority = self.issuing_authority()?;
        let certificate = STANDARD.decode(&authority.certificate).map_err(|error| Error::Corrupt(error.to_string()))?;
        let label = label(&authority.id);
        let sealed = self.records.get::<Sealed>(&key::sealed(label.kind, label.key))?;
        let sealed = sealed.ok_or_else(|| Error::Corrupt("the authority's key is missing".to_owned()))?;
        let key = PrivateKey::from_der(&self.master.open(label, &sealed.value)?)?;
        let spiffe_id = self.settings.trust_domain.spiffe_id(node);
        let leaf = Leaf { common_name: node.name(), uri: &spiffe_id, usage: Usage::Client };
        let validity = self.validity(self.settings.lifetimes.certificate)?;
        Ok(iam_ca::Authority::open(&certificate, key)?.certify(&leaf, &request.public_key, validity)?)
    }

    pub(crate) fn issuing_authority(&self) -> Result<Authority, Error> {
        let trust = self.trust()?;
        let issuing = trust.value.authorities.iter().find(|authority| authority.state == AuthorityState::Trusted);
        issuing.cloned().ok_or_else(|| Error::Corrupt("no authority may issue certificates".to_owned()))
    }

    fn validity(&self, life: Duration) -> Result<Validity, Error> {
        let seconds = i64::try_from(self.now_ms() / 1000).unwrap_or(i64::MAX);
        let now = OffsetDateTime::from_unix_timestamp(seconds);
        let now = now.map_err(|error| Error::Certificate(error.to_string()))?;
        Ok(Validity { from: now - BACKDATE, until: now + life, serial: self.random()? })
    }
}

/// When a certificate ends, in Unix milliseconds.
pub(crate) fn end_ms(signed: &Signed) -> u64 {
    u64::try_from(signed.until.unix_timestamp()).unwrap_or(0).saturating_mul(1000)
}
