use std::{collections::HashMap, sync::Arc};

use configsrv_fleet::{ClusterName, SpiffeId, Subject};
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

/// Whose certificates this node has, and the one authority that vouches for everybody in the plane: the cluster's own
/// root, whose key lies with the operators. Authorities below it do not count here, so that no server can name itself
/// somebody else.
#[derive(Clone, Debug)]
pub struct Identities {
    pub(crate) cluster: ClusterName,
    pub(crate) authority: CertificateDer<'static>,
    leaves: HashMap<SpiffeId, Own>,
}

#[derive(Clone, Debug)]
struct Own {
    key: Arc<CertifiedKey>,
    /// Unix time in milliseconds.
    until_ms: u64,
}

/// Somebody, as their certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub id: SpiffeId,
    /// When the certificate ends, Unix time in milliseconds.
    pub until_ms: u64,
}

/// Why a certificate names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    #[error("{0}")]
    Chain(#[from] iam_ca::ChainFault),
    #[error("the certificate is not for both ends of a connection")]
    Usage,
    #[error("the certificate has {0} URIs, and not one")]
    Names(usize),
    #[error("the certificate names nobody who opens connections in this cluster: {0}")]
    Nobody(String),
}

/// Why an identity of this node cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(transparent)]
    Certificate(#[from] PeerFault),
    #[error("the private key cannot be used: {0}")]
    Key(String),
}

/// Whom a certificate (DER) names, as of `now_ms`: one that `authority` itself issued for both ends of connections, with
/// exactly one URI, of a user, a service or a node of `cluster`.
pub fn judge(leaf: &[u8], authority: &[u8], cluster: &ClusterName, now_ms: u64) -> Result<Peer, PeerFault> {
    let certified = iam_ca::verify(&[leaf], &[authority], now_ms)?;
    if !serves(leaf) {
        return Err(PeerFault::Usage);
    }
    let id = name(&certified.uris, cluster)?;
    Ok(Peer { id, until_ms: certified.until_ms })
}

fn name(uris: &[String], cluster: &ClusterName) -> Result<SpiffeId, PeerFault> {
    let [uri] = uris else { return Err(PeerFault::Names(uris.len())) };
    let nobody = || PeerFault::Nobody(uri.chars().take(200).collect());
    let id: SpiffeId = uri.parse().map_err(|_| nobody())?;
    match id.subject() {
        Subject::Signer(_) => Err(nobody()),
        _ if id.cluster() != cluster => Err(nobody()),
        Subject::User(_) | Subject::Service { .. } | Subject::Node(_) => Ok(id),
    }
}

fn serves(leaf: &[u8]) -> bool {
    let usage = |certificate: &X509Certificate<'_>| match certificate.extended_key_usage() {
        Ok(usage) => usage.is_some_and(|usage| usage.value.server_auth),
        Err(_) => false,
    };
    X509Certificate::from_der(leaf).is_ok_and(|(_, certificate)| usage(&certificate))
}

impl Identities {
    /// Nobody yet. `authority` is the cluster's root, DER.
    pub fn new(cluster: ClusterName, authority: Vec<u8>) -> Self {
        Self { cluster, authority: authority.into(), leaves: HashMap::new() }
    }

    /// Adds somebody, in place of an earlier certificate of theirs: a certificate (DER) and its key (PKCS #8), judged as
    /// peers will judge it.
    pub fn add(&mut self, leaf: Vec<u8>, key_pkcs8: &[u8], now_ms: u64) -> Result<Peer, IdentityError> {
        let peer = judge(&leaf, &self.authority, &self.cluster, now_ms)?;
        let unusable = |error: rustls::Error| IdentityError::Key(error.to_string());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key_pkcs8));
        let key = CertifiedKey::new(vec![leaf.into()], any_supported_type(&key).map_err(unusable)?);
        key.keys_match().map_err(unusable)?;
        self.leaves.insert(peer.id.clone(), Own { key: Arc::new(key), until_ms: peer.until_ms });
        Ok(peer)
    }

    /// Everybody here, and when their certificates end.
    pub fn holders(&self) -> impl Iterator<Item = Peer> {
        self.leaves.iter().map(|(id, own)| Peer { id: id.clone(), until_ms: own.until_ms })
    }

    pub(crate) fn key(&self, id: &SpiffeId) -> Option<Arc<CertifiedKey>> {
        self.leaves.get(id).map(|own| Arc::clone(&own.key))
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
