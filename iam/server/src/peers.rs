//! Whom certificate chains name, judged by the authorities in force.

use std::sync::Arc;

use holdfast_rpc::Connection;
use http::Extensions;
use iam_ca::ChainFault;
use iam_core::{
    enrol::{Peer, PeerFault, Standards, TrustedRoot, verify_peer},
    mapping::Mappings,
    record::key,
    trust::{Authorities, Denied, line},
};
use ring::digest::{Context, SHA256};

use crate::{Error, iam::Inner, kept::Kept, trust::der};

/// A client's certificates as the connection has them: leaf first, DER.
pub(crate) type Chain = Arc<[Arc<[u8]>]>;

/// What the client shows on the connection that a request came on.
pub(crate) fn shown(extensions: &Extensions) -> Chain {
    extensions.get::<Connection>().map(|connection| Arc::clone(&connection.certificates)).unwrap_or_default()
}

/// Chains that were found good, by their hash, at a revision of the authorities and the mapping rules: checking signatures costs more than
/// everything else. Time is looked at again for each call.
pub(crate) type JudgedPeers = Kept<[u8; 32], Arc<Peer>>;

/// Chains of which nothing is denied, by their hash.
pub(crate) type UndeniedPeers = Kept<[u8; 32], ()>;

impl Inner {
    /// Whom a certificate chain names.
    pub(crate) fn verify_peer(&self, chain: &Chain) -> Result<Result<Arc<Peer>, PeerFault>, Error> {
        let (revision, now_ms, hash) = (self.trust_version()?, self.now_ms(), hash(chain));
        let peer = match self.peers.get(&hash, revision) {
            Some(peer) if now_ms < peer.until_ms => peer,
            Some(_) => return Ok(Err(ChainFault::Time.into())),
            None => match self.judge_peer(chain, &self.trust()?.value, &self.mappings()?.value)? {
                Ok(peer) => {
                    let peer = Arc::new(peer);
                    self.peers.note(hash, revision, Arc::clone(&peer));
                    peer
                }
                Err(fault) => return Ok(Err(fault)),
            },
        };
        // It is taken first: what is read then may only be newer.
        let revision = self.records.applied().system_revision;
        if self.undenied.get(&hash, revision).is_none() {
            if self.is_denied(&peer)? {
                return Ok(Err(PeerFault::Denied));
            }
            self.undenied.note(hash, revision, ());
        }
        Ok(Ok(peer))
    }

    /// Whether an authority above a certificate, or any certificate of its line, is denied: who has stolen one may have
    /// renewed it since.
    fn is_denied(&self, peer: &Peer) -> Result<bool, Error> {
        for serial in &peer.intermediates {
            if self.records.exists(&key::denied(serial))? {
                return Ok(true);
            }
        }
        Ok(self.denied(&peer.serial)?.is_some())
    }

    /// Why a certificate with this serial number, or one of its line, is denied.
    pub(crate) fn denied(&self, serial: &str) -> Result<Option<Denied>, Error> {
        if let Some(denied) = self.records.get::<Denied>(&key::denied(serial))? {
            return Ok(Some(denied.value));
        }
        let Some(line) = line(serial) else { return Ok(None) };
        Ok(self.records.list::<Denied>(&key::denied(line), None, 1)?.values.into_iter().next())
    }

    /// Whom it names by these, whether denied or not.
    pub(crate) fn judge_peer(
        &self,
        chain: &Chain,
        authorities: &Authorities,
        mappings: &Mappings,
    ) -> Result<Result<Peer, PeerFault>, Error> {
        let roots = authorities.trusted().map(|root| Ok((root, der(root)?)));
        let roots = roots.collect::<Result<Vec<_>, Error>>()?;
        let trusted =
            roots.iter().map(|(root, der)| TrustedRoot { id: &root.id, der, mapped_only: root.value.mapped_only });
        let roots: Vec<_> = trusted.collect();
        let certificates: Vec<&[u8]> = chain.iter().map(AsRef::as_ref).collect();
        let by = Standards { roots: &roots, trust_domain: &self.settings.trust_domain, mappings };
        Ok(verify_peer(&certificates, by, self.now_ms()))
    }
}

fn hash(chain: &Chain) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for certificate in chain.iter() {
        context.update(&certificate.len().to_be_bytes());
        context.update(certificate);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
