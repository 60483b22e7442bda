use std::collections::{BTreeMap, BTreeSet};

use crate::{spiffe::SpiffeId, version::Version};

use super::{RevocationError, Revocations};

/// What one envelope changes after another, where that takes more than the two to judge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Succession {
    /// Settled now: the base version must not name them.
    pub settles: BTreeSet<SpiffeId>,
    /// Settled before and left out: every node must have confirmed these versions.
    pub forgets: BTreeMap<SpiffeId, Version>,
}

impl Revocations {
    /// Whether this may take the place of `previous`: its sequence is higher, and nobody who was revoked is left out.
    pub fn follows(&self, previous: Option<&Self>) -> Result<Succession, RevocationError> {
        let mut succession = Succession { settles: self.settled.keys().cloned().collect(), ..Succession::default() };
        let Some(previous) = previous else { return Ok(succession) };
        if self.sequence <= previous.sequence {
            return Err(RevocationError::GoesBack { known: previous.sequence, offered: self.sequence });
        }
        let known = |id: &SpiffeId| self.revoked.contains(id) || self.settled.contains_key(id);
        if let Some(id) = previous.revoked.iter().find(|id| !known(id)) {
            return Err(RevocationError::Forgets(id.clone()));
        }
        for (id, before) in &previous.settled {
            match self.settled.get(id) {
                Some(after) if after < before => {
                    return Err(RevocationError::Unsettles { id: id.clone(), before: *before, after: *after });
                }
                Some(after) if after == before => {
                    succession.settles.remove(id);
                }
                Some(_) => {}
                None if known(id) => {}
                None => {
                    succession.forgets.insert(id.clone(), *before);
                }
            }
        }
        Ok(succession)
    }
}
