use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use configsrv_fleet::Sequence;
use serde::{Deserialize, Serialize};

use super::{LaneRecord, record::RefusedLane};
use crate::Error;

/// What `flor status` shows of the lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaneView {
    /// 0: nobody was ever revoked.
    pub sequence: Sequence,
    /// Who is subtracted on this node now.
    pub revoked: Vec<String>,
    /// Since when the sequence counts here.
    pub since_ms: Option<u64>,
    pub reason: Option<String>,
    /// What was refused last.
    pub refused: Option<RefusedLane>,
}

impl LaneView {
    pub(super) fn of(record: &LaneRecord, confirmed: configsrv_fleet::Version) -> Result<Self, Error> {
        Ok(Self {
            sequence: record.sequence()?,
            revoked: record.effective(confirmed)?.iter().map(ToString::to_string).collect(),
            since_ms: record.taken.as_ref().map(|taken| taken.at_ms),
            reason: record.sealed()?.map(|sealed| sealed.revocations().reason.clone()),
            refused: record.refused.clone(),
        })
    }
}

impl fmt::Display for LaneView {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(since_ms) = self.since_ms {
            let since = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(since_ms));
            writeln!(out, "revoked   {}, since {since} (sequence {})", self.revoked.len(), self.sequence)?;
        }
        self.revoked.iter().try_for_each(|id| writeln!(out, "            {id}"))?;
        match &self.refused {
            Some(refused) => writeln!(out, "REFUSED   revocations: {}", refused.reason),
            None => Ok(()),
        }
    }
}
