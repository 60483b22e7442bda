//! Whom certificate chains name, judged by the authorities in force.

use std::sync::Arc;

use holdfast_rpc::Connection;
use http::Extensions;
use iam_ca::ChainFault;
use iam_core::{
    enrol::{Peer, PeerFault, verify_peer},
    record::key,
};
use ring::digest::{Context, SHA256};

use crate::{Error, iam::Inner, kept::Kept};

/// A client's certificates as the connection has them: leaf first, DER.
pub(crate) type Chain = Arc<[Arc<[u8]>]>;

/// What the client shows on the connection that a request came on.
pub(crate) fn shown(extensions: &Extensions) -> Chain {
    extensions.get::<Connection>().map(|connection| Arc::clone(&connection.certificates)).unwrap_or_default()
}

/// Chains that were found good, by their hash, at a revision of the authorities: checking signatures costs more than
/// everything else. Time is looked at again for each call.
pub(crate) type JudgedPeers = Kept<[u8; 32], Arc<Peer>>;

impl Inner {
    /// Whom a certificate chain names.
    pub(crate) fn verify_peer(&self, chain: &Chain) -> Result<Result<Arc<Peer>, PeerFault>, Error> {
        let (revision, now_ms) = (self.trust()?.revision, self.now_ms());
        let peer = match self.peers.get(&hash(chain), revision) {
            Some(peer) if now_ms < peer.until_ms => peer,
            Some(_) => return Ok(Err(ChainFault::Time.into())),
            None => match self.verify_anew(chain, revision, now_ms)? {
                Ok(peer) => peer,
                Err(fault) => return Ok(Err(fault)),
            },
        };
        for serial in peer.intermediates.iter().chain([&peer.serial]) {
            if self.records.exists(&key::denied(serial))? {
                return Ok(Err(PeerFault::Denied));
            }
        }
        Ok(Ok(peer))
    }

    fn verify_anew(&self, chain: &Chain, revision: u64, now_ms: u64) -> Result<Result<Arc<Peer>, PeerFault>, Error> {
        let roots = self.roots()?;
        let roots: Vec<&[u8]> = roots.iter().map(Vec::as_slice).collect();
        let certificates: Vec<&[u8]> = chain.iter().map(AsRef::as_ref).collect();
        Ok(verify_peer(&certificates, &roots, &self.settings.trust_domain, now_ms).map(|peer| {
            let peer = Arc::new(peer);
            self.peers.note(hash(chain), revision, Arc::clone(&peer));
            peer
        }))
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
