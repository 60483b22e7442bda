use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    disk,
    door::Doors,
    figures::{Figures, Outcome},
    load::{self, Window},
    scenario::{Load, Scenario, Size, table},
    subject::{Kind, Subject},
};

/// Pairs that ranges, transactions and puts meet.
const FILLED: usize = 100_000;

/// The scenarios to run, and how.
pub(crate) struct Course {
    pub(crate) size: Size,
    pub(crate) measured: Duration,
    pub(crate) only: Option<String>,
    /// Where the servers' data goes.
    pub(crate) folder: PathBuf,
}

/// All figures of one subject.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) kind: Kind,
    pub(crate) members: usize,
    /// Milliseconds, measured where and shortly before the servers ran.
    pub(crate) fsync_p50: f64,
    pub(crate) results: Vec<Line>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) scenario: String,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

impl Course {
    /// Runs all scenarios that are wanted, one after the other on the same servers; a start that is measured has
    /// servers of its own.
    pub(crate) async fn run(&self, kind: Kind, members: usize) -> Result<Run> {
        let fsync_p50 = disk::fsync_p50(&self.folder)?;
        eprintln!("{kind} with {members} members; fsync p50 {fsync_p50:.3} ms");
        let mut run = Run { kind, members, fsync_p50, results: Vec::new() };
        let wanted = |scenario: &Scenario| self.only.as_ref().is_none_or(|only| scenario.to_string().contains(only));
        let (starts, loads): (Vec<_>, Vec<_>) = table(self.size)
            .into_iter()
            .filter(wanted)
            .partition(|scenario| matches!(scenario.load, Load::Start { .. }));
        if !loads.is_empty() {
            let subject = Subject::start(kind, members, &self.folder).await?;
            load::fill(&Doors::open(&subject.entrance, 8).await?, FILLED, 256).await.context("filling the store")?;
            for scenario in loads {
                let measured = self.load(&subject, scenario).await;
                run.note(scenario, measured.with_context(|| scenario.to_string())?);
            }
        }
        for scenario in starts {
            let measured = self.start(kind, members, scenario).await;
            run.note(scenario, measured.with_context(|| scenario.to_string())?);
        }
        Ok(run)
    }

    async fn load(&self, subject: &Subject, Scenario { clients, value, load }: Scenario) -> Result<Figures> {
        let doors = Doors::open(&subject.entrance, clients).await?;
        let measured = self.measured;
        let figures = match load {
            Load::Put => load::put(&doors, clients, value, Window::open(measured)).await?,
            Load::Range { keys, linearizable } => {
                load::range(&doors, clients, keys, linearizable, Window::open(measured)).await?
            }
            Load::Txn => load::txn(&doors, clients, value, Window::open(measured)).await?,
            Load::Mixed { watchers } => load::mixed(&doors, clients, watchers, value, measured).await?,
            Load::KeepAlive { leases } => load::keep_alive(&doors, clients, leases, measured).await?,
            Load::FanOut { watchers } => load::fan_out(&doors, watchers, value, measured).await?,
            Load::Start { .. } => Figures::default(),
        };
        Ok(Figures { memory: subject.memory()?, ..figures })
    }

    /// The rate is that of the filling; memory is that of the servers that were filled, before they start again.
    async fn start(&self, kind: Kind, members: usize, scenario: Scenario) -> Result<Figures> {
        let Scenario { value, load: Load::Start { keys }, .. } = scenario else { return Ok(Figures::default()) };
        let mut subject = Subject::start(kind, members, &self.folder).await?;
        let begun = std::time::Instant::now();
        load::fill(&Doors::open(&subject.entrance, 8).await?, keys, value).await?;
        let per_second = keys as f64 / begun.elapsed().as_secs_f64();
        let memory = subject.memory()?;
        let start = subject.restart().await?.as_secs_f64() * 1_000.0;
        Ok(Figures {
            per_second,
            operations: keys as u64,
            memory,
            outcome: Some(Outcome::Start(start)),
            ..Figures::default()
        })
    }
}

impl Run {
    fn note(&mut self, scenario: Scenario, figures: Figures) {
        let Figures { per_second, p50, p99, failed, memory, outcome, .. } = figures;
        let outcome = outcome.map(|outcome| format!("; {outcome}")).unwrap_or_default();
        eprintln!(
            "  {scenario}: {per_second:.0}/s, p50 {p50:.2} ms, p99 {p99:.2} ms, {failed} failed, {} MiB{outcome}",
            memory >> 20
        );
        self.results.push(Line { scenario: scenario.to_string(), figures });
    }
}
