//! Signed revocations, as `florctl` would post them.

#![allow(dead_code, reason = "every test binary uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use configsrv_fleet::{Revocations, SealedRevocations, SpiffeId, Version};
use time::OffsetDateTime;

use super::tree::Signer;

pub(crate) fn id(text: &str) -> SpiffeId {
    format!("spiffe://quay.test/{text}").parse().unwrap()
}

/// What follows `previous` over version `base`, with more who are revoked.
pub(crate) fn following(previous: Option<&SealedRevocations>, base: u64, revoked: &[&str]) -> Revocations {
    let (cluster, base) = ("quay.test".parse().unwrap(), Version::new(base).unwrap());
    let previous = previous.map(SealedRevocations::revocations);
    let reason = "stolen".to_owned();
    let mut next = Revocations::following(previous, &cluster, base, OffsetDateTime::UNIX_EPOCH, reason).unwrap();
    revoked.iter().for_each(|text| next.revoke(id(text)));
    next
}

pub(crate) fn sealed(revocations: Revocations, signer: &Signer) -> SealedRevocations {
    revocations.seal(signer.key()).unwrap()
}
