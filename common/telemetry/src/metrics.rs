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
        let mut open_metrics = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut open_metrics, &self.0.lock());
        prometheus_text(&open_metrics)
    }

    /// The `Content-Type` of [`Metrics::encode`]: Prometheus' own format rather than OpenMetrics, whose strict parsers
    /// refuse the few counters that keep a foreign name without `_total`.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
}

/// OpenMetrics declares a counter without the `_total` that its samples carry; in Prometheus' own format both have the
/// same name. What comes before a sample is held back until the sample shows which name that is.
fn prometheus_text(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let mut held: Vec<&str> = Vec::new();
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        if line.starts_with('#') {
            held.push(line);
            continue;
        }
        for comment in held.drain(..) {
            let declared = comment.split(' ').nth(2).unwrap_or_default();
            let sampled = line.strip_prefix(declared).is_some_and(|rest| rest.starts_with("_total"));
            if sampled {
                out.push_str(&comment.replacen(declared, &format!("{declared}_total"), 1));
            } else {
                out.push_str(comment);
            }
            out.push('\n');
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

    use super::*;

    #[test]
    fn declarations_have_the_names_of_their_samples() {
        let metrics = Metrics::new();
        metrics.register(|registry| {
            registry.register("served", "Requests", Counter::<u64>::default());
            registry.register("open_total", "Connections", Gauge::<i64>::default());
        });
        let expected = "# HELP served_total Requests.\n# TYPE served_total counter\nserved_total 0\n\
                        # HELP open_total Connections.\n# TYPE open_total gauge\nopen_total 0\n";
        assert_eq!(metrics.encode(), expected);
    }
}
