use std::fmt;

use serde::Serialize;

use crate::{figures::Figures, subject::Kind};

/// A scenario of chainfire beside the same of etcd.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio<'a> {
    pub(crate) kind: Kind,
    pub(crate) members: usize,
    pub(crate) scenario: &'a str,
    /// How many times etcd's throughput; where a scenario is about the time that something takes, how many times
    /// faster it is.
    pub(crate) throughput: Option<f64>,
    /// Our p99 in etcd's: below 1 is better.
    pub(crate) p99: Option<f64>,
    /// Our memory in etcd's: below 1 is better.
    pub(crate) memory: Option<f64>,
    /// Operations per second that a server which does nothing answers to the same client.
    pub(crate) ceiling: Option<f64>,
    /// Milliseconds, theirs and ours: a ratio is worth little where the disk was not the same.
    pub(crate) fsync_p50: (f64, f64),
    #[serde(skip)]
    theirs: Figures,
    #[serde(skip)]
    ours: Figures,
}

/// The columns of [`Ratio`]'s rows.
pub(crate) struct Heading;

impl<'a> Ratio<'a> {
    /// The place (`kind`, `members`, `scenario`), what fsync cost them and us, and the figures of them and us.
    pub(crate) fn new(
        (kind, members, scenario): (Kind, usize, &'a str),
        fsync_p50: (f64, f64),
        (theirs, ours): (Figures, Figures),
    ) -> Self {
        let took = |figures: Figures| figures.outcome?.took();
        let throughput = match (took(theirs), took(ours)) {
            (Some(theirs), Some(ours)) => quotient(theirs, ours),
            _ => quotient(ours.per_second, theirs.per_second),
        };
        Self {
            kind,
            members,
            scenario,
            throughput,
            p99: quotient(ours.p99, theirs.p99),
            memory: quotient(ours.memory as f64, theirs.memory as f64),
            ceiling: None,
            fsync_p50,
            theirs,
            ours,
        }
    }

    /// The same below a ceiling.
    pub(crate) fn below(self, ceiling: Option<f64>) -> Self {
        Self { ceiling, ..self }
    }
}

fn quotient(above: f64, below: f64) -> Option<f64> {
    Some(above / below).filter(|quotient| quotient.is_finite())
}

impl fmt::Display for Heading {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:<8} {:>2}  {:<42} {:>8} {:>10} {:>10} {:>10} {:>9} {:>9} {:>8} {:>8}  fsync p50",
            "mode",
            "n",
            "scenario",
            "× etcd",
            "etcd/s",
            "ours/s",
            "ceiling/s",
            "etcd p99",
            "our p99",
            "× p99",
            "× memory"
        )
    }
}

/// A row, and below it what the scenario tells beyond that.
impl fmt::Display for Ratio<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, members, scenario, theirs, ours, .. } = self;
        write!(
            formatter,
            "{kind:<8} {members:>2}  {scenario:<42} {:>8} {:>10.0} {:>10.0} {:>10} {:>9.2} {:>9.2} {:>8} {:>8}  {:.2} / {:.2} ms",
            times(self.throughput),
            theirs.per_second,
            ours.per_second,
            self.ceiling.map_or_else(|| "-".to_owned(), |ceiling| format!("{ceiling:.0}")),
            theirs.p99,
            ours.p99,
            times(self.p99),
            times(self.memory),
            self.fsync_p50.0,
            self.fsync_p50.1,
        )?;
        match (theirs.outcome, ours.outcome) {
            (Some(theirs), Some(ours)) => write!(formatter, "\n{:14}etcd: {theirs}; ours: {ours}", ""),
            _ => Ok(()),
        }
    }
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}×"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Outcome;

    fn ratio(theirs: Figures, ours: Figures) -> Ratio<'static> {
        Ratio::new((Kind::DropIn, 3, "put"), (1.0, 2.0), (theirs, ours))
    }

    #[test]
    fn more_a_second_and_a_shorter_p99_are_better() {
        let theirs = Figures { per_second: 100.0, p99: 10.0, memory: 300, ..Figures::default() };
        let ratio = ratio(theirs, Figures { per_second: 250.0, p99: 5.0, memory: 100, ..Figures::default() });
        assert_eq!((ratio.throughput, ratio.p99), (Some(2.5), Some(0.5)));
        let row = ratio.below(Some(900.0)).to_string();
        assert!(
            row.contains(" 2.50× ") && row.contains(" 0.50× ") && row.contains(" 0.33× ") && row.contains(" 900 "),
            "{row}"
        );
        assert!(row.ends_with("1.00 / 2.00 ms"), "{row}");
    }

    #[test]
    fn a_shorter_start_is_better_and_has_no_p99() {
        let start = |took| Figures { outcome: Some(Outcome::Start(took)), ..Figures::default() };
        let ratio = ratio(start(3_000.0), start(1_000.0));
        assert_eq!((ratio.throughput, ratio.p99), (Some(3.0), None));
        assert!(ratio.to_string().ends_with("etcd: start 3000 ms; ours: start 1000 ms"), "{ratio}");
    }
}
