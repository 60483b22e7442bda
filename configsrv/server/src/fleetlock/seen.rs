//! Who asked lately. This is soft: it is of this server alone and goes with the process. What was granted and released
//! is in the store.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Most ids that are remembered; further ones are recorded without their names.
const MOST: usize = 1024;
/// A client that waits asks every 5 to 6 minutes; one that missed two turns no longer waits.
const FORGET_MS: u64 = 12 * 60_000;
/// The same refusal of the same id is worth a record this often.
const SAY_AGAIN_MS: u64 = 60 * 60_000;

#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<HashMap<Asked, Last>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    group: String,
    id: String,
}

#[derive(Debug)]
struct Last {
    at_ms: u64,
    refused: Option<Recorded>,
}

/// A refusal that is in the history.
#[derive(Debug)]
struct Recorded {
    kind: &'static str,
    at_ms: u64,
}

/// What the history is told of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It knows of it already.
    Old,
    /// This id is refused, for this reason, since now or still.
    Id,
    /// So many ids wait that it is told of their group only.
    Crowd,
}

impl Seen {
    /// The holder asked again, or for the first time.
    pub(super) fn held(&self, group: &str, id: &str, now_ms: u64) {
        self.note(group, id, now_ms, |_| None);
    }

    /// The id was refused; whether that is news.
    pub(super) fn refused(&self, group: &str, id: &str, kind: &'static str, now_ms: u64) -> News {
        let mut news = News::Id;
        let kept = self.note(group, id, now_ms, |before| match before {
            Some(known) if known.kind == kind && now_ms < known.at_ms.saturating_add(SAY_AGAIN_MS) => {
                news = News::Old;
                Some(known)
            }
            _ => Some(Recorded { kind, at_ms: now_ms }),
        });
        if kept { news } else { News::Crowd }
    }

    pub(super) fn forget(&self, group: &str, id: &str) {
        self.0.lock().remove(&Asked::new(group, id));
    }

    /// When the id asked this server, if it did.
    pub(super) fn at_ms(&self, group: &str, id: &str) -> Option<u64> {
        self.0.lock().get(&Asked::new(group, id)).map(|last| last.at_ms)
    }

    /// False if there is no room to remember the id.
    fn note(
        &self,
        group: &str,
        id: &str,
        now_ms: u64,
        refused: impl FnOnce(Option<Recorded>) -> Option<Recorded>,
    ) -> bool {
        let asked = Asked::new(group, id);
        let mut seen = self.0.lock();
        if !seen.contains_key(&asked) && seen.len() >= MOST {
            seen.retain(|_, last| now_ms < last.at_ms.saturating_add(FORGET_MS));
            if seen.len() >= MOST {
                return false;
            }
        }
        let before = seen.remove(&asked).filter(|last| now_ms < last.at_ms.saturating_add(FORGET_MS));
        let refused = refused(before.and_then(|last| last.refused));
        seen.insert(asked, Last { at_ms: now_ms, refused });
        true
    }
}

impl Asked {
    fn new(group: &str, id: &str) -> Self {
        Self { group: group.to_owned(), id: id.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    #[test]
    fn a_refusal_is_told_once_an_hour_or_when_it_changes() {
        let seen = Seen::default();
        let told: Vec<_> = (0..24).map(|n| seen.refused("g", "a", "full", n * 5 * MINUTE)).collect();
        let news = told.iter().enumerate().filter(|(_, news)| **news != News::Old).map(|(n, _)| n);
        assert_eq!(news.collect::<Vec<_>>(), [0, 12]);
        assert_eq!(seen.refused("g", "a", "frozen", 121 * MINUTE), News::Id);
        assert_eq!(seen.refused("g", "b", "frozen", 121 * MINUTE), News::Id);
        assert_eq!(seen.refused("h", "a", "frozen", 121 * MINUTE), News::Id);
        seen.held("g", "a", 122 * MINUTE);
        assert_eq!(seen.refused("g", "a", "frozen", 123 * MINUTE), News::Id, "it held in between");
        assert_eq!(seen.refused("g", "a", "frozen", 140 * MINUTE), News::Id, "it went away in between");
        assert_eq!(seen.at_ms("g", "a"), Some(140 * MINUTE));
        seen.forget("g", "a");
        assert_eq!(seen.at_ms("g", "a"), None);
    }

    #[test]
    fn a_crowd_is_bounded_and_passes() {
        let seen = Seen::default();
        for n in 0..MOST {
            assert_eq!(seen.refused("g", &n.to_string(), "full", 0), News::Id);
        }
        assert_eq!(seen.refused("g", "one more", "full", 1), News::Crowd);
        assert_eq!(seen.refused("g", "0", "full", 1), News::Old, "who is known stays known");
        assert_eq!(seen.refused("g", "one more", "full", FORGET_MS), News::Id);
    }
}
