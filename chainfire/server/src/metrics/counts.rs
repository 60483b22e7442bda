use chainfire_core::kv::{EventKind, Revision, RevisionEvents};
use chainfire_raft::{GroupMetrics, NodeMetrics};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::memory::Memory;

/// What this crate counts. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) range: Counter,
    pub(crate) txn: Counter,
    put: Counter,
    delete: Counter,
    events: Counter,
    compacted: Gauge,
    pub(crate) lease_granted: Counter,
    pub(crate) lease_renewed: Counter,
    pub(crate) lease_revoked: Counter,
    pub(crate) lease_expired: Counter,
    pub(crate) leader_changes: Counter,
    pub(crate) proposals_failed: Counter,
    pub(crate) reads_failed: Counter,
    pub(crate) slow_reads: Counter,
    requests: Family<Asked, Counter>,
}

/// Labels of `etcd_server_client_requests`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    r#type: &'static str,
    client_api_version: String,
}

impl Metrics {
    /// Registers everything; the encoder appends `_total` to the names of counters.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        counter("etcd_mvcc_range", "Ranges read", &self.range);
        counter("etcd_mvcc_txn", "Transactions asked for", &self.txn);
        counter("etcd_mvcc_put", "Keys written, as applied by this member", &self.put);
        counter("etcd_mvcc_delete", "Keys deleted, as applied by this member", &self.delete);
        counter("etcd_debugging_mvcc_events", "Events published to watchers", &self.events);
        counter("etcd_debugging_lease_granted", "Leases granted", &self.lease_granted);
        counter("etcd_debugging_lease_renewed", "Keep-alives that renewed a lease", &self.lease_renewed);
        counter("etcd_debugging_lease_revoked", "Leases that ended", &self.lease_revoked);
        counter("etcd_debugging_server_lease_expired", "Leases ended by this leader", &self.lease_expired);
        counter("etcd_server_leader_changes_seen", "Leaders seen", &self.leader_changes);
        counter("etcd_server_proposals_failed", "Changes without an answer", &self.proposals_failed);
        counter("etcd_server_read_indexes_failed", "Read indexes not had", &self.reads_failed);
        counter("etcd_server_slow_read_indexes", "Read indexes that were slow to have", &self.slow_reads);
        registry.register("etcd_server_client_requests", "Calls by version of the client", self.requests.clone());
        registry.register(
            "etcd_debugging_mvcc_compact_revision",
            "The oldest revision that can be read",
            self.compacted.clone(),
        );
    }

    /// Registers what was refused for want of memory.
    pub(crate) fn register_refusals(registry: &mut Registry, memory: &Memory) {
        let (requests, answers) = (memory.requests.refused().clone(), memory.answers.refused().clone());
        registry.register("holdfast_incoming_requests_refused", "Long requests for which there was no room", requests);
        registry.register("holdfast_outgoing_answers_refused", "Long answers for which there was no room", answers);
    }

    /// Registers what Raft measures of this server and of chainfire's group.
    pub(crate) fn register_raft(registry: &mut Registry, node: NodeMetrics, group: GroupMetrics) {
        registry.register("etcd_disk_wal_fsync_duration_seconds", "Syncs of the log", node.log_syncs);
        let writes = "Writes of applied entries to the state";
        registry.register("etcd_disk_backend_commit_duration_seconds", writes, group.writes);
        registry.register("etcd_server_slow_apply", "Batches of entries slow to apply", group.slow_applies);
        let heartbeats = "Heartbeats without an answer";
        registry.register("etcd_server_heartbeat_send_failures", heartbeats, node.heartbeats_failed);
        let ends = "When this server's certificate for the others ends, in Unix time; 0 without one";
        registry.register("holdfast_peer_certificate_end_seconds", ends, node.certificate_ends);
    }

    pub(crate) fn published(&self, block: &RevisionEvents) {
        let puts = block.events.iter().filter(|event| event.kind == EventKind::Put).count() as u64;
        let all = block.events.len() as u64;
        self.put.inc_by(puts);
        self.delete.inc_by(all - puts);
        self.events.inc_by(all);
    }

    /// Counts a call by the version that its client names. What is none of etcd's v3 shares one label: labels are kept
    /// for ever, and callers choose them.
    pub(crate) fn asked(&self, stream: bool, version: Option<&str>) {
        let number = |part: &str| matches!(part.len(), 1 | 2) && part.bytes().all(|byte| byte.is_ascii_digit());
        let version = match version {
            None => "unknown",
            Some(version) if version.strip_prefix("3.").is_some_and(number) => version,
            Some(_) => "other",
        };
        let r#type = if stream { "stream" } else { "unary" };
        self.requests.get_or_create(&Asked { r#type, client_api_version: version.to_owned() }).inc();
    }

    pub(crate) fn compacted(&self, revision: Revision) {
        self.compacted.set(revision.0);
    }
}
