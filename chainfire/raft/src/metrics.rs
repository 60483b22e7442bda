use std::sync::Arc;

use prometheus_client::metrics::{
    counter::Counter,
    gauge::Gauge,
    histogram::{Histogram, exponential_buckets},
};

/// What a server measures for all its groups together. Clones share the counts.
#[derive(Clone, Debug)]
pub struct NodeMetrics {
    /// How long syncs of the log took, in seconds.
    pub log_syncs: Histogram,
    /// Heartbeats that had no answer.
    pub heartbeats_failed: Counter,
    /// What goes to and from the server in each slot; of its own slot nothing.
    pub peers: Arc<[PeerMetrics]>,
    /// When this server's certificate for the others ends, in Unix time; 0 without one.
    pub certificate_ends: Gauge,
}

/// What a server measures of its messages to and from one other. Clones share the counts.
#[derive(Clone, Debug)]
pub struct PeerMetrics {
    /// From a heartbeat to its answer, in seconds.
    pub round_trips: Histogram,
    /// Bytes of what messages carry.
    pub sent: Counter,
    pub received: Counter,
    /// Messages of Raft that have no answer.
    pub failed: Counter,
}

/// What a server measures of one group. Clones share the counts.
#[derive(Clone, Debug)]
pub struct GroupMetrics {
    /// How long it took to write batches of applied entries to the state, in seconds.
    pub writes: Histogram,
    /// Batches of entries that were slow to apply.
    pub slow_applies: Counter,
}

impl Default for GroupMetrics {
    fn default() -> Self {
        Self { writes: durations(), slow_applies: Counter::default() }
    }
}

impl Default for PeerMetrics {
    /// Round trips from a tenth of a millisecond to three seconds, in etcd's steps.
    fn default() -> Self {
        let round_trips = Histogram::new(exponential_buckets(0.0001, 2.0, 16));
        Self { round_trips, sent: Counter::default(), received: Counter::default(), failed: Counter::default() }
    }
}

/// From one millisecond to eight seconds, in etcd's steps.
pub(crate) fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 14))
}
