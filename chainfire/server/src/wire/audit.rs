use std::collections::BTreeSet;

use chainfire_core::journal::{AuditLevel, AuditPolicy, AuditRule};
use holdfast_proto::chainfire::{self as proto, SetAuditPolicyRequest};

/// Every write is matched against every rule.
const MOST_RULES: usize = 1_000;
const LONGEST_PREFIX: usize = 1_024;

/// Why a policy is not one. The text is for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPolicy {
    #[error("{0} rules are too many; {MOST_RULES} is the most")]
    TooManyRules(usize),
    #[error("rule {0}: the prefix is longer than {LONGEST_PREFIX} bytes")]
    LongPrefix(usize),
    #[error("rule {0}: the prefix has a rule already")]
    Twice(usize),
    #[error("rule {0}: there is no audit level {1}")]
    Level(usize, i32),
}

/// Rules are counted from 1 in errors.
pub(crate) fn audit_policy(request: SetAuditPolicyRequest) -> Result<AuditPolicy, BadPolicy> {
    if request.rules.len() > MOST_RULES {
        return Err(BadPolicy::TooManyRules(request.rules.len()));
    }
    let mut prefixes = BTreeSet::new();
    let mut rules = Vec::with_capacity(request.rules.len());
    for (number, rule) in (1..).zip(request.rules) {
        if rule.prefix.len() > LONGEST_PREFIX {
            return Err(BadPolicy::LongPrefix(number));
        }
        if !prefixes.insert(rule.prefix.clone()) {
            return Err(BadPolicy::Twice(number));
        }
        let level = match proto::AuditLevel::try_from(rule.level) {
            Ok(proto::AuditLevel::None) => AuditLevel::None,
            Ok(proto::AuditLevel::Metadata) => AuditLevel::Metadata,
            Ok(proto::AuditLevel::Digest) => AuditLevel::Digest,
            Err(_) => return Err(BadPolicy::Level(number, rule.level)),
        };
        rules.push(AuditRule { prefix: rule.prefix, level });
    }
    Ok(AuditPolicy { rules })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(prefix: &'static [u8], level: i32) -> proto::AuditRule {
        proto::AuditRule { prefix: prefix.into(), level }
    }

    #[test]
    fn levels_are_taken_over() {
        let request = SetAuditPolicyRequest { rules: vec![rule(b"", 1), rule(b"a/", 2), rule(b"a/tmp/", 0)] };
        let policy = audit_policy(request).unwrap();
        let levels: Vec<_> = policy.rules.iter().map(|rule| rule.level).collect();
        assert_eq!(levels, [AuditLevel::Metadata, AuditLevel::Digest, AuditLevel::None]);
    }

    #[test]
    fn bad_rules_are_named() {
        let bad = |rules| audit_policy(SetAuditPolicyRequest { rules }).unwrap_err();
        assert_eq!(bad(vec![rule(b"a", 1), rule(b"a", 2)]), BadPolicy::Twice(2));
        assert_eq!(bad(vec![rule(b"a", 7)]), BadPolicy::Level(1, 7));
        assert_eq!(bad(vec![rule(&[b'a'; 1_025], 1)]), BadPolicy::LongPrefix(1));
        assert_eq!(bad(vec![rule(b"", 1); 1_001]), BadPolicy::TooManyRules(1_001));
    }
}
