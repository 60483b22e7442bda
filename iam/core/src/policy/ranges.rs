use holdfast_keyspace::{KeyRange, KeyRanges};

use super::Role;

/// Which keys a caller may read and write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRights {
    pub read: KeyRanges,
    pub write: KeyRanges,
}

/// What a binding says of the keys in a range: that they may be read or written, or that they may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRule {
    pub range: KeyRange,
    pub read: bool,
    pub write: bool,
    pub forbid: bool,
}

impl KeyRights {
    /// What `roles` give and `rules` add, without what `rules` forbid. Admins are above them.
    pub fn new(roles: &[Role], rules: &[KeyRule]) -> Self {
        if roles.contains(&Role::Admin) {
            return Self { read: KeyRanges::all(), write: KeyRanges::all() };
        }
        let ranges = |forbid: bool, concerned: fn(&KeyRule) -> bool| {
            let rules = rules.iter().filter(|rule| rule.forbid == forbid && concerned(rule));
            KeyRanges::new(rules.map(|rule| rule.range.clone()))
        };
        let read = if roles.iter().any(|role| matches!(role, Role::Reader | Role::Auditor)) {
            KeyRanges::all()
        } else {
            ranges(false, |rule| rule.read)
        };
        let write = ranges(false, |rule| rule.write);
        // A request that touches a forbidden key is not covered by what is left.
        Self {
            read: read.without(&ranges(true, |rule| rule.read)),
            write: write.without(&ranges(true, |rule| rule.write)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u8, end: Option<u8>) -> KeyRange {
        KeyRange { start: vec![start], end: end.map(|end| vec![end]) }
    }

    fn rule(start: u8, end: u8, rights: &str) -> KeyRule {
        let has = |letter| rights.contains(letter);
        KeyRule { range: range(start, Some(end)), read: has('r'), write: has('w'), forbid: has('!') }
    }

    #[test]
    fn roles_and_grants_add_up() {
        let node = KeyRights::new(&[Role::Node], &[rule(1, 2, "rw"), rule(3, 4, "r")]);
        assert!(node.read.covers(&range(3, Some(4))) && !node.write.covers(&range(3, Some(4))));
        assert!(node.write.covers(&range(1, Some(2))));
        let auditor = KeyRights::new(&[Role::Auditor], &[]);
        assert!(auditor.read.covers(&range(0, None)) && auditor.write.is_empty());
        assert!(KeyRights::new(&[Role::Admin], &[]).write.covers(&range(0, None)));
        assert_eq!(KeyRights::new(&[Role::Operator], &[]), KeyRights::default());
    }

    #[test]
    fn what_is_forbidden_beats_what_is_granted() {
        let rules = [rule(5, 6, "!rw"), rule(1, 9, "rw"), rule(7, 8, "!w")];
        let service = KeyRights::new(&[], &rules);
        assert!(service.read.covers(&range(1, Some(5))) && service.read.covers(&range(6, Some(9))));
        assert!(!service.read.covers(&range(5, Some(6))) && !service.read.covers(&range(1, Some(9))));
        assert!(service.read.covers(&range(7, Some(8))) && !service.write.covers(&range(6, Some(8))));
        let reader = KeyRights::new(&[Role::Reader], &rules);
        assert!(reader.read.covers(&range(9, None)) && !reader.read.covers(&range(0, None)));
        assert!(KeyRights::new(&[Role::Admin], &rules).read.covers(&range(0, None)), "nobody locks the admins out");
    }
}
