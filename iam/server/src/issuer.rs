//! The online certificate authority: it is made at genesis, its key is sealed, and it certifies nodes. It may be replaced
//! by one below an offline root (`intermediate.rs`).

use std::time::Duration;

use iam_ca::{Anchor, CertificateRequest, Intermediate, KeyAlgorithm, Leaf, PrivateKey, Signed, Usage, Validity};
use iam_core::{
    PrincipalId,
    rotation::{Item, State, utc},
    seal::Label,
    trust::{Authorities, Root, line},
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{Error, genesis::PLANE, iam::Inner, settings::millis, trust::decoded};

/// Five years; it is replaced by overlap long before.
const AUTHORITY_LIFE: Duration = Duration::from_secs(5 * 365 * 24 * 3600);
/// How long before the end of the certificate that issues the servers warn.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// A node has to have the time to renew what it was given.
const LEAST_LIFE: Duration = Duration::from_secs(60);
/// Clocks of nodes may be behind.
const BACKDATE: Duration = Duration::from_secs(300);

/// Under which the key of the authority `id` is sealed.
pub(crate) fn label(id: &str) -> Label<'_> {
    Label { kind: "authority", principal: PLANE, key: id }
}

/// What a node is given, once the authorities are still as they were.
pub(crate) struct Issued {
    pub(crate) leaf: Signed,
    /// The authority between it and the root, base64 DER.
    pub(crate) intermediate: Option<String>,
    /// The revision of the authorities.
    pub(crate) trust: u64,
}

impl Inner {
    /// A new authority of the plane's own, and its key (PKCS #8).
    pub(crate) fn new_authority(&self) -> Result<(iam_ca::Authority, Zeroizing<Vec<u8>>), Error> {
        let key = PrivateKey::generate(KeyAlgorithm::P256)?;
        let pkcs8 = key.der();
        let common_name = self.authority_name();
        let root = iam_ca::Root { organization: Some("Holdfast"), common_name: &common_name, uri: None, below: 0 };
        Ok((iam_ca::Authority::root(&root, key, self.validity(AUTHORITY_LIFE)?)?, pkcs8))
    }

    /// What people read in the certificate of an authority of the plane's own.
    pub(crate) fn authority_name(&self) -> String {
        format!("{} identity", self.settings.trust_domain.as_str())
    }

    /// Certifies the key of `request` for `node`, by the authority that issues, or by the one that the node knows. Nothing
    /// else of the request is used. A renewal is of the line of its `parent`, a serial number. The certificate may be
    /// handed out if the authorities are still at the revision that comes with it.
    pub(crate) fn certify(
        &self,
        node: &PrincipalId,
        request: &CertificateRequest,
        known: Option<&str>,
        parent: Option<&str>,
    ) -> Result<Issued, Error> {
        let trust = self.trust()?;
        let authority = match known {
            None => issuing(&trust.value)?,
            Some(id) => still_issuing(&trust.value, id)?,
        };
        self.check_not_ended(authority)?;
        // What one in overlap issues has to end when all else that it issued has, since its removal waits for that.
        let since = authority.superseded_ms.filter(|_| authority.state == State::Overlap);
        let passed = since.map_or(0, |since_ms| self.now_ms().saturating_sub(since_ms));
        let whole = self.settings.lifetimes.certificate;
        let life = whole.saturating_sub(Duration::from_millis(passed));
        if life < LEAST_LIFE.min(whole / 10) {
            return Err(Error::Precondition(
                "the authority that this join token names is about to be removed, and what it issues now would end at \
                 once; make a new join token"
                    .to_owned(),
            ));
        }
        let certificate = decoded(authority.signer_certificate())?;
        let key = PrivateKey::from_der(&self.unseal(label(authority.signer()))?)?;
        let spiffe_id = self.settings.trust_domain.spiffe_id(node);
        let leaf = Leaf { common_name: node.name(), uri: &spiffe_id, usage: Usage::Client };
        let mut validity = self.validity(life)?;
        if let Some(inherited) = parent.and_then(line).and_then(|line| hex::decode(line).ok()) {
            validity.serial.iter_mut().zip(inherited).for_each(|(byte, of_parent)| *byte = of_parent);
        }
        let leaf = iam_ca::Authority::open(&certificate, key)?.certify(&leaf, &request.public_key, validity)?;
        let intermediate = authority.value.issuing.as_ref().map(|issuing| issuing.certificate.clone());
        Ok(Issued { leaf, intermediate, trust: trust.revision })
    }

    /// Whether the certificate that others are issued with ends soon, and the words for that.
    pub(crate) fn issuing_ends_soon(&self) -> Result<(bool, String), Error> {
        let until_ms = ends_ms(issuing(&self.trust()?.value)?)?;
        self.metrics.issuing_end.set(i64::try_from(until_ms / 1000).unwrap_or(i64::MAX));
        let soon = until_ms.saturating_sub(self.now_ms()) < millis(SOON);
        Ok((soon, format!("the certificate that nodes' certificates are issued with ends at {}", utc(until_ms))))
    }

    /// Refuses where nothing that the authority issues would count.
    pub(crate) fn check_not_ended(&self, authority: &Item<Root>) -> Result<(), Error> {
        let until_ms = ends_ms(authority)?;
        match until_ms <= self.now_ms() {
            true => Err(Error::Precondition(format!(
                "the certificate that {} issues with ended at {}: none can be issued until another takes its place",
                authority.id,
                utc(until_ms)
            ))),
            false => Ok(()),
        }
    }

    /// The id of the authority that issues.
    pub(crate) fn issuing_authority(&self) -> Result<String, Error> {
        Ok(issuing(&self.trust()?.value)?.id.clone())
    }

    pub(crate) fn validity(&self, life: Duration) -> Result<Validity, Error> {
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

/// When the certificate that an authority issues with ends.
fn ends_ms(authority: &Item<Root>) -> Result<u64, Error> {
    let certificate = decoded(authority.signer_certificate())?;
    let ends = match &authority.value.issuing {
        Some(_) => Intermediate::parse(&certificate).map(|intermediate| intermediate.expires_ms),
        None => Anchor::parse(&certificate).map(|anchor| anchor.expires_ms),
    };
    ends.map_err(|error| Error::Corrupt(error.to_string()))
}

/// When a certificate ends, in Unix milliseconds.
pub(crate) fn end_ms(signed: &Signed) -> u64 {
    u64::try_from(signed.until.unix_timestamp()).unwrap_or(0).saturating_mul(1000)
}
