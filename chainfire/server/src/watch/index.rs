use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
};

use bytes::Bytes;
use chainfire_core::kv::Keys;

/// Which watchers a key concerns: a hash map for watchers of one key, a static interval tree for ranges.
#[derive(Debug)]
pub(crate) struct Index<T> {
    single: HashMap<Bytes, Vec<T>>,
    ranges: Ranges<T>,
}

/// Ranges sorted by start, seen as a balanced tree: the middle of a slice is the root of the slice. `reach` holds
/// the greatest end below each node, and is made again at the first search after a change.
#[derive(Debug)]
struct Ranges<T> {
    sorted: Vec<Watched<T>>,
    reach: Vec<End>,
    stale: bool,
}

#[derive(Debug)]
struct Watched<T> {
    start: Bytes,
    end: End,
    targets: Vec<T>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Before(Bytes),
    Never,
}

impl End {
    fn is_after(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => key < end.as_ref(),
            Self::Never => true,
        }
    }
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { single: HashMap::new(), ranges: Ranges { sorted: Vec::new(), reach: Vec::new(), stale: false } }
    }
}

impl<T: Copy + Eq + Hash> Index<T> {
    pub(crate) fn insert(&mut self, keys: &Keys, target: T) {
        match keys {
            Keys::One(key) => self.single.entry(key.clone()).or_default().push(target),
            Keys::From(start) => self.ranges.insert(start, End::Never, target),
            Keys::Range { start, end } => self.ranges.insert(start, End::Before(end.clone()), target),
        }
    }

    pub(crate) fn remove(&mut self, keys: &Keys, target: T) {
        match keys {
            Keys::One(key) => {
                if let Entry::Occupied(mut found) = self.single.entry(key.clone()) {
                    found.get_mut().retain(|other| *other != target);
                    if found.get().is_empty() {
                        found.remove();
                    }
                }
            }
            Keys::From(start) => self.ranges.remove(start, &End::Never, target),
            Keys::Range { start, end } => self.ranges.remove(start, &End::Before(end.clone()), target),
        }
    }

    /// Calls `hit` once for each registration that holds `key`.
    pub(crate) fn find(&mut self, key: &[u8], mut hit: impl FnMut(T)) {
        for target in self.single.get(key).into_iter().flatten() {
            hit(*target);
        }
        self.ranges.find(key, &mut hit);
    }
}

impl<T: Copy + Eq> Ranges<T> {
    fn position(&self, start: &Bytes, end: &End) -> Result<usize, usize> {
        self.sorted.binary_search_by(|watched| (&watched.start, &watched.end).cmp(&(start, end)))
    }

    fn insert(&mut self, start: &Bytes, end: End, target: T) {
        match self.position(start, &end) {
            Ok(at) => self.sorted[at].targets.push(target),
            Err(at) => {
                self.sorted.insert(at, Watched { start: start.clone(), end, targets: vec![target] });
                self.stale = true;
            }
        }
    }

    fn remove(&mut self, start: &Bytes, end: &End, target: T) {
        let Ok(at) = self.position(start, end) else { return };
        self.sorted[at].targets.retain(|other| *other != target);
        if self.sorted[at].targets.is_empty() {
            self.sorted.remove(at);
            self.stale = true;
        }
    }

    fn find(&mut self, key: &[u8], hit: &mut impl FnMut(T)) {
        if self.stale {
            self.reach = vec![End::Never; self.sorted.len()];
            measure(&self.sorted, &mut self.reach);
            self.stale = false;
        }
        search(&self.sorted, &self.reach, key, hit);
    }
}

/// Fills `reach` for the tree over `sorted` and returns the reach of its root.
fn measure<T>(sorted: &[Watched<T>], reach: &mut [End]) -> Option<End> {
    let middle = sorted.len() / 2;
    let root = sorted.get(middle)?;
    let (left, rest) = reach.split_at_mut(middle);
    let (own, right) = rest.split_first_mut()?;
    let left = measure(&sorted[..middle], left);
    let right = measure(&sorted[middle + 1..], right);
    let furthest = [left, right].into_iter().flatten().fold(root.end.clone(), End::max);
    own.clone_from(&furthest);
    Some(furthest)
}

fn search<T: Copy>(sorted: &[Watched<T>], reach: &[End], key: &[u8], hit: &mut impl FnMut(T)) {
    let middle = sorted.len() / 2;
    let (Some(root), Some(furthest)) = (sorted.get(middle), reach.get(middle)) else { return };
    if !furthest.is_after(key) {
        return;
    }
    search(&sorted[..middle], &reach[..middle], key, hit);
    if root.start.as_ref() <= key {
        if root.end.is_after(key) {
            root.targets.iter().copied().for_each(&mut *hit);
        }
        search(&sorted[middle + 1..], &reach[middle + 1..], key, hit);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn keys((kind, a, b): (u8, u8, u8)) -> Keys {
        let (a, b) = (Bytes::from(vec![a]), Bytes::from(vec![b]));
        match kind {
            0 => Keys::One(a),
            1 => Keys::From(a),
            _ => Keys::Range { start: a, end: b },
        }
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_would_find(
            watched in vec((0u8..3, 0u8..30, 0u8..30), 0..60),
            removed in vec(0usize..60, 0..30),
            looked_up in 0u8..30,
        ) {
            let mut index = Index::default();
            let mut expected: Vec<Option<Keys>> = Vec::new();
            for (target, shape) in watched.into_iter().enumerate() {
                let keys = keys(shape);
                index.insert(&keys, target);
                expected.push(Some(keys));
            }
            index.find(&[0], |_| ());
            for target in removed {
                if let Some(keys) = expected.get_mut(target).and_then(Option::take) {
                    index.remove(&keys, target);
                }
            }
            let mut found = Vec::new();
            index.find(&[looked_up], |target| found.push(target));
            found.sort_unstable();
            let scan: Vec<usize> = expected
                .iter()
                .enumerate()
                .filter(|(_, keys)| keys.as_ref().is_some_and(|keys| keys.contains(&[looked_up])))
                .map(|(target, _)| target)
                .collect();
            prop_assert_eq!(found, scan);
        }
    }
}
