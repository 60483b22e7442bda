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
    /// When this server's certificate for the others ends, in Unix time; 0 without one.
    pub certificate_ends: Gauge,
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

/// From one millisecond to eight seconds, in etcd's steps.
pub(crate) fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 14))
}
