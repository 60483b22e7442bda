use std::{fmt, sync::Weak};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::{Spool, SpoolStatus};

/// The log, looked at when somebody asks for metrics; the metrics may outlive it.
pub(crate) struct Measured(pub(crate) Weak<Spool>);

impl fmt::Debug for Measured {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Measured")
    }
}

impl Collector for Measured {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(spool) = self.0.upgrade() else { return Ok(()) };
        let SpoolStatus { newest, shipped, bytes, budget, dropped_denials, displaced_files } = spool.status();
        let mut gauge = |name: &str, help: &str, value: u64| {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            let name = format!("holdfast_iam_decision_log_{name}");
            ConstGauge::new(value).encode(encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?)
        };
        gauge("bytes", "Bytes of the decision log that are not shipped yet", bytes)?;
        gauge("budget_bytes", "When what must be written into the decision log is refused", budget)?;
        gauge("unshipped", "Records of the decision log that are not in the history yet", newest - shipped)?;
        gauge("failed", "1 while the decision log takes nothing because a write failed", spool.is_failed().into())?;
        let mut counter = |name: &str, help: &str, value: u64| {
            let name = format!("holdfast_iam_decision_log_{name}");
            ConstCounter::new(value).encode(encoder.encode_descriptor(&name, help, None, MetricType::Counter)?)
        };
        counter("dropped_denials", "Denials that found their budget spent", dropped_denials)?;
        counter("displaced_files", "Files of the log that somebody else deleted, replaced or cut", displaced_files)
    }
}
