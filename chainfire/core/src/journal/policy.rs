use bytes::Bytes;
use holdfast_keyspace::KeyRange;
use serde::{Deserialize, Serialize};

use crate::kv::Keys;

/// Which changes of user keys are recorded, and how thoroughly. The rule with the longest prefix that a key begins
/// with decides; a key under no rule is not recorded. Changes of the system keyspace and of the cluster always are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPolicy {
    pub rules: Vec<AuditRule>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRule {
    /// Empty matches every key.
    pub prefix: Bytes,
    pub level: AuditLevel,
}

/// Order is part of the stored format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditLevel {
    #[default]
    None,
    /// Who changed which key when, and at which revision.
    Metadata,
    /// That, and the SHA-256 of the value before and after.
    Digest,
}

impl AuditPolicy {
    /// One level for all keys.
    pub fn all(level: AuditLevel) -> Self {
        Self { rules: vec![AuditRule { prefix: Bytes::new(), level }] }
    }

    pub fn level_of(&self, key: &[u8]) -> AuditLevel {
        let matching = self.rules.iter().filter(|rule| key.starts_with(&rule.prefix));
        matching.max_by_key(|rule| rule.prefix.len()).map_or(AuditLevel::None, |rule| rule.level)
    }

    /// Whether a change inside the selection may need a record. May say yes where no existing key needs one.
    pub(crate) fn touches(&self, keys: &Keys) -> bool {
        if let Keys::One(key) = keys {
            return self.level_of(key) > AuditLevel::None;
        }
        let start = keys.start();
        self.level_of(start) > AuditLevel::None
            || self.rules.iter().filter(|rule| rule.level > AuditLevel::None).any(|rule| {
                let end = KeyRange::after_prefix(&rule.prefix);
                let before_end = match keys {
                    Keys::Range { end, .. } => rule.prefix < end,
                    Keys::One(_) | Keys::From(_) => true,
                };
                before_end && end.is_none_or(|end| start.as_ref() < end.as_slice())
            })
    }

    /// Whether nothing is recorded, whatever the key.
    pub(crate) fn is_silent(&self) -> bool {
        self.rules.iter().all(|rule| rule.level == AuditLevel::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(prefix: &'static str, level: AuditLevel) -> AuditRule {
        AuditRule { prefix: Bytes::from_static(prefix.as_bytes()), level }
    }

    #[test]
    fn the_longest_prefix_decides() {
        let rules = vec![rule("", AuditLevel::Metadata), rule("a/b", AuditLevel::Digest), rule("a/", AuditLevel::None)];
        let policy = AuditPolicy { rules };
        assert_eq!(policy.level_of(b"x"), AuditLevel::Metadata);
        assert_eq!(policy.level_of(b"a/x"), AuditLevel::None);
        assert_eq!(policy.level_of(b"a/b"), AuditLevel::Digest);
        assert_eq!(AuditPolicy::default().level_of(b"a"), AuditLevel::None);
    }

    #[test]
    fn a_selection_touches_the_prefixes_that_it_overlaps() {
        let policy = AuditPolicy { rules: vec![rule("b/", AuditLevel::Digest), rule("c", AuditLevel::None)] };
        let range = |start: &'static str, end: &'static str| Keys::Range { start: start.into(), end: end.into() };
        assert!(policy.touches(&range("a", "b/x")));
        assert!(policy.touches(&range("b/x", "z")));
        assert!(!policy.touches(&range("a", "b/")));
        assert!(!policy.touches(&range("b0", "z")));
        assert!(policy.touches(&Keys::From("a".into())));
        assert!(!policy.touches(&Keys::From("c".into())));
        assert!(policy.touches(&Keys::One("b/".into())));
    }
}
