use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    course::{Line, Run},
    figures::Figures,
    plot,
    subject::Kind,
};

/// Everything that was measured in one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Seconds since 1970.
    begun: u64,
    /// Built without optimisation, the figures mean nothing.
    release: bool,
    processors: usize,
    kernel: String,
    runs: Vec<Run>,
}

/// A scenario of chainfire beside the same of etcd.
#[derive(Debug)]
pub(crate) struct Ratio<'a> {
    pub(crate) kind: Kind,
    pub(crate) members: usize,
    pub(crate) scenario: &'a str,
    /// Both milliseconds, theirs and ours: a ratio is worth little where the disk was not the same.
    pub(crate) fsync_p50: (f64, f64),
    pub(crate) theirs: Figures,
    pub(crate) ours: Figures,
}

impl Report {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        fs::metadata(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        Ok(Self {
            begun: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
            release: !cfg!(debug_assertions),
            processors: std::thread::available_parallelism()?.get(),
            kernel: kernel.trim().to_owned(),
            runs: Vec::new(),
        })
    }

    pub(crate) fn add(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// Every scenario that both were put to.
    pub(crate) fn ratios(&self) -> Vec<Ratio<'_>> {
        let mut ratios = Vec::new();
        for ours in self.runs.iter().filter(|run| run.kind != Kind::Etcd) {
            let beside = |run: &&Run| run.kind == Kind::Etcd && run.members == ours.members;
            let Some(theirs) = self.runs.iter().find(beside) else { continue };
            for line in &ours.results {
                let same = |other: &&Line| other.scenario == line.scenario;
                let Some(other) = theirs.results.iter().find(same) else { continue };
                ratios.push(Ratio {
                    kind: ours.kind,
                    members: ours.members,
                    scenario: &line.scenario,
                    fsync_p50: (theirs.fsync_p50, ours.fsync_p50),
                    theirs: other.figures,
                    ours: line.figures,
                });
            }
        }
        ratios
    }

    /// Writes `chainfire-<time>.json` and, if something was measured beside chainfire, the picture.
    pub(crate) fn write(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let write = |name: String, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            Ok::<_, anyhow::Error>(path)
        };
        let mut written = vec![write(format!("chainfire-{}.json", self.begun), serde_json::to_string_pretty(self)?)?];
        let ratios = self.ratios();
        if !ratios.is_empty() {
            written.push(write(format!("chainfire-{}.svg", self.begun), plot::bars(&ratios))?);
        }
        Ok(written)
    }
}

impl Ratio<'_> {
    /// How many times etcd's throughput; of a start, how many times faster it is.
    pub(crate) fn throughput(&self) -> f64 {
        match (self.theirs.start, self.ours.start) {
            (Some(theirs), Some(ours)) => theirs / ours,
            _ => self.ours.per_second / self.theirs.per_second,
        }
    }

    fn memory(&self) -> f64 {
        self.ours.memory as f64 / self.theirs.memory as f64
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.release {
            writeln!(formatter, "A build without optimisation: these figures say nothing about the product.")?;
        }
        writeln!(
            formatter,
            "{:<8} {:>2}  {:<38} {:>8} {:>10} {:>10} {:>9} {:>9} {:>7}  fsync p50",
            "mode", "n", "scenario", "× etcd", "etcd/s", "ours/s", "etcd p99", "our p99", "memory"
        )?;
        for ratio in self.ratios() {
            let Ratio { kind, members, scenario, fsync_p50, theirs, ours } = &ratio;
            writeln!(
                formatter,
                "{kind:<8} {members:>2}  {scenario:<38} {:>7.2}× {:>10.0} {:>10.0} {:>9.2} {:>9.2} {:>6.2}×  {:.2} / {:.2} ms",
                ratio.throughput(),
                theirs.per_second,
                ours.per_second,
                theirs.p99,
                ours.p99,
                ratio.memory(),
                fsync_p50.0,
                fsync_p50.1,
            )?;
        }
        Ok(())
    }
}
