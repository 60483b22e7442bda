//! How groups are in groups.

use std::collections::{BTreeMap, BTreeSet};

/// The most groups that one chain of memberships goes through.
pub const MAX_DEPTH: usize = 8;

/// Every membership of a group in a group.
#[derive(Debug, Default)]
pub struct Nesting {
    above: BTreeMap<String, BTreeSet<String>>,
    below: BTreeMap<String, BTreeSet<String>>,
}

/// Why a group does not become a member of another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NestingError {
    #[error("group/{outer} is in group/{inner} already, so group/{inner} cannot be in group/{outer}")]
    Cycle { inner: String, outer: String },
    #[error("groups are nested at most {MAX_DEPTH} deep; with group/{inner} in group/{outer} it would be {depth}")]
    TooDeep { inner: String, outer: String, depth: usize },
}

impl Nesting {
    /// Of (inner, outer).
    pub fn new(memberships: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut nesting = Self::default();
        for (inner, outer) in memberships {
            nesting.above.entry(inner.clone()).or_default().insert(outer.clone());
            nesting.below.entry(outer).or_default().insert(inner);
        }
        nesting
    }

    /// Whether `inner` may become a member of `outer`.
    ///
    /// # Errors
    /// When it may not, with the reason.
    pub fn admits(&self, inner: &str, outer: &str) -> Result<(), NestingError> {
        let names = || (inner.to_owned(), outer.to_owned());
        let (up, down) = (levels(&self.above, outer), levels(&self.below, inner));
        if up.iter().flatten().any(|group| *group == inner) {
            let (inner, outer) = names();
            return Err(NestingError::Cycle { inner, outer });
        }
        let depth = up.len() + down.len();
        if depth > MAX_DEPTH {
            let (inner, outer) = names();
            return Err(NestingError::TooDeep { inner, outer, depth });
        }
        Ok(())
    }
}

/// The groups that are reached from `start` by one step, by two, and so on, `start` itself first; each is on the last
/// level that it is on at all. Ends one level beyond what is allowed, also where there is a cycle.
fn levels<'a>(steps: &'a BTreeMap<String, BTreeSet<String>>, start: &'a str) -> Vec<BTreeSet<&'a str>> {
    let mut levels = vec![BTreeSet::from([start])];
    while levels.len() <= MAX_DEPTH {
        let last = levels.last().into_iter().flatten();
        let next: BTreeSet<_> = last.filter_map(|group| steps.get(*group)).flatten().map(String::as_str).collect();
        if next.is_empty() {
            break;
        }
        levels.push(next);
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nesting(memberships: &[(&str, &str)]) -> Nesting {
        Nesting::new(memberships.iter().map(|(inner, outer)| ((*inner).to_owned(), (*outer).to_owned())))
    }

    #[test]
    fn eight_groups_in_a_row_and_no_more() {
        let names: Vec<String> = (1..=9).map(|number| format!("g{number}")).collect();
        let chain: Vec<_> = names.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
        assert_eq!(nesting(&chain[..6]).admits("g7", "g8"), Ok(()));
        let deep = nesting(&chain[..7]).admits("g8", "g9").unwrap_err();
        assert!(matches!(deep, NestingError::TooDeep { depth: 9, .. }), "{deep}");
        // The longest way counts, wherever the new step is in it.
        let halves = nesting(&[chain[0], chain[1], chain[2], chain[4], chain[5], chain[6], ("g1", "g4")]);
        assert_eq!(halves.admits("g4", "g5"), Ok(()));
        assert!(nesting(&[&chain[..4], &chain[5..]].concat()).admits("g5", "g6").is_err());
    }

    #[test]
    fn no_group_is_in_itself() {
        let nesting = nesting(&[("a", "b"), ("b", "c"), ("x", "x")]);
        assert!(matches!(nesting.admits("a", "a"), Err(NestingError::Cycle { .. })));
        assert!(matches!(nesting.admits("c", "a"), Err(NestingError::Cycle { .. })));
        assert_eq!(nesting.admits("a", "c"), Ok(()));
        assert!(nesting.admits("a", "x").is_err(), "what is there already ends the search");
    }
}
