use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::Result;
use holdfast_bench::{Bar, Machine, bars};
use serde::Serialize;

use crate::{course::Run, polling::Polling};

/// Everything that was measured in one run of the program.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    machine: Machine,
    nodes: usize,
    /// Seconds between two looks of a polling node.
    interval_s: u64,
    runs: Vec<Run>,
}

/// One figure and what it is to be.
struct Line {
    what: &'static str,
    figure: String,
    aim: &'static str,
}

impl Report {
    pub(crate) fn new(nodes: usize, interval_s: u64) -> Result<Self> {
        Ok(Self { machine: Machine::here()?, nodes, interval_s, runs: Vec::new() })
    }

    pub(crate) fn add(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// Writes `fleet-<time>.json` and `fleet-<time>.svg`.
    pub(crate) fn write(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        self.machine.write(folder, "fleet", self, Some(self.picture()))
    }

    /// When the last nodes had what was published.
    fn picture(&self) -> String {
        let rows = self.runs.iter().flat_map(|run| {
            let row = |what: &str, milliseconds: f64| Bar {
                label: format!("{what}, {} server(s)", run.servers),
                value: milliseconds,
                text: format!("{milliseconds:.0} ms"),
            };
            [
                row("publishing, median", run.watching.publish.p50),
                row("a waiting node has it, median", run.watching.told.p50),
                row("a waiting node has it, p99", run.watching.told.p99),
            ]
        });
        bars(&format!("From a tree for {} nodes to all of them", self.nodes), &rows.collect::<Vec<_>>())
    }
}

fn lines(run: &Run) -> Vec<Line> {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let most = |all: &[f64]| all.iter().copied().fold(0.0, f64::max);
    let line = |what, figure: String, aim| Line { what, figure, aim };
    let (watching, agent) = (&run.watching, &run.agent);
    let most_bytes = |all: &[u64]| all.iter().copied().max().unwrap_or_default();
    let looks = |way: &'static str, polling: &Polling| {
        [
            line(way, format!("{:.0}", polling.per_second), ""),
            line("  of so many nodes", polling.nodes.to_string(), ""),
            line("  p50 / p99 ms", format!("{:.2} / {:.2}", polling.looks.p50, polling.looks.p99), ""),
            line("  percent of a processor, busiest server", format!("{:.1}", most(&polling.processor)), "< 15"),
            line("  MB, largest server", format!("{:.0}", megabytes(most_bytes(&polling.memory))), "< 200"),
        ]
    };
    let mut lines = vec![
        line("joins a second", format!("{:.0}", run.joins_per_second), ""),
        line("  MB, everybody has joined", format!("{:.0}", megabytes(run.memory_before)), ""),
        line("first fetches a second, with handshakes", format!("{:.0}", run.first_fetches_per_second), ""),
    ];
    lines.extend(looks("looks a second, each with a handshake", &run.polling));
    lines.extend(looks("looks a second, as agents that stay", &run.staying));
    lines.extend([
        line(
            "publish ms, median / worst",
            format!("{:.0} / {:.0}", watching.publish.p50, watching.publish.worst),
            "< 5000",
        ),
        line("nodes that wait", watching.nodes.to_string(), ""),
        line("  MB, largest server", format!("{:.0}", megabytes(most_bytes(&watching.memory))), "< 200"),
        line("  told ms, p50", format!("{:.0}", watching.told.p50), ""),
        line("  p99 / last", format!("{:.0} / {:.0}", watching.told.p99, watching.told.worst), "< 1000"),
        line("  processor seconds for all of it", format!("{:.2}", watching.computed), ""),
        line("idle agent MB", format!("{:.1}", megabytes(agent.memory)), "< 20"),
        line("  percent of a processor", format!("{:.2}", agent.processor), "0"),
    ]);
    lines
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(warning) = self.machine.warning() {
            writeln!(formatter, "{warning}")?;
        }
        for run in &self.runs {
            writeln!(formatter, "{} nodes, a look every {} s, {} server(s)", self.nodes, self.interval_s, run.servers)?;
            for Line { what, figure, aim } in lines(run) {
                writeln!(formatter, "  {what:<44} {figure:>16}  {aim}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent::Idle, took::Took, watching::Watching};

    #[test]
    fn figures_stand_beside_their_aims() {
        let took = Took { count: 10, p50: 1.0, p99: 2.0, worst: 3.0 };
        let mut report = Report::new(10, 30).unwrap();
        report.add(Run {
            servers: 3,
            joins_per_second: 1.0,
            first_fetches_per_second: 1.0,
            memory_before: 50_000_000,
            polling: Polling {
                nodes: 10,
                looks: took,
                per_second: 0.3,
                processor: vec![3.0, 7.5],
                memory: vec![1, 150_000_000],
            },
            staying: Polling { nodes: 9, looks: took, per_second: 0.3, processor: vec![2.5], memory: vec![2] },
            watching: Watching { nodes: 10, memory: vec![1, 2], publish: took, told: took, computed: 0.5 },
            agent: Idle { memory: 12_000_000, processor: 0.0 },
        });
        let table = report.to_string();
        let row =
            |what: &str| table.lines().find(|line| line.contains(what)).unwrap().split_whitespace().last().unwrap();
        assert_eq!((row("busiest server"), row("largest server"), row("last")), ("15", "200", "1000"));
        assert!(table.contains(" 7.5 ") && table.contains(" 150 ") && table.contains("3 server(s)"), "{table}");
        assert!(report.picture().contains("a waiting node has it, p99, 3 server(s)"));
    }
}
