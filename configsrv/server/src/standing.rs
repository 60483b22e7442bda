//! Where a node stands: one answer from everything that the servers know about it.

use std::time::Duration;

use configsrv_fleet::{Digest, Phase, Version};
use serde::Serialize;

use crate::{
    record::{Fetched, Status, SyncResult},
    settings::Waits,
};

/// No window is believed to be longer: the clock of a node may be wrong by years.
const LONGEST_WINDOW: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the servers know about one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub now_ms: u64,
    /// What nodes may ask for.
    pub current: Version,
    /// The content that it has for this node, if it has any.
    pub published: Option<Digest>,
    /// Since when there is something that the node does not have.
    pub offered_ms: u64,
    pub fetched: &'a Fetched,
    pub reported: Option<&'a Status>,
    /// The content that the node went back from last, as far as it is kept: reports that earlier releases stored do not
    /// name it.
    pub failed: Option<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Standing {
    pub phase: Phase,
    /// What the phase is about.
    pub version: Version,
    pub since_ms: u64,
    /// When a phase that leads to another one is a failure, or since when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    pub reason: String,
    /// The phase whose time is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<Phase>,
}

impl Standing {
    pub(crate) fn of(known: &Known<'_>, waits: &Waits) -> Self {
        let standing = unhurried(known, waits);
        let standing = match standing.deadline_ms {
            Some(deadline_ms) if deadline_ms <= known.now_ms => standing.overdue(deadline_ms),
            Some(_) | None => standing,
        };
        match frozen(known, standing.version).filter(|_| standing.is_before_activation()) {
            Some(reason) => Self { reason, ..standing },
            None => standing,
        }
    }

    /// Whether the node has not begun with what is published, in time or not.
    fn is_before_activation(&self) -> bool {
        matches!(self.was.unwrap_or(self.phase), Phase::Offered | Phase::LookedAt | Phase::Fetched)
    }

    /// A phase that nothing has to follow.
    fn settled(phase: Phase, version: Version, since_ms: u64, reason: String) -> Self {
        Self { phase, version, since_ms, deadline_ms: None, reason, was: None }
    }

    /// A phase that leads to another one.
    fn waiting(phase: Phase, version: Version, since_ms: u64, deadline_ms: u64, reason: String) -> Self {
        Self { phase, version, since_ms, deadline_ms: Some(deadline_ms), reason, was: None }
    }

    fn overdue(self, deadline_ms: u64) -> Self {
        let version = self.version;
        let reason = match self.phase {
            Phase::Offered => {
                format!("nobody fetched version {version} in time: no sync was started, or the servers are not reached")
            }
            Phase::LookedAt => format!("somebody looked at version {version} and did not activate it in time"),
            Phase::Fetched => format!("the node fetched version {version} and did not say what became of it"),
            Phase::Activating => format!(
                "the node was about to activate version {version} and was not heard of since: the change may have cut \
                 it off"
            ),
            _ => format!(
                "the time to confirm version {version} is over, and the node did not say what became of it: it does not \
                 reach the servers, or its agent does not run"
            ),
        };
        Self {
            phase: Phase::Overdue,
            since_ms: deadline_ms,
            deadline_ms: Some(deadline_ms),
            reason,
            was: Some(self.phase),
            ..self
        }
    }
}

/// The same, as if there were time for everything.
fn unhurried(known: &Known<'_>, waits: &Waits) -> Standing {
    let nothing = Status::default();
    let status = known.reported.unwrap_or(&nothing);
    if let Some(paused) = paused(known, status) {
        return paused;
    }
    let Some(published) = known.published else { return unpublished(known, status) };
    if status.result == Some(SyncResult::Degraded) {
        let version = status.rolled_back.or(status.active).unwrap_or(known.current);
        let reason = said(status).unwrap_or_else(|| "the way back failed, too".to_owned());
        return Standing::settled(Phase::Degraded, version, status.since(), reason);
    }
    if let Some(version) = status.pending {
        return pending(version, status, waits);
    }
    if status.active == Some(known.current) {
        let reason = format!("version {} is what runs", known.current);
        return Standing::settled(Phase::Confirmed, known.current, status.since(), reason);
    }
    if let Some(failure) = failure(known, published, status) {
        return failure;
    }
    before_activation(known, waits)
}

/// A node that has more than the servers know, or something else under the same number: they were restored.
fn paused(known: &Known<'_>, status: &Status) -> Option<Standing> {
    let current = known.current;
    let paused = |version, reason| Some(Standing::settled(Phase::Paused, version, status.since(), reason));
    match [status.active, status.pending, status.confirmed].into_iter().flatten().max() {
        Some(has) if has > current => {
            let by_hand = status.carried.iter().any(|carried| carried.version == has);
            let why = if by_hand { "somebody brought it there past them" } else { "they were restored" };
            paused(
                has,
                format!(
                    "the node has version {has}, the servers know {current}: {why}, and the node stays as it is until \
                     the same or something newer is published"
                ),
            )
        }
        Some(_) if status.pending.is_none() && status.active == Some(current) => {
            match (status.digest, known.published) {
                (Some(runs), Some(published)) if runs != published => paused(
                    current,
                    format!(
                        "the node runs another content as version {current} than is published: the servers were \
                         restored, and the node stays as it is until a newer version is published"
                    ),
                ),
                _ => None,
            }
        }
        Some(_) | None => None,
    }
}

