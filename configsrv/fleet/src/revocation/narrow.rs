use std::collections::BTreeSet;

use crate::{artifact::Payload, spiffe::SpiffeId};

/// `payload` without any of `revoked` in its allow lists; nobody reaches those that are targets. Rows stay, and nothing is
/// ever added: whatever comes out allows no more than what went in, and differs from it in allow lists only.
pub fn narrow(payload: &Payload, revoked: &BTreeSet<SpiffeId>) -> Payload {
    let mut narrowed = payload.clone();
    if revoked.is_empty() {
        return narrowed;
    }
    let ingress = narrowed.ingress.iter_mut().map(|row| (&row.target_spiffe_id, &mut row.allow));
    let egress = narrowed.egress.iter_mut().map(|row| (&row.target_spiffe_id, &mut row.allow));
    for (target, allow) in ingress.chain(egress) {
        if revoked.contains(target) {
            allow.clear();
        } else {
            allow.retain(|id| !revoked.contains(id));
        }
    }
    narrowed
}
