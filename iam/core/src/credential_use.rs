//! When and from where access keys were used last.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{credential::AccessKeyId, record::Record};

/// A use is stored when the last one that is stored is so old. So that what is stored is never older than that, and a
/// busy access key costs one write an hour.
pub const PRECISION_MS: u64 = 3_600_000;

/// A use of an access key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    pub at_ms: u64,
    /// The caller's IP address; empty if it is not known.
    pub from: String,
    /// The server that let the caller in.
    pub server: String,
}

/// The last uses of the access keys of one principal. No decision depends on it, so it has a record of its own, and
/// writing it is in nobody's way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUses {
    pub uses: BTreeMap<AccessKeyId, Use>,
}

impl LastUses {
    /// These with a use of `id`, if that is worth storing. Those of access keys that are not `known` any more go.
    pub fn with(&self, id: &AccessKeyId, used: Use, known: impl Fn(&AccessKeyId) -> bool) -> Option<Self> {
        let stored = self.uses.get(id);
        if !known(id) || stored.is_some_and(|stored| used.at_ms < stored.at_ms.saturating_add(PRECISION_MS)) {
            return None;
        }
        let mut next = self.clone();
        next.uses.retain(|id, _| known(id));
        next.uses.insert(id.clone(), used);
        Some(next)
    }
}

impl Record for LastUses {}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::credential::{ENTROPY, mint};

    fn id(seed: u8) -> AccessKeyId {
        mint(&Zeroizing::new([seed; ENTROPY])).0
    }

    fn at(at_ms: u64) -> Use {
        Use { at_ms, from: "192.0.2.1".into(), server: "cp1".into() }
    }

    #[test]
    fn the_first_use_is_stored_and_then_one_in_an_hour() {
        let none = LastUses::default();
        let one = none.with(&id(1), at(1_000), |_| true).unwrap();
        for (later_ms, stored) in [(0, false), (1, false), (PRECISION_MS - 1, false), (PRECISION_MS, true)] {
            assert_eq!(one.with(&id(1), at(1_000 + later_ms), |_| true).is_some(), stored, "{later_ms}");
        }
        assert_eq!(one.with(&id(1), at(0), |_| true), None, "another server's clock");
        assert!(one.with(&id(2), at(1_000), |_| true).is_some());
    }

    #[test]
    fn only_access_keys_that_are_remembered_have_uses() {
        let one = LastUses::default().with(&id(1), at(1), |_| true).unwrap();
        assert_eq!(one.with(&id(2), at(2), |known| *known == id(1)), None);
        let other = one.with(&id(2), at(2), |known| *known == id(2)).unwrap();
        assert_eq!(other.uses.into_keys().collect::<Vec<_>>(), [id(2)]);
    }
}
