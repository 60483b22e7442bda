use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::Slot;

/// A server that answers now and then is not worth more lines than this.
const QUIET: Duration = Duration::from_secs(60);

/// Which servers answer, so that the log tells of changes and not of every attempt.
#[derive(Debug, Default)]
pub(super) struct Reach(Mutex<BTreeMap<Slot, Standing>>);

#[derive(Clone, Copy, Debug)]
struct Standing {
    lost: bool,
    /// When it was last said that the server does not answer.
    said: Instant,
}

impl Reach {
    /// A server did not answer. Whether that is news. What only an operator can mend is said again and again.
    pub(super) fn lost(&self, slot: Slot, reason: &str, now: Instant) -> bool {
        let mut standings = self.0.lock();
        let known = standings.get(&slot);
        let again = reason.contains("certificate") || reason.contains("fatal alert");
        if known.is_some_and(|known| known.lost && !again || now.saturating_duration_since(known.said) < QUIET) {
            return false;
        }
        standings.insert(slot, Standing { lost: true, said: now });
        true
    }

    /// A server has answered. Whether it was said before that it does not.
    pub(super) fn found(&self, slot: Slot) -> bool {
        let mut standings = self.0.lock();
        standings.get_mut(&slot).is_some_and(|known| std::mem::take(&mut known.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: &str = "connection refused";

    #[test]
    fn what_an_operator_must_mend_is_said_every_minute() {
        let (reach, now, reason) = (Reach::default(), Instant::now(), "invalid peer certificate: Expired");
        assert!(reach.lost(Slot(1), GONE, now));
        assert!(!reach.lost(Slot(1), reason, now + QUIET / 2));
        assert!(reach.lost(Slot(1), reason, now + QUIET));
        assert!(!reach.lost(Slot(1), reason, now + QUIET * 3 / 2));
        assert!(reach.lost(Slot(1), reason, now + QUIET * 2));
    }

    #[test]
    fn only_changes_are_news() {
        let (reach, now) = (Reach::default(), Instant::now());
        assert!(!reach.found(Slot(1)));
        assert!(reach.lost(Slot(1), GONE, now));
        assert!(reach.lost(Slot(2), GONE, now));
        assert!(!reach.lost(Slot(1), GONE, now + QUIET * 10));
        assert!(reach.found(Slot(1)));
        assert!(!reach.found(Slot(1)));
        assert!(reach.lost(Slot(1), GONE, now + QUIET * 10));
    }

    #[test]
    fn a_server_that_comes_and_goes_is_mentioned_once_a_minute() {
        let (reach, now) = (Reach::default(), Instant::now());
        assert!(reach.lost(Slot(1), GONE, now));
        assert!(reach.found(Slot(1)));
        assert!(!reach.lost(Slot(1), GONE, now + QUIET / 2));
        assert!(!reach.found(Slot(1)));
        assert!(reach.lost(Slot(1), GONE, now + QUIET));
    }
}
