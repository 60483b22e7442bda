use std::{fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Three significant digits are kept of each latency.
const DIGITS: u8 = 3;

/// Microseconds; longer ones count as this.
const LONGEST: u64 = 600_000_000;

/// Latencies in microseconds, how many operations failed, and why one of them did.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    latencies: Histogram<u64>,
    failed: u64,
    failure: Option<String>,
}

/// What a scenario came to.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// Operations that succeeded, per second.
    pub(crate) per_second: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) operations: u64,
    pub(crate) failed: u64,
    /// Bytes that the first member occupies afterwards.
    pub(crate) memory: u64,
    #[serde(flatten)]
    pub(crate) outcome: Option<Outcome>,
}

/// What a scenario tells beyond rates and latencies.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Milliseconds from the start of all servers to the last one's first answer.
    Start(f64),
    /// Milliseconds from a leader's sudden end to the next acknowledged write.
    LeaderLoss { median: f64, worst: f64 },
    /// Writes per second without a watcher and beside one that catches up; the events per second that it is told.
    CatchUp { alone: f64, beside: f64, events: f64 },
    /// Leases that were lost although they were renewed for so many seconds.
    KeptAlive { expired: usize, held: f64 },
}

/// The default of every server that is measured, in milliseconds.
const ELECTION_TIMEOUT: f64 = 1_000.0;

impl Outcome {
    /// Milliseconds that something took, where the scenario is about that.
    pub(crate) fn took(self) -> Option<f64> {
        match self {
            Self::Start(took) => Some(took),
            Self::LeaderLoss { median, .. } => Some(median),
            Self::CatchUp { .. } | Self::KeptAlive { .. } => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(took) => write!(formatter, "start {took:.0} ms"),
            Self::LeaderLoss { median, worst } => write!(
                formatter,
                "no write for {median:.0} ms, {:.2} × the election time-out (worst {worst:.0} ms)",
                median / ELECTION_TIMEOUT
            ),
            Self::KeptAlive { expired, held } => write!(formatter, "{expired} expired in {held:.0} s"),
            Self::CatchUp { alone, beside, events } => write!(
                formatter,
                "{alone:.0}/s alone, {beside:.0}/s beside the watcher, {:.1} % less; {events:.0} events/s",
                (1.0 - beside / alone) * 100.0
            ),
        }
    }
}

impl Tally {
    pub(crate) fn new() -> Self {
        let latencies = Histogram::new_with_max(LONGEST, DIGITS);
        let latencies = latencies.unwrap_or_else(|error| unreachable!("constants that fit: {error}"));
        Self { latencies, failed: 0, failure: None }
    }

    pub(crate) fn took(&mut self, latency: Duration) {
        self.latencies.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn failed(&mut self, why: &impl fmt::Display) {
        self.failed += 1;
        self.failure.get_or_insert_with(|| why.to_string());
    }

    /// Why one of those that failed did.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.latencies.add(&other.latencies);
        self.failed += other.failed;
        self.failure = self.failure.take().or_else(|| other.failure.clone());
    }

    /// Over `time`.
    pub(crate) fn figures(&self, time: Duration) -> Figures {
        let milliseconds = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1_000.0;
        Figures {
            per_second: self.latencies.len() as f64 / time.as_secs_f64(),
            p50: milliseconds(0.5),
            p99: milliseconds(0.99),
            operations: self.latencies.len(),
            failed: self.failed,
            ..Figures::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_rates() {
        let mut all = Tally::new();
        for part in [1..=50, 51..=100] {
            let mut tally = Tally::new();
            part.for_each(|n| tally.took(Duration::from_millis(n)));
            tally.failed(&format_args!("refused after {}", tally.latencies.len()));
            all.merge(&tally);
        }
        assert_eq!(all.failure(), Some("refused after 50"));
        let figures = all.figures(Duration::from_secs(2));
        assert_eq!((figures.operations, figures.failed), (100, 2));
        assert!((figures.per_second - 50.0).abs() < 1e-9);
        assert!((figures.p50 - 50.0).abs() < 0.1 && (figures.p99 - 99.0).abs() < 0.1, "{figures:?}");
    }
}
