//! The fleet in numbers, for the metrics.

use std::collections::HashMap;

use configsrv_fleet::{Phase, Version};

use crate::{ConfigService, Error, keys, record::Payload, service::blocking};

const PAGE: usize = 1000;

/// How many nodes are where, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub version: Version,
    pub published: u64,
    /// Of those: it has not fetched the current version, or does not report it active, or has what the servers do not
    /// know.
    pub stale: u64,
    pub pending: u64,
    /// Files of what they run were changed by somebody else.
    pub drifted: u64,
    pub phases: HashMap<Phase, u64>,
    /// When the next of them is overdue, though nothing changes.
    pub until_ms: Option<u64>,
    pub payload_bytes: u64,
}

impl ConfigService {
    pub(crate) async fn census(&self) -> Result<Census, Error> {
        let service = self.clone();
        blocking(move || service.count()).await
    }

    fn count(&self) -> Result<Census, Error> {
        let mut census = Census { payload_bytes: self.payload_bytes()?, ..Census::default() };
        let mut after = String::new();
        loop {
            let page = self.page(None, &after, PAGE)?;
            census.version = page.version;
            for node in &page.nodes {
                census.published += u64::from(node.published);
                census.stale += u64::from(node.published && node.stale);
                census.pending += u64::from(node.reported.as_ref().is_some_and(|report| report.pending.is_some()));
                let drift = node.reported.as_ref().and_then(|report| report.drift.as_ref());
                census.drifted += u64::from(drift.is_some_and(|drift| drift.files > 0));
                let standing = &node.standing;
                *census.phases.entry(standing.phase).or_default() += 1;
                let deadline_ms = standing.deadline_ms.filter(|_| standing.phase.is_waiting());
                census.until_ms = census.until_ms.into_iter().chain(deadline_ms).min();
            }
            match page.nodes.last() {
                Some(last) if page.more => after.clone_from(&last.name),
                _ => return Ok(census),
            }
        }
    }

    fn payload_bytes(&self) -> Result<u64, Error> {
        let mut bytes = 0;
        self.records().each(keys::PAYLOADS, |_, payload: Payload| {
            bytes += payload.size;
            Ok(())
        })?;
        Ok(bytes)
    }
}
