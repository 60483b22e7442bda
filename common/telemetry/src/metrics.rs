use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::{encoding::text, registry::Registry};

/// The metrics of one process. Each service registers its own at start.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers metrics; `fill` runs at once.
    pub fn register<T>(&self, fill: impl FnOnce(&mut Registry) -> T) -> T {
        fill(&mut self.0.lock())
    }

    /// All metrics as text.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut out, &self.0.lock());
        out
    }

    /// The `Content-Type` of [`Metrics::encode`]: Prometheus' own format rather than OpenMetrics, whose strict parsers
    /// refuse the few counters that keep a foreign name without `_total`.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
}
