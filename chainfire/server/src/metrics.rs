//! Metrics under etcd's names, where there is a real value behind them.

use std::{fmt, sync::Arc};

use chainfire_core::{
    journal,
    kv::{self, EventKind, Revision, RevisionEvents},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{
        MetricType,
        counter::Counter,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry,
};

use crate::{directory::Directory, store::Store, version, watch::Hub};

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
        registry.register(
            "etcd_debugging_mvcc_compact_revision",
            "The oldest revision that can be read",
            self.compacted.clone(),
        );
    }

    pub(crate) fn published(&self, block: &RevisionEvents) {
        let puts = block.events.iter().filter(|event| event.kind == EventKind::Put).count() as u64;
        let all = block.events.len() as u64;
        self.put.inc_by(puts);
        self.delete.inc_by(all - puts);
        self.events.inc_by(all);
    }

    pub(crate) fn compacted(&self, revision: Revision) {
        self.compacted.set(revision.0);
    }
}

/// Values that are looked up when somebody asks for them.
pub(crate) struct Sampled {
    pub(crate) store: Arc<Store>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) directory: Arc<Directory>,
}

impl fmt::Debug for Sampled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Sampled")
    }
}

impl Collector for Sampled {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = self.store.status();
        let census = self.hub.census();
        let mut gauge = |name: &str, help: &str, value: i64| {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge("etcd_server_has_leader", "Whether a leader is known", i64::from(status.leader.is_some()))?;
        let leads = status.leader == Some(status.slot);
        gauge("etcd_server_is_leader", "Whether this member leads and has a quorum", i64::from(leads))?;
        gauge("etcd_server_proposals_committed_total", "Last committed log entry", number(status.committed))?;
        gauge("etcd_server_proposals_applied_total", "Last applied log entry", number(status.applied))?;
        gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams", count(census.streams))?;
        gauge("etcd_debugging_mvcc_watcher_total", "Watchers", count(census.watchers))?;

        // A state that cannot be read leaves its metrics out; the reason is logged by whoever needs the state.
        let view = self.store.view();
        if let Ok(revision) = kv::current_revision(&view) {
            gauge("etcd_debugging_mvcc_current_revision", "Newest revision", revision.0)?;
        }
        if let Ok(usage) = journal::usage(&view) {
            gauge("holdfast_journal_used_bytes", "Audit records that are not shipped yet", number(usage.used))?;
            gauge("holdfast_journal_budget_bytes", "When writes are refused", number(usage.budget))?;
        }
        let state = self.store.group().state();
        if let (Ok(total), Ok(live)) = (state.total_bytes(), state.live_bytes()) {
            gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes on disk", number(total))?;
            gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of live data", number(live.min(total)))?;
        }
        let mut info = |name: &str, help: &str, label: (&str, String)| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(1).encode(family.encode_family(&[label])?)
        };
        let server = ("server_version", version::SERVER.to_owned());
        info("etcd_server_version", "Which etcd release this server behaves like", server)?;
        let cluster = ("cluster_version", version::CLUSTER.to_owned());
        info("etcd_cluster_version", "Which protocol level the cluster behaves like", cluster)?;
        let id = ("server_id", self.directory.members().own_id().to_string());
        info("etcd_server_id", "This member's id", id)
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
