use std::collections::HashMap;

/// What a route demands before its handler runs. A route that no [`Rule`] names is refused: default deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, also without identity: health, version, JWKS, discovery, and doors that authenticate in their own
    /// protocol (`Authenticate`, `/oauth2/token`, enrolment by join token).
    Public,
    /// Anybody with an identity; the handler decides about the resource with [`crate::Authority::authorize`].
    Authenticated,
    /// Like [`Access::Authenticated`], for a protocol that has an order and words of its own for what is wrong with a
    /// request: the handler is called in any case and finds either an [`crate::Identity`] or the [`crate::Refusal`] in
    /// the extensions. It must look.
    Deferred,
    /// Callers who may do `action` to `resource`.
    Permission { action: &'static str, resource: &'static str },
}

/// One line of a service's access table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// A path (`/iam.v1.Tokens/Issue`, `/jwks.json`), or a prefix when it ends in `*`.
    pub path: &'static str,
    pub access: Access,
}

impl Rule {
    pub const fn new(path: &'static str, access: Access) -> Self {
        Self { path, access }
    }

    pub fn matches(&self, path: &str) -> bool {
        match self.path.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == self.path,
        }
    }
}

/// All rules of a listener. An exact path beats a prefix and a longer prefix beats a shorter one, so that the order in
/// which services contribute their rules means nothing.
#[derive(Clone, Debug, Default)]
pub struct AccessTable {
    exact: HashMap<&'static str, Access>,
    /// Longest first.
    prefixes: Vec<Rule>,
}

impl AccessTable {
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut table = Self::default();
        for rule in rules {
            if rule.path.ends_with('*') {
                table.prefixes.push(rule);
            } else {
                table.exact.insert(rule.path, rule.access);
            }
        }
        table.prefixes.sort_by_key(|rule| std::cmp::Reverse(rule.path.len()));
        table
    }

    /// What `path` demands; nothing names it if none.
    pub fn access(&self, path: &str) -> Option<Access> {
        if let Some(access) = self.exact.get(path) {
            return Some(*access);
        }
        self.prefixes.iter().find(|rule| rule.matches(path)).map(|rule| rule.access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_rule_wins_in_any_order() {
        let rules = [
            Rule::new("/v1/*", Access::Public),
            Rule::new("/v1/admin/open", Access::Public),
            Rule::new("/v1/admin/*", Access::Authenticated),
        ];
        for rules in [rules.to_vec(), rules.iter().rev().copied().collect()] {
            let table = AccessTable::new(rules);
            assert_eq!(table.access("/v1/pre-reboot"), Some(Access::Public));
            assert_eq!(table.access("/v1/admin/close"), Some(Access::Authenticated));
            assert_eq!(table.access("/v1/admin/open"), Some(Access::Public));
            assert_eq!(table.access("/v2"), None);
        }
    }
}
