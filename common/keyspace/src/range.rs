use std::ops::Bound;

/// A half-open range of keys: `start <= key < end`; no `end` means to the end of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    pub start: Vec<u8>,
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// The whole table.
    pub fn all() -> Self {
        Self { start: Vec::new(), end: None }
    }

    /// `start <= key < end`.
    pub fn between(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Self {
        Self { start: start.into(), end: Some(end.into()) }
    }

    /// Every key at or after `start`.
    pub fn from(start: impl Into<Vec<u8>>) -> Self {
        Self { start: start.into(), end: None }
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let start = prefix.into();
        let end = Self::after_prefix(&start);
        Self { start, end }
    }

    /// The smallest key that is greater than every key with `prefix`; none if there is no such key.
    pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
        let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
        let mut end = prefix[..=last].to_vec();
        end[last] += 1;
        Some(end)
    }

    /// Whether no key can be inside.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.end.as_ref().is_none_or(|end| key < end.as_slice())
    }

    /// Whether a key can be inside both; neither may be empty.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let begins_before = |end: &Option<Vec<u8>>, start: &Vec<u8>| end.as_ref().is_none_or(|end| start < end);
        begins_before(&self.end, &other.start) && begins_before(&other.end, &self.start)
    }

    /// The same range as bounds for the standard library's maps; the range must not be empty.
    pub(crate) fn bounds(self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        (Bound::Included(self.start), self.end.map_or(Bound::Unbounded, Bound::Excluded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_ends_carry_over_ff() {
        assert_eq!(KeyRange::after_prefix(b"a"), Some(b"b".to_vec()));
        assert_eq!(KeyRange::after_prefix(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(KeyRange::after_prefix(b"\xff\xff"), None);
        assert_eq!(KeyRange::after_prefix(b""), None);
    }

    #[test]
    fn backwards_ranges_are_empty() {
        assert!(KeyRange::between(*b"b", *b"a").is_empty());
        assert!(KeyRange::between(*b"a", *b"a").is_empty());
        assert!(!KeyRange::from(*b"a").is_empty());
    }
}
