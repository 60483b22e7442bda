use iam_ca::{Certified, ChainFault};

use crate::{
    PrincipalId, TrustDomain,
    mapping::{Ambiguous, Mappings},
    signing::PublicKey,
    trust,
};

/// An authority that is trusted.
#[derive(Clone, Copy, Debug)]
pub struct TrustedRoot<'a> {
    pub id: &'a str,
    pub der: &'a [u8],
    /// As in [`trust::Root`].
    pub mapped_only: bool,
}

/// By what certificates are judged.
#[derive(Clone, Copy, Debug)]
pub struct Standards<'a> {
    pub roots: &'a [TrustedRoot<'a>],
    pub trust_domain: &'a TrustDomain,
    pub mappings: &'a Mappings,
}

/// Who a certificate chain belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub principal: PrincipalId,
    /// As records have it.
    pub serial: String,
    /// The same of the authorities between it and the root.
    pub intermediates: Vec<String>,
    /// SHA-256 of the leaf's SubjectPublicKeyInfo, hex.
    pub key_sha256: String,
    pub key: PublicKey,
    pub expires_ms: u64,
    /// When the first certificate from the leaf to the root, these two included, ends.
    pub until_ms: u64,
}

/// The precise reason for the audit log; callers never see it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    #[error(transparent)]
    Chain(#[from] ChainFault),
    #[error("the leaf's key is neither P-256 nor Ed25519")]
    Key,
    #[error("the certificate, or an authority's above it, is denied")]
    Denied,
    #[error("a certificate's serial number could not be denied")]
    Serial,
    #[error("the leaf does not name exactly one SPIFFE id of this trust domain, and no mapping rule knows its names")]
    Name,
    #[error("its authority vouches for mapped names alone, and not for SPIFFE ids of this trust domain")]
    Foreign,
    #[error(transparent)]
    Ambiguous(#[from] Ambiguous),
}

/// Checks a chain (DER, leaf first) and says whom its leaf names. Revocation is the caller's.
pub fn verify_peer(chain: &[&[u8]], by: Standards<'_>, now_ms: u64) -> Result<Peer, PeerFault> {
    let roots: Vec<&[u8]> = by.roots.iter().map(|root| root.der).collect();
    let leaf = iam_ca::verify(chain, &roots, now_ms)?;
    let algorithm = leaf.algorithm.ok_or(PeerFault::Key)?.into();
    let principal = principal(&leaf, by)?;
    let Certified { serial: number, intermediates, key_sha256, expires_ms, until_ms, key, .. } = leaf;
    let serial = trust::serial(&number).ok_or(PeerFault::Serial)?;
    let intermediates = intermediates.iter().map(|number| trust::serial(number).ok_or(PeerFault::Serial));
    let intermediates = intermediates.collect::<Result<_, _>>()?;
    Ok(Peer {
        principal,
        serial,
        intermediates,
        key_sha256,
        key: PublicKey::new(algorithm, &key),
        expires_ms,
        until_ms,
    })
}

/// The SPIFFE id of the own trust domain, else what the rules say.
fn principal(leaf: &Certified, by: Standards<'_>) -> Result<PrincipalId, PeerFault> {
    let authority = by.roots.get(leaf.root).ok_or(PeerFault::Name)?;
    match leaf.uris.as_slice() {
        [uri] if by.trust_domain.owns(uri) && authority.mapped_only => Err(PeerFault::Foreign),
        [uri] if by.trust_domain.owns(uri) => by.trust_domain.principal(uri).ok_or(PeerFault::Name),
        [] | [_] => by.mappings.principal(leaf, authority.id)?.ok_or(PeerFault::Name),
        _ => Err(PeerFault::Name),
    }
}
