//! Whom certificate chains name, judged by the authorities in force.

use std::{collections::HashMap, sync::Arc};

use holdfast_rpc::Connection;
use http::Extensions;
use iam_ca::ChainFault;
use iam_core::{
    enrol::{Peer, PeerFault, verify_peer},
    record::key,
};
use parking_lot::Mutex;
use ring::digest::{Context, SHA256};

use crate::{Error, iam::Inner};

/// Chains that were found good here.
const MAX_JUDGED: usize = 10_000;

/// A client's certificates as the connection has them: leaf first, DER.
pub(crate) type Chain = Arc<[Arc<[u8]>]>;

/// What the client shows on the connection that a request came on.
pub(crate) fn shown(extensions: &Extensions) -> Chain {
    extensions.get::<Connection>().map(|connection| Arc::clone(&connection.certificates)).unwrap_or_default()
}

/// Chains that were found good, by their hash, and at which revision of the authorities: checking signatures costs more
/// than everything else. Time is looked at again for each call.
#[derive(Default)]
pub(crate) struct JudgedPeers(Mutex<HashMap<[u8; 32], Judged>>);

type Judged = (u64, Arc<Peer>);

impl Inner {
    /// Whom a certificate chain names.
    pub(crate) fn verify_peer(&self, chain: &Chain) -> Result<Result<Arc<Peer>, PeerFault>, Error> {
        let (revision, now_ms) = (self.trust()?.revision, self.now_ms());
        let peer = match self.peers.get(chain, revision) {
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
            self.peers.remember(chain, revision, &peer, now_ms);
            peer
        }))
    }
}

impl JudgedPeers {
    fn get(&self, chain: &Chain, revision: u64) -> Option<Arc<Peer>> {
        let judged = self.0.lock();
        judged.get(&hash(chain)).filter(|(at, _)| *at == revision).map(|(_, peer)| Arc::clone(peer))
    }

    fn remember(&self, chain: &Chain, revision: u64, peer: &Arc<Peer>, now_ms: u64) {
        let mut judged = self.0.lock();
        if judged.len() >= MAX_JUDGED {
            judged.retain(|_, (at, peer)| *at == revision && now_ms < peer.until_ms);
            if judged.len() >= MAX_JUDGED {
                judged.clear();
            }
        }
        judged.insert(hash(chain), (revision, Arc::clone(peer)));
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