fn unpublished(known: &Known<'_>, status: &Status) -> Standing {
    let heard = known.fetched.sync.map_or(0, |fetch| fetch.at_ms).max(status.reported_ms);
    let has = [status.active, status.confirmed].into_iter().flatten().max();
    match has.or(known.fetched.sync.map(|fetch| fetch.version)) {
        Some(version) => {
            let reason =
                format!("version {} has nothing for this node: it keeps what it has, version {version}", known.current);
            Standing::settled(Phase::Removed, version, heard, reason)
        }
        None => {
            let reason = "nothing has been published for this node".to_owned();
            Standing::settled(Phase::Unpublished, known.current, heard, reason)
        }
    }
}

fn pending(version: Version, status: &Status, waits: &Waits) -> Standing {
    let since = status.since();
    let longest = after(since, LONGEST_WINDOW);
    // Without a window there is no guard, and the node says soon what became of it.
    let deadline = status.deadline_ms.map_or(after(since, waits.reported), |deadline| deadline.min(longest));
    let (phase, reason) = match status.result {
        Some(SyncResult::Acknowledged) => {
            (Phase::Activating, format!("the node said that it is about to activate version {version}"))
        }
        _ => (Phase::Pending, format!("version {version} is active and waits for its confirmation")),
    };
    Standing::waiting(phase, version, since, deadline, reason)
}

/// What the node has against the current version.
fn failure(known: &Known<'_>, published: Digest, status: &Status) -> Option<Standing> {
    let version = known.current;
    let failed = |phase, reason| Some(Standing::settled(phase, version, status.since(), reason));
    let because = |result, otherwise: &str| {
        said(status).filter(|_| status.result == Some(result)).unwrap_or_else(|| otherwise.to_owned())
    };
    if status.rolled_back == Some(version) {
        return failed(Phase::RolledBack, because(SyncResult::RolledBack, "it was tried and failed"));
    }
    // What cannot be read at all has no version.
    let unnamed = status.result == Some(SyncResult::Rejected)
        && status.rejected.is_none()
        && known.fetched.sync.is_some_and(|fetch| fetch.version >= version);
    if status.rejected == Some(version) || unnamed {
        return failed(Phase::Refused, because(SyncResult::Rejected, "it was refused before anything was touched"));
    }
    let remembered = status.failed.iter().find(|failed| failed.digest == published).map(|failed| failed.version);
    let before = remembered.or(status.rolled_back.filter(|_| known.failed == Some(published)))?;
    failed(
        Phase::Rejected,
        format!("version {version} has the content that failed here as version {before}; it is not tried again"),
    )
}

/// The node has said nothing about the current version.
fn before_activation(known: &Known<'_>, waits: &Waits) -> Standing {
    let version = known.current;
    let has = |fetch: &crate::Fetch| fetch.version >= version;
    let fetch_until = after(known.offered_ms, waits.fetched);
    if let Some(fetch) = known.fetched.sync.filter(has) {
        let reason = format!("the node fetched version {version} and has not said what became of it");
        return Standing::waiting(Phase::Fetched, version, fetch.at_ms, after(fetch.at_ms, waits.reported), reason);
    }
    match known.fetched.dry_run.filter(has) {
        Some(look) => {
            let reason = format!("somebody on the node looked at version {version}; it is not activated");
            Standing::waiting(Phase::LookedAt, version, look.at_ms, fetch_until, reason)
        }
        None => {
            let reason = format!("version {version} is published, and the node has not fetched it");
            Standing::waiting(Phase::Offered, version, known.offered_ms, fetch_until, reason)
        }
    }
}

/// Why the node would not take `version` though a sync was started: its policy for files that somebody changed. That is
/// as far as it can say so itself, since such a sync asks no server for anything.
fn frozen(known: &Known<'_>, version: Version) -> Option<String> {
    let drift = known.reported?.drift.as_ref().filter(|drift| drift.freezes())?;
    let changed = match drift.files {
        1 => "a file was changed on the node".to_owned(),
        files => format!("{files} files were changed on the node"),
    };
    let first = drift.first.first().map(|file| format!(" ({file})")).unwrap_or_default();
    Some(format!(
        "{changed}{first}, and its policy is freeze: it does not take version {version} until somebody there has them \
         written again (flor drift --repair) or goes over them (flor sync --overwrite-drift)"
    ))
}

fn said(status: &Status) -> Option<String> {
    status.reason.clone().filter(|reason| !reason.is_empty())
}

fn after(since_ms: u64, wait: Duration) -> u64 {
    since_ms.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
