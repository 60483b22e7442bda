use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    disk,
    door::Doors,
    figures::Figures,
    load::{self, Window},
    scenario::{Load, Scenario, Size, table},
    subject::{Kind, Subject},
};

/// Pairs that ranges, transactions and puts meet.
const FILLED: usize = 100_000;

/// Bytes of each of their values.
pub(crate) const FILLED_BYTES: usize = 256;

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
    /// Why a scenario has no figures.
    pub(crate) failures: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) scenario: String,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

impl Course {
    /// The scenarios to run, where they fit.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = Scenario> {
        let wanted = |name: &str| self.only.as_ref().is_none_or(|only| name.contains(only));
        table(self.size).into_iter().filter(move |scenario| wanted(&scenario.to_string()))
    }

    /// Runs all scenarios that are wanted: some one after the other on the same servers, which were filled before, and
    /// some on servers of their own.
    pub(crate) async fn run(&self, kind: Kind, members: usize) -> Result<Run> {
        let fsync_p50 = disk::fsync_p50(&self.folder)?;
        eprintln!("{kind} with {members} members; fsync p50 {fsync_p50:.3} ms");
        let mut run = Run { kind, members, fsync_p50, results: Vec::new(), failures: Vec::new() };
        let (alone, together): (Vec<_>, Vec<_>) =
            self.wanted().filter(|scenario| scenario.fits(kind, members)).partition(Scenario::is_alone);
        if !together.is_empty() {
            let mut subject = Subject::start(kind, members, &self.folder).await?;
            load::fill(&subject.entrance, FILLED, FILLED_BYTES).await.context("filling the store")?;
            for scenario in together {
                run.note(scenario, self.measure(&mut subject, scenario).await);
            }
        }
        for scenario in alone {
            let mut subject = Subject::start(kind, members, &self.folder).await?;
            run.note(scenario, self.measure(&mut subject, scenario).await);
        }
        Ok(run)
    }

    async fn measure(&self, subject: &mut Subject, scenario: Scenario) -> Result<Figures> {
        let figures = self.load(subject, scenario).await?;
        // A start tells what memory was taken before it.
        let memory = if figures.memory == 0 { subject.memory()? } else { figures.memory };
        Ok(Figures { memory, ..figures })
    }

    async fn load(&self, subject: &mut Subject, Scenario { clients, value, load }: Scenario) -> Result<Figures> {
        let measured = self.measured;
        let entrance = subject.entrance.clone();
        let doors = async || Doors::open(&entrance, clients).await;
        match load {
            Load::Put => load::put(&doors().await?, clients, value, Window::open(measured)).await,
            Load::Range { keys, linearizable } => {
                load::range(&doors().await?, clients, keys, linearizable, Window::open(measured)).await
            }
            Load::Txn => load::txn(&doors().await?, clients, value, Window::open(measured)).await,
            Load::Mixed { watchers } => load::mixed(&doors().await?, clients, watchers, value, measured).await,
            Load::KeepAlive { leases, ttl } => load::keep_alive(&doors().await?, clients, leases, ttl, measured).await,
            Load::FanOut { watchers } => load::fan_out(&doors().await?, watchers, value, measured).await,
            Load::CatchUp { revisions } => load::catch_up(&entrance, clients, revisions, value, measured).await,
            Load::LeaderLoss { rounds } => load::leader_loss(subject, rounds, value).await,
            Load::Start { keys } => load::start(subject, keys, value).await,
        }
    }
}

impl Run {
    /// What a scenario came to, if it was run.
    pub(crate) fn figures(&self, scenario: &str) -> Option<Figures> {
        self.results.iter().find(|line| line.scenario == scenario).map(|line| line.figures)
    }

    /// What fails costs a scenario, not what was measured before it.
    fn note(&mut self, scenario: Scenario, measured: Result<Figures>) {
        let figures = match measured {
            Ok(figures) => figures,
            Err(error) => {
                eprintln!("  {scenario}: {error:#}");
                self.failures.push(format!("{scenario}: {error:#}"));
                return;
            }
        };
        let Figures { per_second, p50, p99, failed, memory, outcome, .. } = figures;
        let outcome = outcome.map(|outcome| format!("; {outcome}")).unwrap_or_default();
        eprintln!(
            "  {scenario}: {per_second:.0}/s, p50 {p50:.2} ms, p99 {p99:.2} ms, {failed} failed, {} MiB{outcome}",
            memory >> 20
        );
        self.results.push(Line { scenario: scenario.to_string(), figures });
    }
}
