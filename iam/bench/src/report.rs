use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::Result;
use holdfast_bench::{Bar, Machine, bars};
use serde::Serialize;

use crate::{load::Line, population::Population, propagation::Propagation};

/// Everything that was measured in one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    machine: Machine,
    admissions: Vec<Admissions>,
    pub(crate) propagation: Option<Propagation>,
}

/// What callers of each kind met among so many others.
#[derive(Debug, Serialize)]
struct Admissions {
    #[serde(flatten)]
    population: Population,
    lines: Vec<Line>,
}

impl Report {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { machine: Machine::here()?, admissions: Vec::new(), propagation: None })
    }

    pub(crate) fn add(&mut self, population: Population, lines: Vec<Line>) {
        self.admissions.push(Admissions { population, lines });
    }

    fn lines(&self) -> impl Iterator<Item = (String, &Line)> {
        self.admissions.iter().flat_map(|admissions| {
            let Population { policies, principals } = admissions.population;
            admissions
                .lines
                .iter()
                .map(move |line| (format!("{}; {policies} policies, {principals} principals", line.callers), line))
        })
    }

    /// Writes `iam-<time>.json` and `iam-<time>.svg`.
    pub(crate) fn write(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        self.machine.write(folder, "iam", self, Some(self.picture()))
    }

    /// A bar for the median of each line.
    fn picture(&self) -> String {
        let rows: Vec<Bar> = self
            .lines()
            .map(|(label, line)| Bar {
                label,
                value: line.took.p50,
                text: format!("{:.1} (p99 {:.0})", line.took.p50, line.took.p99),
            })
            .collect();
        bars("Verifying and authorizing one request, median in µs", &rows)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(warning) = self.machine.warning() {
            writeln!(formatter, "{warning}")?;
        }
        writeln!(
            formatter,
            "{:<86} {:>8} {:>8} {:>8} {:>9}",
            "admission of", "mean µs", "p50 µs", "p99 µs", "calls/s"
        )?;
        for (label, line) in self.lines() {
            let took = line.took;
            let (mean, p50, p99) = (took.mean, took.p50, took.p99);
            writeln!(formatter, "{label:<86} {mean:>8.1} {p50:>8.1} {p99:>8.1} {:>9.0}", line.per_second)?;
        }
        if let Some(Propagation { changes, p50, p99, worst }) = self.propagation {
            writeln!(
                formatter,
                "a change of rights counts on all three servers after {p50:.1} ms (p99 {p99:.1}, worst {worst:.1}; \
                 {changes} changes)"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Took;

    #[test]
    fn each_line_has_a_bar() {
        let mut report = Report::new().unwrap();
        let took = Took { mean: 9.0, p50: 8.0, p99: 20.0, requests: 100.0 };
        report.add(Population::FEW, vec![Line { callers: "certificates", took, per_second: 10.0 }]);
        let svg = report.picture();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("certificates; 0 policies, 100 principals") && svg.contains("8.0 (p99 20)"), "{svg}");
        assert!(report.to_string().contains("certificates"));
    }
}
