use holdfast_keyspace::{KeyRange, KeyRanges};

use super::Role;

/// Which keys a caller may read and write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRights {
    pub read: KeyRanges,
    pub write: KeyRanges,
}

impl KeyRights {
    /// What `roles` give, and what bindings grant on top: (range, read, write).
    pub fn new(roles: &[Role], grants: impl IntoIterator<Item = (KeyRange, bool, bool)>) -> Self {
        let mut rights = Self::default();
        if roles.contains(&Role::Admin) {
            return Self { read: KeyRanges::all(), write: KeyRanges::all() };
        }
        let grants: Vec<_> = grants.into_iter().collect();
        let granted = |wanted: fn(&(KeyRange, bool, bool)) -> bool| {
            KeyRanges::new(grants.iter().filter(|grant| wanted(grant)).map(|grant| grant.0.clone()))
        };
        rights.write = granted(|grant| grant.2);
        rights.read = if roles.iter().any(|role| matches!(role, Role::Reader | Role::Auditor)) {
            KeyRanges::all()
        } else {
            granted(|grant| grant.1)
        };
        rights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u8, end: Option<u8>) -> KeyRange {
        KeyRange { start: vec![start], end: end.map(|end| vec![end]) }
    }

    #[test]
    fn roles_and_grants_add_up() {
        let grants = [(range(1, Some(2)), true, true), (range(3, Some(4)), true, false)];
        let node = KeyRights::new(&[Role::Node], grants.clone());
        assert!(node.read.covers(&range(3, Some(4))) && !node.write.covers(&range(3, Some(4))));
        assert!(node.write.covers(&range(1, Some(2))));
        let auditor = KeyRights::new(&[Role::Auditor], []);
        assert!(auditor.read.covers(&range(0, None)) && auditor.write.is_empty());
        assert!(KeyRights::new(&[Role::Admin], []).write.covers(&range(0, None)));
        assert_eq!(KeyRights::new(&[Role::Operator], []), KeyRights::default());
    }
}
