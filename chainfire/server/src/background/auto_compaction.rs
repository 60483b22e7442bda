use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use chainfire_core::{
    Origin, UserCommand,
    kv::{Compact, Revision},
};
use holdfast_service::Stop;
use tokio::time::sleep;

use crate::{Error, request::request_id, store::Store};

/// How much history is kept when nobody compacts by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// This many revisions, looked at every five minutes.
    Revisions(u64),
    /// What happened within this time.
    Period(Duration),
}

const REVISION_CHECK: Duration = Duration::from_secs(5 * 60);
const HOUR: Duration = Duration::from_secs(3_600);

/// Compacts by `mode` while this server leads.
pub(crate) async fn compact_regularly(store: Arc<Store>, mode: AutoCompaction, stop: Stop) {
    let mut past = Past::default();
    loop {
        let upto = match store.revision() {
            Ok(revision) => past.horizon(mode, Instant::now(), revision),
            Err(_) => None,
        };
        if let Some(revision) = upto.filter(|_| store.status().is_leader) {
            let origin = Origin::system("auto-compaction", request_id());
            match store.change(origin, UserCommand::Compact(Compact { revision })).await {
                Ok(_) => tracing::info!(%revision, "history compacted"),
                // Nothing was written since, or somebody else was faster.
                Err(Error::Compacted) => {}
                Err(error) => tracing::warn!(%error, "history not compacted"),
            }
        }
        tokio::select! {
            () = stop.requested() => return,
            () = sleep(mode.interval()) => {}
        }
    }
}

impl AutoCompaction {
    /// Between two looks.
    fn interval(self) -> Duration {
        match self {
            Self::Revisions(_) => REVISION_CHECK,
            Self::Period(period) => (period.min(HOUR) / 10).max(Duration::from_millis(100)),
        }
    }
}

/// Which revision was the newest when.
#[derive(Debug, Default)]
struct Past {
    seen: VecDeque<(Instant, Revision)>,
}

impl Past {
    /// What may go now that `revision` is the newest.
    fn horizon(&mut self, mode: AutoCompaction, now: Instant, revision: Revision) -> Option<Revision> {
        let period = match mode {
            AutoCompaction::Revisions(keep) => {
                let upto = revision.0.checked_sub(i64::try_from(keep).unwrap_or(i64::MAX))?;
                return (upto > 0).then_some(Revision(upto));
            }
            AutoCompaction::Period(period) => period,
        };
        self.seen.push_back((now, revision));
        let mut horizon = None;
        while let Some((_, old)) = self.seen.front().filter(|(at, _)| now.duration_since(*at) >= period) {
            horizon = Some(*old);
            self.seen.pop_front();
        }
        horizon
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §2.5: "`revision` (… checks every 5 min) and `periodic` (… period/10)".
    #[test]
    fn the_history_is_looked_at_in_etcds_time() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(AutoCompaction::Revisions(1).interval(), minutes(5));
        assert_eq!(AutoCompaction::Period(minutes(20)).interval(), minutes(2));
        assert_eq!(AutoCompaction::Period(10 * HOUR).interval(), minutes(6));
    }

    /// §2.5.
    #[test]
    fn revisions_are_counted_back_from_the_newest() {
        let mut past = Past::default();
        let mode = AutoCompaction::Revisions(100);
        assert_eq!(past.horizon(mode, Instant::now(), Revision(100)), None);
        assert_eq!(past.horizon(mode, Instant::now(), Revision(150)), Some(Revision(50)));
    }

    /// §2.5.
    #[test]
    fn a_period_keeps_what_happened_within_it() {
        let mut past = Past::default();
        let (start, mode) = (Instant::now(), AutoCompaction::Period(HOUR));
        assert_eq!(past.horizon(mode, start, Revision(10)), None);
        assert_eq!(past.horizon(mode, start + HOUR / 2, Revision(20)), None);
        assert_eq!(past.horizon(mode, start + HOUR, Revision(30)), Some(Revision(10)));
        assert_eq!(past.horizon(mode, start + HOUR + HOUR / 4, Revision(40)), None);
    }
}
