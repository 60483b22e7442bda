use std::{
    fmt::{self, Write as _},
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{load::Line, population::Population, propagation::Propagation};

const LABELS: f64 = 420.0;
const BARS: f64 = 420.0;
const ROW: f64 = 22.0;
const TOP: f64 = 40.0;

/// Everything that was measured in one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Seconds since 1970.
    begun: u64,
    /// Built without optimisation, the figures mean nothing.
    release: bool,
    processors: usize,
    kernel: String,
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
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            begun: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
            release: !cfg!(debug_assertions),
            processors: std::thread::available_parallelism()?.get(),
            kernel: kernel.trim().to_owned(),
            admissions: Vec::new(),
            propagation: None,
        })
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
    pub(crate) fn write(&self, folder: &Path) -> Result<[PathBuf; 2]> {
        let write = |end: &str, text: String| {
            let path = folder.join(format!("iam-{}.{end}", self.begun));
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            Ok::<_, anyhow::Error>(path)
        };
        Ok([write("json", serde_json::to_string_pretty(self)?)?, write("svg", self.picture())?])
    }

    /// A bar for the median of each line.
    fn picture(&self) -> String {
        let longest = self.lines().map(|(_, line)| line.took.p50).fold(1.0, f64::max);
        let height = TOP + ROW * self.lines().count() as f64 + 20.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"10\" y=\"22\" font-size=\"14\">Verifying and authorizing one request, median in µs</text>\n",
            LABELS + BARS + 120.0
        );
        for (row, (label, line)) in self.lines().enumerate() {
            let y = TOP + ROW * row as f64;
            let width = line.took.p50 / longest * BARS;
            // Writing into a String cannot fail.
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{text}\" text-anchor=\"end\">{label}</text>\
                 <rect x=\"{LABELS}\" y=\"{y}\" width=\"{width:.1}\" height=\"{bar}\" fill=\"#3a7d5c\"/>\
                 <text x=\"{after:.1}\" y=\"{text}\">{p50:.1} (p99 {p99:.0})</text>",
                x = LABELS - 8.0,
                text = y + ROW * 0.65,
                bar = ROW - 6.0,
                after = LABELS + width + 5.0,
                p50 = line.took.p50,
                p99 = line.took.p99,
            );
        }
        svg + "</svg>\n"
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.release {
            writeln!(formatter, "A build without optimisation: these figures say nothing about the product.")?;
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
