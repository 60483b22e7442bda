use std::time::Duration;

use configsrv_fleet::Phase;
use holdfast_rpc::Kind;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{Error, artifacts::Artifact, census::Census, reports::ROLLBACK};

/// From a handful of nodes to as many as a tree may have, in seconds.
const PUBLISH: [f64; 10] = [0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0];

/// What the distribution counts. Versions and nodes are never labels: both would grow without end.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<Request, Counter>,
    publish: Histogram,
    rollbacks: Counter,
    version: Gauge,
    published: Gauge,
    stale: Gauge,
    pending: Gauge,
    drifted: Gauge,
    phases: Family<Standing, Gauge>,
    payload_bytes: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Standing {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    operation: Operation,
    result: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the encoder takes labels from the names")]
enum Operation {
    artifact_fetch,
    publish,
    report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the encoder takes labels from the names")]
enum Outcome {
    ok,
    not_modified,
    /// The caller's request is not granted.
    rejected,
    /// The servers could not answer.
    error,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            publish: Histogram::new(PUBLISH),
            rollbacks: Counter::default(),
            version: Gauge::default(),
            published: Gauge::default(),
            stale: Gauge::default(),
            pending: Gauge::default(),
            drifted: Gauge::default(),
            phases: Family::default(),
            payload_bytes: Gauge::default(),
        }
    }
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "holdfast_configsrv_requests",
            "Requests answered, by what they asked for",
            self.requests.clone(),
        );
        registry.register(
            "holdfast_configsrv_publish_seconds",
            "Time that publishes took which changed something",
            self.publish.clone(),
        );
        registry.register(
            "holdfast_configsrv_rollbacks",
            "Reports of nodes that went back to an earlier version",
            self.rollbacks.clone(),
        );
        registry.register("holdfast_configsrv_published_version", "The current version", self.version.clone());
        registry.register(
            "holdfast_configsrv_nodes_published",
            "Nodes that the current version is for",
            self.published.clone(),
        );
        registry.register(
            "holdfast_configsrv_nodes_stale",
            "Nodes that have not fetched the current version, or do not run it",
            self.stale.clone(),
        );
        registry.register(
            "holdfast_configsrv_nodes_pending",
            "Nodes that run a version which waits for its confirmation",
            self.pending.clone(),
        );
        registry.register(
            "holdfast_configsrv_nodes_drifted",
            "Nodes with files that somebody else changed",
            self.drifted.clone(),
        );
        registry.register("holdfast_configsrv_nodes", "Nodes by the phase that they are in", self.phases.clone());
        registry.register(
            "holdfast_configsrv_payload_bytes",
            "Bytes of all payloads that are kept",
            self.payload_bytes.clone(),
        );
    }

    pub(crate) fn artifact(&self, answer: &Result<Artifact, Error>) {
        let result = match answer {
            Ok(Artifact { bytes: None, .. }) => Outcome::not_modified,
            Ok(_) => Outcome::ok,
            Err(error) => error.into(),
        };
        self.count(Operation::artifact_fetch, result);
    }

    pub(crate) fn published<T>(&self, answer: &Result<T, Error>) {
        self.count(Operation::publish, answer.into());
    }

    /// A publish that changed something took so long.
    pub(crate) fn publish_took(&self, took: Duration) {
        self.publish.observe(took.as_secs_f64());
    }

    pub(crate) fn reported<T>(&self, answer: &Result<T, Error>) {
        self.count(Operation::report, answer.into());
    }

    /// A node's report was news, which the history calls so.
    pub(crate) fn stored(&self, action: &str) {
        if action == ROLLBACK {
            self.rollbacks.inc();
        }
    }

    pub(crate) fn show(&self, census: &Census) {
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.version.set(whole(census.version.get()));
        self.published.set(whole(census.published));
        self.stale.set(whole(census.stale));
        self.pending.set(whole(census.pending));
        self.drifted.set(whole(census.drifted));
        for phase in Phase::ALL {
            let count = census.phases.get(&phase).copied().unwrap_or_default();
            self.phases.get_or_create(&Standing { phase: phase.as_str() }).set(whole(count));
        }
        self.payload_bytes.set(whole(census.payload_bytes));
    }

    fn count(&self, operation: Operation, result: Outcome) {
        self.requests.get_or_create(&Request { operation, result }).inc();
    }
}

impl From<&Error> for Outcome {
    fn from(error: &Error) -> Self {
        match error.kind() {
            Kind::Unavailable | Kind::NotLeader | Kind::Corrupt | Kind::Internal => Self::error,
            _ => Self::rejected,
        }
    }
}

impl<T> From<&Result<T, Error>> for Outcome {
    fn from(answer: &Result<T, Error>) -> Self {
        answer.as_ref().map_or_else(Self::from, |_| Self::ok)
    }
}

#[cfg(test)]
mod tests {
    use configsrv_fleet::{Digest, Version};

    use super::*;

    #[test]
    fn requests_are_counted_by_what_became_of_them() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let version = Version::new(7).unwrap();
        metrics.artifact(&Ok(Artifact { version, digest: Digest::of(b""), bytes: None }));
        metrics.artifact(&Err(Error::UnknownVersion(version)));
        metrics.published::<()>(&Err(Error::NoQuorum("no leader".into())));
        metrics.reported(&Ok(()));
        metrics.stored(ROLLBACK);
        metrics.stored("config.Confirm");
        let phases = [(Phase::Confirmed, 1), (Phase::RolledBack, 2)].into();
        metrics.show(&Census {
            version,
            published: 3,
            stale: 2,
            pending: 1,
            drifted: 2,
            phases,
            until_ms: None,
            payload_bytes: 9,
        });

        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"holdfast_configsrv_requests_total{operation="artifact_fetch",result="not_modified"} 1"#,
            r#"holdfast_configsrv_requests_total{operation="artifact_fetch",result="rejected"} 1"#,
            r#"holdfast_configsrv_requests_total{operation="publish",result="error"} 1"#,
            r#"holdfast_configsrv_requests_total{operation="report",result="ok"} 1"#,
            "holdfast_configsrv_rollbacks_total 1",
            "holdfast_configsrv_published_version 7",
            "holdfast_configsrv_nodes_stale 2",
            "holdfast_configsrv_nodes_drifted 2",
            r#"holdfast_configsrv_nodes{phase="rolled_back"} 2"#,
            r#"holdfast_configsrv_nodes{phase="paused"} 0"#,
            "holdfast_configsrv_payload_bytes 9",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
