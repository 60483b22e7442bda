use std::{fmt, sync::Arc};

use chainfire_core::{auth, journal, kv};
use chainfire_raft::PeerMetrics;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::{Process, peers};
use crate::{Profile, directory::Directory, memory::Memory, store::Store, watch::Hub};

/// Values that are looked up when somebody asks for them.
pub(crate) struct Sampled {
    pub(crate) store: Arc<Store>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) profile: Profile,
    pub(crate) memory: Memory,
    /// One of each slot.
    pub(crate) peers: Arc<[PeerMetrics]>,
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
        gauge("etcd_server_is_learner", "Whether this member has no vote; it always has one", 0)?;
        gauge("etcd_server_proposals_committed_total", "Last committed log entry", number(status.committed))?;
        gauge("etcd_server_proposals_applied_total", "Last applied log entry", number(status.applied))?;
        gauge("etcd_server_proposals_pending", "Changes without an answer yet", count(self.store.pending()))?;
        let quota = self.store.limits().quota_bytes.unwrap_or(0);
        gauge("etcd_server_quota_backend_bytes", "Bytes that the user keyspace may take; 0: any", number(quota))?;
        gauge("etcd_debugging_mvcc_slow_watcher_total", "Watchers that read from the disk", count(census.behind))?;
        gauge("etcd_debugging_mvcc_pending_events_total", "Events that wait for clients", count(census.pending))?;
        gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams", count(census.streams))?;
        gauge("etcd_debugging_mvcc_watcher_total", "Watchers", count(census.watchers))?;
        let Memory { requests, answers } = &self.memory;
        gauge("holdfast_incoming_request_bytes", "Of long requests on their way in", count(requests.held()))?;
        gauge("holdfast_outgoing_answer_bytes", "Of long answers on their way out", count(answers.held()))?;

        let process = Process::now();
        gauge("process_resident_memory_bytes", "Bytes in memory", number(process.resident))?;
        gauge("process_virtual_memory_bytes", "Bytes of address space", number(process.address_space))?;
        gauge("process_open_fds", "Open files", number(process.open_files))?;
        gauge("process_max_fds", "Files that may be open", number(process.files_allowed))?;
        gauge("os_fd_used", "Open files", number(process.open_files))?;
        gauge("os_fd_limit", "Files that may be open", number(process.files_allowed))?;

        // A state that cannot be read leaves its metrics out; the reason is logged by whoever needs the state.
        let view = self.store.view();
        if let Ok(revision) = kv::current_revision(&view) {
            gauge("etcd_debugging_mvcc_current_revision", "Newest revision", revision.0)?;
        }
        if let Ok(keys) = kv::key_count(&view) {
            gauge("etcd_debugging_mvcc_keys_total", "Keys", number(keys))?;
        }
        if let Ok(status) = auth::status(&view) {
            gauge("etcd_debugging_auth_revision", "Changes of users and roles", number(status.revision))?;
        }
        if let Ok(usage) = journal::usage(&view) {
            gauge("holdfast_journal_used_bytes", "Audit records that are not shipped yet", number(usage.used))?;
            gauge("holdfast_journal_budget_bytes", "When writes are refused", number(usage.budget))?;
        }
        if let Ok(usage) = self.store.usage() {
            gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes that the user keyspace takes", number(usage.total))?;
            gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes that the quota counts", number(usage.used))?;
        }
        let mut seconds = |name: &str, help: &str, value: f64| {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        let stall = self.store.group().disk_stall().map_or(0.0, |stall| stall.age.as_secs_f64());
        seconds("holdfast_raft_disk_stalled_seconds", "For how long the disk has not synced the log", stall)?;
        seconds("process_cpu_seconds_total", "Processor time", process.cpu)?;
        seconds("process_start_time_seconds", "Start of the process, in Unix time", process.started)?;
        peers::encode(&mut encoder, self.directory.members(), &self.peers)?;
        let mut info = |name: &str, help: &str, label: (&str, String)| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(1).encode(family.encode_family(&[label])?)
        };
        let server = ("server_version", self.profile.server().to_owned());
        info("etcd_server_version", "Which etcd release this server behaves like", server)?;
        let cluster = ("cluster_version", self.profile.protocol().to_owned());
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
