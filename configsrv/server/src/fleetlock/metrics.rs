use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder},
    metrics::{MetricType, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Most groups that have series: clients choose their names, and a series stays.
const MOST_GROUPS: usize = 2_000;

/// The four metrics of poseidon/fleetlock under their own names and types, so that its dashboards and alerts go on.
#[derive(Clone, Debug, Default)]
pub struct LockMetrics {
    state: Family<GroupLabel, Gauge>,
    transitions: Family<GroupLabel, Gauge>,
    lock_requests: Count,
    unlock_requests: Count,
    groups: Arc<Mutex<HashSet<String>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupLabel {
    group: String,
}

/// A counter whose name stays as it is. The encoder appends `_total` to the names of its own counters, which would
/// give these series names that no dashboard knows.
#[derive(Clone, Debug, Default)]
struct Count(Arc<AtomicU64>);

impl LockMetrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "fleetlock_lock_state",
            "State of the fleetlock lease (0 unlocked, 1 locked)",
            self.state.clone(),
        );
        registry.register(
            "fleetlock_lock_transition_count",
            "Number of fleetlock lease transitions",
            self.transitions.clone(),
        );
        registry.register("fleetlock_lock_request_count", "Number of lock requests", self.lock_requests.clone());
        registry.register("fleetlock_unlock_request_count", "Number of unlock requests", self.unlock_requests.clone());
    }

    pub(super) fn lock_asked(&self) {
        self.lock_requests.add_one();
    }

    pub(super) fn unlock_asked(&self) {
        self.unlock_requests.add_one();
    }

    /// 1 while at least one slot is held; a group appears with its first request.
    pub(super) fn held(&self, group: &str, held: bool) {
        if let Some(label) = self.label(group) {
            self.state.get_or_create(&label).set(i64::from(held));
        }
    }

    pub(super) fn released(&self, group: &str) {
        if let Some(label) = self.label(group) {
            self.transitions.get_or_create(&label).inc();
        }
    }

    fn label(&self, group: &str) -> Option<GroupLabel> {
        let mut groups = self.groups.lock();
        if !groups.contains(group) {
            if groups.len() >= MOST_GROUPS {
                return None;
            }
            groups.insert(group.to_owned());
        }
        Some(GroupLabel { group: group.to_owned() })
    }
}

impl Count {
    fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl EncodeMetric for Count {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        // As a gauge, which is the encoding that leaves the name alone.
        encoder.encode_gauge(&self.0.load(Ordering::Relaxed))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_are_those_of_the_server_it_replaces() {
        let metrics = LockMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.lock_asked();
        metrics.held("default", true);
        metrics.unlock_asked();
        metrics.held("default", false);
        metrics.released("default");

        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "# TYPE fleetlock_lock_state gauge",
            "fleetlock_lock_state{group=\"default\"} 0",
            "# TYPE fleetlock_lock_transition_count gauge",
            "fleetlock_lock_transition_count{group=\"default\"} 1",
            "# TYPE fleetlock_lock_request_count counter",
            "fleetlock_lock_request_count 1",
            "# TYPE fleetlock_unlock_request_count counter",
            "fleetlock_unlock_request_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("_total"), "{text}");
    }

    #[test]
    fn invented_groups_get_no_series_without_end() {
        let metrics = LockMetrics::default();
        for n in 0..MOST_GROUPS + 10 {
            metrics.held(&n.to_string(), false);
        }
        metrics.held("0", true);
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with("fleetlock_lock_state{")).count(), MOST_GROUPS);
        assert!(text.contains("fleetlock_lock_state{group=\"0\"} 1"), "who has a series keeps it");
    }
}
