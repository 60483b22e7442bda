//! What was found in the records, and is true until they change.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

use parking_lot::Mutex;

/// Answers that are remembered: about three for each node of the largest fleet.
const MOST: usize = 32_768;

/// Answers by question, each with the revision of the records that it is at least as new as. Whoever asks takes the
/// revision before reading anything: what is read then may only be newer.
pub(crate) struct Kept<K, V>(Mutex<HashMap<K, (u64, V)>>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, question: &Q, revision: u64) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let kept = self.0.lock();
        kept.get(question).filter(|(found_at, _)| *found_at == revision).map(|(_, answer)| answer.clone())
    }

    pub(crate) fn note(&self, question: K, revision: u64, answer: V) {
        let mut kept = self.0.lock();
        if kept.len() >= MOST && !kept.contains_key(&question) {
            kept.retain(|_, (found_at, _)| *found_at == revision);
            if kept.len() >= MOST {
                kept.clear();
            }
        }
        kept.insert(question, (revision, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_revision_that_was_read_counts() {
        let kept = Kept::default();
        kept.note("mira", 7, Some("admin"));
        kept.note("noor", 7, None);
        assert_eq!((kept.get("mira", 7), kept.get("noor", 7)), (Some(Some("admin")), Some(None)));
        assert_eq!((kept.get("mira", 8), kept.get("mira", 6), kept.get("sol", 7)), (None, None, None));
    }

    #[test]
    fn old_ones_go_first_where_there_are_too_many() {
        let kept = Kept::default();
        for number in 0..MOST {
            kept.note(number, 1 + u64::from(number >= MOST / 2), ());
        }
        kept.note(MOST, 2, ());
        assert_eq!(kept.0.lock().len(), MOST / 2 + 1);
        for number in 0..MOST {
            kept.note(number, 2, ());
        }
        assert!(kept.0.lock().len() <= MOST && kept.get(&(MOST - 1), 2).is_some());
    }
}
