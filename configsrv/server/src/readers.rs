//! What this server alone knows of the nodes that come to it: when they were here last, what is noted of them, and how
//! often they may come. It goes with the process.

use std::{collections::HashMap, time::Instant};

use configsrv_fleet::{NodeName, Version};
use holdfast_rpc::{Rate, RateLimit};
use iam_client::{Identity, Kind, PrincipalId};
use parking_lot::Mutex;

use crate::{Error, artifacts::Intent, service::now_ms};

/// Nodes that are remembered. Whoever has a certificate is one, so more than a fleet has is a mistake of somebody.
const MOST: usize = 65_536;
/// An agent that waits at a held request asks once a second at most.
const LOOKS: Rate = Rate { per_second: 2, burst: 60 };
/// What a report says may become a record that is replicated. A sync makes a handful of them.
const REPORTS: Rate = Rate { per_second: 1, burst: 60 };

pub(crate) struct Readers {
    begun: Instant,
    artifacts: RateLimit<PrincipalId>,
    revocations: RateLimit<PrincipalId>,
    statuses: RateLimit<PrincipalId>,
    reached: RateLimit<PrincipalId>,
    known: Mutex<HashMap<NodeName, Reader>>,
}

/// What a node comes for. Turns are counted for each by itself, so that a node which asks too much can still report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    Artifact,
    Revocations,
    Status,
    /// To say which revocations count there.
    Reached,
}

/// Versions are those that are noted in the store, at least.
#[derive(Clone, Copy, Default)]
struct Reader {
    seen_ms: u64,
    synced: Version,
    looked_at: Version,
}

impl Default for Readers {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            artifacts: RateLimit::new(LOOKS),
            revocations: RateLimit::new(LOOKS),
            statuses: RateLimit::new(REPORTS),
            reached: RateLimit::new(REPORTS),
            known: Mutex::default(),
        }
    }
}

impl Readers {
    /// The node comes, if it is its turn. It is always the turn of whoever is no node.
    pub(crate) fn comes(&self, node: Option<&PrincipalId>, errand: Errand) -> Result<(), Error> {
        let Some(node) = node else { return Ok(()) };
        let steady_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let turns = match errand {
            Errand::Artifact => &self.artifacts,
            Errand::Revocations => &self.revocations,
            Errand::Status => &self.statuses,
            Errand::Reached => &self.reached,
        };
        turns.take(node.clone(), steady_ms).map_err(|wait| Error::TooOften { retry_after_s: wait.seconds })
    }

    /// The node spoke to this server.
    pub(crate) fn sees(&self, node: &NodeName) {
        let now_ms = now_ms();
        self.change(node, |reader| reader.seen_ms = now_ms);
    }

    /// When the node spoke to this server, if it did.
    pub(crate) fn seen_ms(&self, node: &NodeName) -> Option<u64> {
        self.known.lock().get(node).map(|reader| reader.seen_ms).filter(|seen_ms| *seen_ms > 0)
    }

    /// Whether that the node was served `version` may have to be noted.
    pub(crate) fn is_news(&self, node: &NodeName, version: Version, intent: Intent) -> bool {
        self.known.lock().get_mut(node).is_none_or(|reader| *reader.slot(intent) < version)
    }

    /// The store has it that the node was served `version`.
    pub(crate) fn noted(&self, node: &NodeName, version: Version, intent: Intent) {
        self.change(node, |reader| {
            let slot = reader.slot(intent);
            *slot = version.max(*slot);
        });
    }

    fn change(&self, node: &NodeName, change: impl FnOnce(&mut Reader)) {
        let mut known = self.known.lock();
        if let Some(reader) = known.get_mut(node) {
            return change(reader);
        }
        if known.len() >= MOST {
            // It costs a look at the store for each node that comes again.
            known.clear();
        }
        change(known.entry(node.clone()).or_default());
    }
}

/// The node that calls, if one does.
pub(crate) fn calling_node(identity: &Identity) -> Option<&PrincipalId> {
    identity.principal.principal().filter(|id| id.kind() == Kind::Node)
}

impl Reader {
    fn slot(&mut self, intent: Intent) -> &mut Version {
        match intent {
            Intent::Sync => &mut self.synced,
            Intent::DryRun => &mut self.looked_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64) -> Version {
        Version::new(number).unwrap()
    }

    #[test]
    fn what_is_noted_is_no_news_until_something_newer_comes() {
        let (readers, node) = (Readers::default(), "pier2".parse().unwrap());
        assert!(readers.is_news(&node, version(1), Intent::Sync));
        readers.noted(&node, version(2), Intent::Sync);
        readers.noted(&node, version(1), Intent::Sync);
        let news = |number, intent| readers.is_news(&node, version(number), intent);
        assert_eq!((news(2, Intent::Sync), news(3, Intent::Sync), news(1, Intent::DryRun)), (false, true, true));
        assert_eq!(readers.seen_ms(&node), None, "it was not here itself");
        readers.sees(&node);
        assert!(readers.seen_ms(&node).is_some());
    }

    #[test]
    fn who_comes_too_often_waits_and_nobody_else() {
        let readers = Readers::default();
        let (greedy, modest) = ("node/pier2".parse().unwrap(), "node/pier3".parse().unwrap());
        let errands = [Errand::Artifact, Errand::Revocations, Errand::Status, Errand::Reached];
        for errand in errands {
            assert_eq!(readers.comes(Some(&greedy), errand), Ok(()), "{errand:?} has turns of its own");
            let refused = (0..2 * LOOKS.burst).find_map(|_| readers.comes(Some(&greedy), errand).err());
            assert_eq!(refused, Some(Error::TooOften { retry_after_s: 1 }), "{errand:?}");
            assert_eq!(readers.comes(Some(&modest), errand), Ok(()));
            assert!((0..2 * LOOKS.burst).all(|_| readers.comes(None, errand).is_ok()));
        }
    }

    #[test]
    fn memory_is_bounded() {
        let readers = Readers::default();
        for number in 0..MOST + 10 {
            readers.sees(&format!("n{number}").parse().unwrap());
        }
        assert!(readers.known.lock().len() <= MOST);
    }
}
