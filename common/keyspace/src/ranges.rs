use crate::KeyRange;

/// A set of keys as disjoint ranges in ascending order, touching ones merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRanges {
    ranges: Vec<KeyRange>,
}

impl KeyRanges {
    pub fn all() -> Self {
        Self { ranges: vec![KeyRange::all()] }
    }

    /// The union of `ranges`.
    pub fn new(ranges: impl IntoIterator<Item = KeyRange>) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        sorted.sort_by(|a, b| a.start.cmp(&b.start));
        let mut merged: Vec<KeyRange> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match merged.last_mut() {
                Some(last) if last.end.as_ref().is_none_or(|end| *end >= range.start) => {
                    last.end = later(last.end.take(), range.end);
                }
                _ => merged.push(range),
            }
        }
        Self { ranges: merged }
    }

    /// What is in here and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::with_capacity(self.ranges.len());
        for own in &self.ranges {
            let mut start = Some(own.start.clone());
            for hole in other.ranges.iter().filter(|hole| hole.overlaps(own)) {
                if let Some(start) = start.take() {
                    left.push(KeyRange { start, end: Some(hole.start.clone()) });
                }
                start.clone_from(&hole.end);
            }
            left.extend(start.map(|start| KeyRange { start, end: own.end.clone() }));
        }
        left.retain(|range| !range.is_empty());
        Self { ranges: left }
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether every key of `range` is inside. An empty range has no key that could be outside.
    pub fn covers(&self, range: &KeyRange) -> bool {
        range.is_empty() || self.last_from(&range.start).is_some_and(|own| ends_within(range, own))
    }

    /// The last range that begins at or before `start`.
    fn last_from(&self, start: &[u8]) -> Option<&KeyRange> {
        let after = self.ranges.partition_point(|own| own.start.as_slice() <= start);
        after.checked_sub(1).and_then(|index| self.ranges.get(index))
    }
}

fn ends_within(range: &KeyRange, own: &KeyRange) -> bool {
    match (&range.end, &own.end) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(end), Some(own)) => end <= own,
    }
}

fn later(a: Option<Vec<u8>>, b: Option<Vec<u8>>) -> Option<Vec<u8>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: u8, end: Option<u8>) -> KeyRange {
        KeyRange { start: vec![start], end: end.map(|end| vec![end]) }
    }

    #[test]
    fn touching_ranges_cover_together() {
        let ranges = KeyRanges::new([range(5, Some(9)), range(1, Some(5)), range(20, None)]);
        assert!(ranges.covers(&range(1, Some(9))));
        assert!(!ranges.covers(&range(1, Some(10))));
        assert!(!ranges.covers(&range(8, None)));
        assert!(ranges.covers(&range(25, None)));
        assert!(KeyRanges::all().covers(&KeyRange::from(Vec::new())));
        assert!(!KeyRanges::default().covers(&range(1, Some(2))));
    }

    proptest! {
        #[test]
        fn ranges_agree_with_counting_keys(
            parts in proptest::collection::vec((0u8..32, proptest::option::of(0u8..32)), 0..6),
            start in 0u8..32,
            end in proptest::option::of(0u8..32),
        ) {
            let parts: Vec<_> = parts.into_iter().map(|(start, end)| range(start, end)).collect();
            let ranges = KeyRanges::new(parts.clone());
            let asked = range(start, end);
            let keys: Vec<_> = (0..=255u8).map(|byte| vec![byte]).filter(|key| asked.contains(key)).collect();
            let inside = |key: &Vec<u8>| parts.iter().any(|part| part.contains(key));
            prop_assert_eq!(ranges.covers(&asked), keys.iter().all(inside));
        }

        #[test]
        fn a_difference_agrees_with_counting_keys(
            parts in proptest::collection::vec((0u8..32, proptest::option::of(0u8..32)), 0..6),
            holes in proptest::collection::vec((0u8..32, proptest::option::of(0u8..32)), 0..6),
            start in 0u8..32,
            end in proptest::option::of(0u8..32),
        ) {
            let ranges = |parts: &[(u8, Option<u8>)]| parts.iter().map(|(start, end)| range(*start, *end)).collect();
            let (parts, holes): (Vec<_>, Vec<_>) = (ranges(&parts), ranges(&holes));
            let rest = KeyRanges::new(parts.clone()).without(&KeyRanges::new(holes.clone()));
            let asked = range(start, end);
            let keys: Vec<_> = (0..=255u8).map(|byte| vec![byte]).filter(|key| asked.contains(key)).collect();
            let contained = |ranges: &[KeyRange], key: &[u8]| ranges.iter().any(|range| range.contains(key));
            let inside = |key: &Vec<u8>| contained(&parts, key) && !contained(&holes, key);
            prop_assert_eq!(rest.covers(&asked), keys.iter().all(inside));
        }
    }
}
