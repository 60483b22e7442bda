use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use holdfast_bench::Machine;
use serde::Serialize;

use crate::{
    course::Run,
    plot,
    ratio::{Heading, Ratio},
    subject::Kind,
};

/// Everything that was measured in one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    machine: Machine,
    runs: Vec<Run>,
}

/// What is written: the figures, and what follows from them.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a Report,
    ratios: &'a [Ratio<'a>],
}

impl Report {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        fs::metadata(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        Ok(Self { machine: Machine::here()?, runs: Vec::new() })
    }

    pub(crate) fn add(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// Scenarios that came to nothing.
    pub(crate) fn failures(&self) -> usize {
        self.runs.iter().map(|run| run.failures.len()).sum()
    }

    /// Every scenario that both were put to.
    pub(crate) fn ratios(&self) -> Vec<Ratio<'_>> {
        let mut ratios = Vec::new();
        let nothing = self.runs.iter().find(|run| run.kind == Kind::Nothing);
        for ours in self.runs.iter().filter(|run| matches!(run.kind, Kind::DropIn | Kind::Suite)) {
            let beside = |run: &&Run| run.kind == Kind::Etcd && run.members == ours.members;
            let Some(theirs) = self.runs.iter().find(beside) else { continue };
            for line in &ours.results {
                let Some(other) = theirs.figures(&line.scenario) else { continue };
                let ceiling = nothing.and_then(|nothing| nothing.figures(&line.scenario));
                let ratio = Ratio::new(
                    (ours.kind, ours.members, &line.scenario),
                    (theirs.fsync_p50, ours.fsync_p50),
                    (other, line.figures),
                );
                ratios.push(ratio.below(ceiling.map(|figures| figures.per_second)));
            }
        }
        ratios
    }

    /// Writes `chainfire-<time>.json` and, if something was measured beside chainfire, the picture.
    pub(crate) fn write(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let ratios = self.ratios();
        let picture = (!ratios.is_empty()).then(|| plot::bars(&ratios));
        self.machine.write(folder, "chainfire", &Document { report: self, ratios: &ratios }, picture)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(warning) = self.machine.warning() {
            writeln!(formatter, "{warning}")?;
        }
        writeln!(formatter, "{Heading}")?;
        self.ratios().iter().try_for_each(|ratio| writeln!(formatter, "{ratio}"))
    }
}
