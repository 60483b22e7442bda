//! What a revocation is worth, and where: who enforces it, who is not known to, and for how long that matters.

use std::time::Duration;

use iam_core::rotation::Part;
use tokio::time::{Instant, timeout_at};

use crate::{Error, iam::Inner, settings::millis};

/// Who enforces a revocation.
pub(crate) struct Receipt {
    pub(crate) revision: u64,
    pub(crate) servers: usize,
    /// Servers that are not known to, each with the time of its last word.
    pub(crate) stragglers: Vec<(String, Option<u64>)>,
    /// Until when one of these may accept what was revoked, at worst: cut off, it answers until its stale limit.
    pub(crate) servers_until_ms: Option<u64>,
    /// Until when somebody may who only looks at signatures.
    pub(crate) outside_until_ms: u64,
}

impl Inner {
    /// The receipt of the revocation at `revision`, after at most `wait` for servers that do not enforce it yet. What
    /// was revoked ends by itself at `ends_ms`.
    pub(crate) async fn receipt(&self, revision: u64, ends_ms: u64, wait: Duration) -> Result<Receipt, Error> {
        let deadline = Instant::now() + wait;
        let committed_ms = self.now_ms();
        let mut changes = self.records.store().changes();
        loop {
            changes.mark_unchanged();
            let servers: Vec<_> =
                self.standings()?.into_iter().filter(|standing| standing.part == Part::Server).collect();
            let count = servers.len();
            let behind = servers.into_iter().filter_map(|server| match server.word {
                Some(word) if word.versions.revocations >= revision => None,
                word => Some((server.name, word.map(|word| word.at_ms))),
            });
            let stragglers: Vec<_> = behind.collect();
            if !stragglers.is_empty() && timeout_at(deadline, changes.changed()).await.is_ok_and(|moved| moved.is_ok())
            {
                continue;
            }
            let stale_ms = committed_ms.saturating_add(millis(self.settings.lifetimes.stale_limit));
            return Ok(Receipt {
                revision,
                servers: count,
                servers_until_ms: (!stragglers.is_empty()).then_some(stale_ms.min(ends_ms)),
                stragglers,
                outside_until_ms: ends_ms,
            });
        }
    }
}
