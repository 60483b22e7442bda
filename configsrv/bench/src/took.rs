use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Microseconds; longer ones count as this.
const LONGEST: u64 = 600_000_000;

/// Milliseconds of many.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Took {
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) worst: f64,
}

impl Took {
    pub(crate) fn of(all: impl IntoIterator<Item = Duration>) -> Result<Self> {
        let mut histogram = Histogram::<u64>::new_with_max(LONGEST, 3)?;
        for took in all {
            histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST));
        }
        let milliseconds = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Ok(Self { count: histogram.len(), p50: milliseconds(0.5), p99: milliseconds(0.99), worst: milliseconds(1.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let took = Took::of((1..=100).map(Duration::from_millis)).unwrap();
        assert_eq!(took.count, 100);
        assert!((took.p50 - 50.0).abs() < 0.1 && (took.p99 - 99.0).abs() < 0.1 && took.worst >= 100.0, "{took:?}");
        assert_eq!(Took::of([]).unwrap().count, 0);
    }
}
